"""What a finished job tells."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.summary import DEAD_LETTERS_QUERY, Summary, render
from transforms.core.dead_letters import Reason

SUMMARY = Summary(
    read=3012,
    outcomes={"event": 2100, "identity_call": 880, "dead_letter": 20, "duplicate": 12, "disabled": 0},
    by_type={"identify": 880, "page": 1200, "track": 900},
    written={
        "events": 2100,
        "identity_calls": 880,
        "contacts": 300,
        "accounts": 12,
        "memberships": 40,
        "identities": 0,
    },
    dead_letters={"missing_field": 8, "invalid_json": 12, "too_large": 0},
    notes={"calls of history": 1234, "group calls ignored": 0},
    unreadable=("calls/b.jsonl.gz: ends too early, after 12,345 messages of what looks like rather a long story",),
    elapsed_s=4.0,
    warehouse_hint="duckdb warehouse.duckdb",
    query="SELECT external_id, email, last_identified_at FROM contacts ORDER BY last_identified_at DESC LIMIT 10",
)
EMPTY = Summary(
    read=0,
    outcomes={},
    by_type={},
    written={},
    dead_letters={},
    notes={},
    unreadable=(),
    elapsed_s=0.0,
    warehouse_hint="duckdb w",
    query="SHOW TABLES",
)

WHOLE = """\
3,012 calls in 4.0 s, 753 calls per second
3,012 read = 2,100 events + 880 identity calls + 20 dead letters + 12 duplicates
! Read in part only: calls/b.jsonl.gz: ends too early, after 12,345 messages of what looks like rather a long story
Also: 1,234 calls of history

read by type           rows written             dead letters
────────────────────   ──────────────────────   ──────────────────
page           1,200   events           2,100   invalid_json    12
track            900   identity_calls     880   missing_field    8
identify         880   contacts           300
                       memberships         40
                       accounts            12

Open the warehouse:  duckdb warehouse.duckdb
A query to try:      SELECT external_id, email, last_identified_at FROM contacts ORDER BY last_identified_at DESC LIMIT 10
"""  # noqa: E501
STREAMED = replace(
    EMPTY,
    written={"events": 1200, "contacts": 512, "dead_letters": 0},
    rows={"events": 9_001_200, "contacts": 126, "dead_letters": 3, "accounts": 0},
)
IN_ALL = """\
0 calls in 0.0 s, 0 calls per second
0 read = 0

rows written              in all
────────────────────────────────
events         1,200   9,001,200
contacts         512         126
dead_letters       0           3

Open the warehouse:  duckdb w
A query to try:      SHOW TABLES
"""
NOTHING = """\
0 calls in 0.0 s, 0 calls per second
0 read = 0

Open the warehouse:  duckdb w
A query to try:      SHOW TABLES
"""
REFUSED = f"""\
!!! Refused: 8 of 9 messages: is this one JSON object a line? a.csv looks like CSV
    Why, in the warehouse: {DEAD_LETTERS_QUERY}
9 calls in 1.0 s, 9 calls per second
9 read = 1 event + 8 dead letters

dead letters
────────────────
invalid_json   8

Open the warehouse:  duckdb w
A query to try:      {DEAD_LETTERS_QUERY}
"""
LOST = """\
!!! 2 files of the input could not be read:
    /a.jsonl: No such file or directory
    /b.jsonl: has 0 bytes left of 12
1 call in 1.0 s, 1 call per second
1 read = 1 event

Open the warehouse:  duckdb w
A query to try:      SHOW TABLES
"""
UNREADABLE = """\
!!! Nothing of the input could be read
0 calls in 0.0 s, 0 calls per second
0 read = 0
! Read in part only: a.gz: the gzip data end early, after 5 bytes; what followed is lost

