"""What a finished job tells."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.summary import Summary, render

SUMMARY = Summary(
    read=3012,
    outcomes={"event": 2100, "identity_call": 880, "dead_letter": 20, "duplicate": 12, "disabled": 0},
    by_type={"identify": 880, "page": 1200, "track": 900},
    written={"events": 2100, "identity_calls": 880, "contacts": 300, "accounts": 12, "memberships": 40},
    dead_letters={"missing_field": 8, "invalid_json": 12},
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
3,012 messages in 4.0 s, 753 messages per second
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
NOTHING = """\
0 messages in 0.0 s, 0 messages per second
0 read = 0

Open the warehouse:  duckdb w
A query to try:      SHOW TABLES
"""


def piped(summary: Summary, encoding: str = "utf-8", width: int | None = None) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding)
    render(summary, Console(file=file, width=width, _environ={}))
    file.seek(0)
    return file.read()


@pytest.mark.parametrize(
    ("what", "summary", "expected"), [("a whole job", SUMMARY, WHOLE), ("a job on nothing", EMPTY, NOTHING)]
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
    assert "\x1b[1m3,012 messages" in file.getvalue()


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
