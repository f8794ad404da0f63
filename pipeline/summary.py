"""What a finished job prints: what was read, what became of it, and where to look at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import printable
from pipeline.plurals import counted
from transforms.core.redelivery import Unreadable

DEAD_LETTERS_QUERY = (
    "SELECT reason, detail, COUNT(*) AS calls FROM dead_letters GROUP BY reason, detail ORDER BY calls DESC LIMIT 10"
)
"""Why calls were refused, in the SQL of every warehouse."""

WIDTH = 80
"""Columns of a summary that goes to no terminal."""

_OUTCOMES = {
    "event": ("event", "events"),
    "identity_call": ("identity call", "identity calls"),
    "dead_letter": ("dead letter", "dead letters"),
    "duplicate": ("duplicate", "duplicates"),
    "conflicting": ("conflicting", "conflicting"),
    "disabled": ("disabled", "disabled"),
}
_ONE_A_LINE = "is this one JSON object a line?"
_LIKELY_MISTAKES = {
    "too_large": _ONE_A_LINE,
    "invalid_json": _ONE_A_LINE,
    "unsupported_type": "are these Segment calls? Each has a type: page, screen, track, identify, group or alias",
    "unknown_connection": "is it the right connections file? It has no connection for their projectId",
    "invalid_field": "are these Segment calls, as Segment sends them?",
    "missing_id": "are these Segment calls? Each has a userId or an anonymousId",
    "missing_field": "are these Segment calls, with all their fields?",
    "out_of_partition_range": "were they received ten years ago, or ahead of now? --redeliver loads them",
}
"""What is likely where most calls are refused for a reason."""


_UNREADABLE_LETTERS = {
    Unreadable.CUT.value: "only the beginning of the message was kept",
    Unreadable.KEYED_ROW.value: "a row of a keyed table, which --rebuild makes anew",
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The counts of a job.

    `outcomes` are the first outcomes of what was read: `event`, `identity_call`, `dead_letter`, `duplicate`,
    `conflicting`, `disabled`. `written` are rows by table, where a keyed row counts as often as it was written; `rows`
    are those that each table has now, none where that is not known. `dead_letters` are calls by reason, `notes`
    other counts worth a line, `unreadable` the files that could be read in part only, `lost` those that were gone, one
    line each.
    `reread` is how many dead letters were read again, `unreadable_letters` how many cannot be, by cause.
    `warehouse_hint` is the command that opens the warehouse, `query` one to try there. `likely_mistake` says what the
    input looks like that is not one JSON object a line, and is empty where that is not known.
    """

    read: int
    outcomes: Mapping[str, int]
    by_type: Mapping[str, int]
    written: Mapping[str, int]
    dead_letters: Mapping[str, int]
    notes: Mapping[str, int]
    unreadable: tuple[str, ...]
    elapsed_s: float
    warehouse_hint: str
    query: str
    lost: tuple[str, ...] = ()
    likely_mistake: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    reread: int = 0
    unreadable_letters: Mapping[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        """Calls that became dead letters."""
        return self.outcomes.get("dead_letter", 0)

    @property
    def is_mostly_refused(self) -> bool:
        """Whether more than half of an input was refused. What was refused before may well be again."""
        return not self.reread and 2 * self.refused > self.read

    @property
    def is_input_read(self) -> bool:
        """Whether every file was there, and something of the input could be read, unless it holds nothing."""
        if self.lost:
            return False
        if self.reread:
            return True
        return self.refused < self.read if self.read else not self.unreadable

    @property
    def missing(self) -> int:
        """Calls that were read and have no outcome; below zero, outcomes without a call. Zero if all is right."""
        return self.read - sum(self.outcomes.values())


def render(summary: Summary, console: Console) -> None:
    """Prints the summary: in colour on a terminal, as plain lines of a fixed width elsewhere."""
    for line in _warnings(summary):
        _say(console, line, "bold red")
    rate = round(summary.read / summary.elapsed_s) if summary.elapsed_s > 0 else 0
    calls = counted(summary.read, "call")
    _say(console, f"{calls} in {summary.elapsed_s:,.1f} s, {counted(rate, 'call')} per second", "bold")
    _say(console, f"{summary.read:,} read = {_sum(summary.outcomes)}")
    if summary.missing:
        what = f"{summary.missing:,} without an outcome" if summary.missing > 0 else f"{-summary.missing:,} too many"
        _say(console, f"!!! THE SUM IS WRONG: {what}. The tables may lack calls: please report it.", "bold red")
    for line in _letters(summary):
        _say(console, line)
    for line in summary.unreadable:
        _say(console, f"! Read in part only: {line}", "yellow")
    if notes := ", ".join(f"{count:,} {name}" for name, count in summary.notes.items() if count):
        _say(console, f"Also: {notes}")
    tables = [
        _table("read by type", summary.by_type),
        _table("rows written", summary.written, summary.rows),
        _table("dead letters", summary.dead_letters),
    ]
    tables = [table for table in tables if table.row_count]
    console.print()
    if tables:
        _lay_out(tables, console)
        console.print()
    _say(console, f"Open the warehouse:  {summary.warehouse_hint}")
    query = DEAD_LETTERS_QUERY if summary.is_mostly_refused else summary.query
    _say(console, f"A query to try:      {query}")


def _warnings(summary: Summary) -> Iterator[str]:
    """What went so wrong that it is told first."""
    if summary.lost:
        yield f"!!! {counted(len(summary.lost), 'file')} of the input could not be read:"
        yield from (f"    {line}" for line in summary.lost)
    if summary.is_mostly_refused:
        whole = "all" if summary.refused == summary.read else f"{summary.refused:,}"
        yield f"!!! Refused: {whole} of {counted(summary.read, 'message')}: {_likely_mistake(summary)}"
        yield f"    Why, in the warehouse: {DEAD_LETTERS_QUERY}"
    elif not summary.read and summary.unreadable:
        yield "!!! Nothing of the input could be read"


def _likely_mistake(summary: Summary) -> str:
    reason = max(summary.dead_letters, key=summary.dead_letters.__getitem__, default="")
    likely = _LIKELY_MISTAKES.get(reason, "the query says why")
    return f"{likely} {summary.likely_mistake}".rstrip() if likely is _ONE_A_LINE else likely


def _sum(outcomes: Mapping[str, int]) -> str:
    names = [*_OUTCOMES, *(outcome for outcome in outcomes if outcome not in _OUTCOMES)]
    counts = [(outcomes.get(name, 0), _OUTCOMES.get(name, (name, name))) for name in names]
    return " + ".join(f"{count:,} {words[count != 1]}" for count, words in counts if count) or "0"


def _letters(summary: Summary) -> Iterator[str]:
    """What became of the dead letters that a job was to read again."""
    if summary.reread:
        refused = summary.outcomes.get("dead_letter", 0)
        stored = sum(summary.outcomes.get(outcome, 0) for outcome in ("event", "identity_call", "duplicate"))
        letters = counted(summary.reread, "dead letter was", "dead letters were")
        rows = counted(stored, "call is a row", "calls are rows")
        yield f"{letters} read again: {rows} now, {counted(refused, 'was', 'were')} refused again"
    for cause, count in sorted(summary.unreadable_letters.items()):
        yield f"{counted(count, 'dead letter')} left, not read again: {_UNREADABLE_LETTERS[cause]}"


def _table(title: str, counts: Mapping[str, int], totals: Mapping[str, int] | None = None) -> Table:
    """The counts that are not zero, the largest first; with `totals`, beside what there is in all."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(title, no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    if totals:
        table.add_column("in all", justify="right", no_wrap=True)
    names = {name for numbers in (counts, totals or {}) for name, number in numbers.items() if number}
    for name in sorted(names, key=lambda name: (-counts.get(name, 0), -(totals or {}).get(name, 0), name)):
        of_all = [f"{totals.get(name, 0):,}"] if totals else []
        table.add_row(Text(printable(name)), f"{counts.get(name, 0):,}", *of_all)
    return table


def _lay_out(tables: list[Table], console: Console) -> None:
    """Prints the tables side by side, as far as there is room."""
    columns = Columns(tables, padding=(0, 3))
    if console.is_terminal:
        console.print(columns)
        return
    for line in console.render_lines(columns, console.options.update_width(WIDTH)):
        _say(console, "".join(segment.text for segment in line).rstrip())


def _say(console: Console, line: str, style: str = "") -> None:
    """Prints one line as it is, however long, so that commands can be copied and lines be searched for."""
    encoding = console.encoding
    shown = printable(line).encode(encoding, "backslashreplace").decode(encoding)
    console.print(Text(shown, style), soft_wrap=True)