Open the warehouse:  duckdb w
A query to try:      SHOW TABLES
"""
MOSTLY_REFUSED = replace(
    EMPTY,
    read=9,
    outcomes={"event": 1, "dead_letter": 8},
    dead_letters={"invalid_json": 8},
    elapsed_s=1.0,
    likely_mistake="a.csv looks like CSV",
)
FILES_LOST = replace(
    EMPTY,
    read=1,
    outcomes={"event": 1},
    elapsed_s=1.0,
    lost=("/a.jsonl: No such file or directory", "/b.jsonl: has 0 bytes left of 12"),
)
DAMAGED = replace(EMPTY, unreadable=("a.gz: the gzip data end early, after 5 bytes; what followed is lost",))


def piped(summary: Summary, encoding: str = "utf-8", width: int | None = None) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding)
    render(summary, Console(file=file, width=width, _environ={}))
    file.seek(0)
    return file.read()


@pytest.mark.parametrize(
    ("what", "summary", "expected"),
    [
        ("a whole job", SUMMARY, WHOLE),
        ("a job on nothing", EMPTY, NOTHING),
        ("rows that were written again", STREAMED, IN_ALL),
        ("a table of zeros", replace(EMPTY, by_type={"page": 0}, written={"events": 0}), NOTHING),
        ("most is refused", MOSTLY_REFUSED, REFUSED),
        ("files are lost", FILES_LOST, LOST),
        ("nothing can be read", DAMAGED, UNREADABLE),
    ],
)
def test_a_summary_reads(what: str, summary: Summary, expected: str) -> None:
    assert piped(summary) == expected


@pytest.mark.parametrize("width", [40, 300])
def test_its_width_is_fixed_where_there_is_no_terminal(width: int) -> None:
    assert piped(SUMMARY, width=width) == WHOLE


def test_it_can_be_printed_in_ascii() -> None:
    text = piped(replace(SUMMARY, unreadable=("café.gz: \udcff\n",)), "ascii")
    assert "! Read in part only: caf\\xe9.gz: \\udcff\\n" in text.splitlines()
    assert text.isascii()
    assert "page" in text


def test_a_terminal_gets_colour() -> None:
    file = io.StringIO()
    render(SUMMARY, Console(file=file, force_terminal=True, color_system="standard", width=100, _environ={}))
    assert "\x1b[1m3,012 calls" in file.getvalue()


@pytest.mark.parametrize(
    ("what", "outcomes", "expected"),
    [
        (
            "one of each",
            dict.fromkeys(SUMMARY.outcomes, 1),
            "1 event + 1 identity call + 1 dead letter + 1 duplicate + 1 disabled",
        ),
        (
            "the order is always the same",
            dict(reversed([*SUMMARY.outcomes.items()])),
            "2,100 events + 880 identity calls + 20 dead letters + 12 duplicates",
        ),
        ("disabled ones", {"disabled": 3012}, "3,012 read = 3,012 disabled"),
        ("an outcome of another name", {"other": 3000, "event": 12}, "3,012 read = 12 events + 3,000 other"),
    ],
)
def test_the_sum_is_shown(what: str, outcomes: dict[str, int], expected: str) -> None:
    assert expected in piped(replace(SUMMARY, outcomes=outcomes))


@pytest.mark.parametrize(
    ("what", "read", "missing", "expected"),
    [
        ("right", 3012, 0, None),
        ("too few", 3015, 3, "!!! THE SUM IS WRONG: 3 without an outcome."),
        ("too many", 3000, -12, "!!! THE SUM IS WRONG: 12 too many."),
    ],
)
def test_a_wrong_sum_is_said_loudly(what: str, read: int, missing: int, expected: str | None) -> None:
    summary = replace(SUMMARY, read=read)
    assert summary.missing == missing
    loud = [line for line in piped(summary).splitlines() if line.startswith("!!!")]
    assert len(loud) == (expected is not None)
    assert all(line.startswith(str(expected)) for line in loud)


def test_square_brackets_are_no_markup() -> None:
    assert "[bold]x[/bold]" in piped(replace(SUMMARY, dead_letters={"[bold]x[/bold]": 1}))


@pytest.mark.parametrize(
    ("what", "summary", "is_mostly_refused", "is_input_read"),
    [
        ("nothing is refused", SUMMARY, False, True),
        ("there is nothing to read", EMPTY, False, True),
        ("half is refused", replace(EMPTY, read=4, outcomes={"event": 2, "dead_letter": 2}), False, True),
        ("more than half is", replace(EMPTY, read=5, outcomes={"event": 2, "dead_letter": 3}), True, True),
        ("all but duplicates are", replace(EMPTY, read=5, outcomes={"duplicate": 1, "dead_letter": 4}), True, True),
        ("all are", replace(EMPTY, read=1, outcomes={"dead_letter": 1}), True, False),
        ("a file is lost", FILES_LOST, False, False),
        ("nothing could be read", DAMAGED, False, False),
        ("a part could not be read", replace(SUMMARY, unreadable=("a.gz",)), False, True),
        (
            "all are refused again",
            replace(EMPTY, reread=1, read=1, outcomes={"dead_letter": 1}),
            False,
            True,
        ),
    ],
)
def test_a_job_knows_whether_its_input_was_read(
    what: str, summary: Summary, is_mostly_refused: bool, is_input_read: bool
) -> None:
    assert (summary.is_mostly_refused, summary.is_input_read) == (is_mostly_refused, is_input_read)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_likely_mistake(reason: Reason) -> None:
    summary = replace(EMPTY, read=1, outcomes={"dead_letter": 1}, dead_letters={reason.value: 1})
    first = piped(summary).splitlines()[0]
    assert first.startswith("!!! Refused: all of 1 message: ")
    assert "?" in first


@pytest.mark.parametrize(("count", "words"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls")])
def test_numbers_go_with_their_nouns(count: int, words: str) -> None:
    summary = replace(EMPTY, read=count, outcomes={"event": count}, elapsed_s=1.0)
    assert piped(summary).splitlines()[0] == f"{words} in 1.0 s, {words} per second"


def test_it_tells_what_became_of_dead_letters() -> None:
    lines = piped(replace(SUMMARY, reread=3012, unreadable_letters={"cut": 1234, "keyed_row": 1})).splitlines()
    assert lines[2:5] == [
        "3,012 dead letters were read again: 2,992 calls are rows now, 20 were refused again",
        "1,234 dead letters left, not read again: only the beginning of the message was kept",
        "1 dead letter left, not read again: a row of a keyed table, which --rebuild makes anew",
    ]
    one = replace(SUMMARY, reread=1, read=2, outcomes={"event": 1, "dead_letter": 1})
    assert "1 dead letter was read again: 1 call is a row now, 1 was refused again" in piped(one)
