"""The numbers of a report are those that plain Python counts, on the examples and on random histories."""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from pipeline.options import parse
from pipeline.report.figures import Choice, Figures, gather
from pipeline.report.queries import DAY_US, Period
from pipeline.run import run
from pipeline.warehouses import open_warehouse
from schemas.tables import Timestamp
from tests.histories import WHOLE, Message, history, line
from tests.pipeline.report.counts import COUNTS, Held, Rows, funnel
from tests.transforms.core.calls import START_MS
from tests.warehouse import EXAMPLES

NOW = Timestamp(1_767_225_600_000_000)
"""2026-01-01."""
DAY_MS = DAY_US // 1000
CONNECTIONS = EXAMPLES.with_name("connections.yaml")
ALPHABET = dataclasses.replace(WHOLE, ids=(*WHOLE.ids, *(f"q{number}" for number in range(30))))


def warehouse(folder: Path, messages: list[Message]) -> Path:
    """A file that a job has written from the messages."""
    (folder / "calls.jsonl").write_bytes(b"".join(line(message) + b"\n" for message in messages))
    return written(folder, folder / "calls.jsonl")


def written(folder: Path, calls: Path, *options: str) -> Path:
    file = folder / "warehouse.duckdb"
    run(*parse([f"--input={calls}", f"--warehouse=duckdb:///{file}", *options]), "")
    return file


def figures_of(file: Path, choice: Choice | None = None, now: Timestamp = NOW) -> Figures:
    with open_warehouse(f"duckdb:///{file}").contents() as contents:
        return gather(contents, choice or Choice(), now)


def spread(seed: int, count: int) -> list[Message]:
    """A random history whose calls happened, and were received, within some months; some late, some ahead of time."""
    rng = Random(seed)
    messages = history(rng, count, ALPHABET)
    times: dict[Any, tuple[int, int]] = {}
    shown = []
    for message in messages:
        happened = START_MS + rng.randrange(120 * DAY_MS)
        received = happened + rng.choice((1_000, 1_000, 1_000, 3 * DAY_MS, 20 * DAY_MS, -DAY_MS))
        happened, received = times.setdefault(message.get("messageId"), (happened, received))
        extra = {"event": rng.choice(("Signed Up", "Paid", "Left"))} if message["type"] == "track" else {}
        shown.append({**message, **extra, "timestamp": happened, "receivedAt": received})
        if rng.random() < 0.5:
            group = {"context": {"groupId": rng.choice(("acme", "nobody", "globex"))}}
            shown.append(
                {
                    "type": rng.choice(("page", "screen")),
                    "name": rng.choice(("Home", "")),
                    "userId": rng.choice(ALPHABET.ids),
                    "messageId": f"p{len(shown)}",
                    "timestamp": happened,
                    "receivedAt": received,
                    "sentAt": received + rng.choice((0, DAY_MS)),
                    **group,
                }
            )
    return shown


@pytest.fixture(scope="module", params=["examples", 1, 2], ids=str)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    if request.param == "examples":
        return written(folder, EXAMPLES, f"--connections={CONNECTIONS}")
    return warehouse(folder, spread(request.param, 150))


PERIODS = {
    "the default": Choice(),
    "some days": Choice(first_day=date(2025, 3, 10), last_day=date(2025, 3, 20)),
    "up to a day": Choice(last_day=date(2024, 1, 5)),
    "since a day": Choice(first_day=date(2023, 12, 24)),
}


@pytest.fixture(scope="module", params=PERIODS)
def answered(file: Path, request: pytest.FixtureRequest) -> tuple[Figures, Held]:
    choice = dataclasses.replace(PERIODS[request.param], funnel=("Signed Up", "Paid", "Paid", "Left"))
    figures = figures_of(file, choice)
    return figures, Held(file, figures.period)


@pytest.mark.parametrize("name", COUNTS)
def test_a_query_gives_what_python_counts(name: str, answered: tuple[Figures, Held]) -> None:
    figures, held = answered
    found = [tuple(row.values()) for row in figures.rows(name)]
    if name == "dead_letters":
        found = [row[:3] for row in found]
    assert by_text(found) == by_text(COUNTS[name](held))


def by_text(rows: Rows) -> Rows:
    return sorted(rows, key=repr)


def test_a_funnel_gives_what_python_counts(answered: tuple[Figures, Held]) -> None:
    figures, held = answered
    assert [tuple(row.values()) for row in figures.rows("funnel")] == funnel(held, figures.funnel)


def test_the_histories_have_something_to_count(file: Path) -> None:
    figures = figures_of(file)
    empty = {name for name, rows in figures.answers.items() if not rows}
    assert empty <= {"shared_addresses", "doubled_accounts", "unknown_groups", "dead_letters", "dead_letter_examples"}
    assert figures.row("lifecycle")["returned"] > 0


def test_ties_and_limits_are_in_the_order_that_is_told(file: Path) -> None:
    figures = figures_of(file)
    held = Held(file, figures.period)
    for name in ("top_events", "audiences", "largest_contacts", "unknown_groups"):
        assert [tuple(row.values()) for row in figures.rows(name)] == COUNTS[name](held)


# ---- the period ----


def page_at(day: date, **fields: Any) -> Message:
    at = (day - date(1970, 1, 1)).days * DAY_MS + 5_000
    return {"type": "page", "userId": "ann", "messageId": f"{day}", "timestamp": at, "receivedAt": at, **fields}


def days(period: Period) -> tuple[int, int]:
    return period.since // DAY_US, period.until // DAY_US


def number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


PERIOD_CASES: list[tuple[str, list[date], Choice, tuple[date, date]]] = [
    # (what, the days on which something was received, what is chosen, the first day and the day after the last)
    ("90 days to the newest", [date(2025, 12, 20)], Choice(), (date(2025, 9, 22), date(2025, 12, 21))),
    ("however old that is", [date(2020, 2, 29), date(2019, 1, 1)], Choice(), (date(2019, 12, 2), date(2020, 3, 1))),
    (
        "a clock ahead does not count beside others",
        [date(2099, 1, 1), date(2025, 12, 20)],
        Choice(),
        (date(2025, 9, 22), date(2025, 12, 21)),
    ),
    ("and does where there is nothing else", [date(2099, 1, 1)], Choice(), (date(2098, 10, 4), date(2099, 1, 2))),
    (
        "the days that are given, both included",
        [date(2025, 12, 20)],
        Choice(first_day=date(2025, 1, 1), last_day=date(2025, 1, 2)),
        (date(2025, 1, 1), date(2025, 1, 3)),
    ),
    (
        "a last day takes 90 days",
        [date(2025, 12, 20)],
        Choice(last_day=date(2025, 3, 31)),
        (date(2025, 1, 1), date(2025, 4, 1)),
    ),
]


@pytest.mark.parametrize(
    ("received", "choice", "expected"), [case[1:] for case in PERIOD_CASES], ids=[case[0] for case in PERIOD_CASES]
)
def test_the_period(
    received: list[date], choice: Choice, expected: tuple[date, date], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "-".join(map(str, received))
    if not folder.exists():
        folder.mkdir()
        warehouse(folder, [page_at(day) for day in received])
    figures = figures_of(folder / "warehouse.duckdb", choice)
    assert days(figures.period) == tuple(map(number, expected))
    assert figures.newest is not None


def test_an_empty_warehouse_has_the_last_days_and_no_newest(tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl").write_text("")
    figures = figures_of(written(tmp_path, tmp_path / "calls.jsonl"))
    assert figures.newest is None
    assert days(figures.period) == (number(date(2025, 10, 4)), number(date(2026, 1, 2)))
    assert figures.row("totals")["events"] == 0


# ---- dead letters ----


def test_each_reason_has_its_newest_letter(tmp_path: Path) -> None:
    lines = [b"{", b"[", b'{"type": "page"}', b'{"type": "jump", "userId": "a"}']
    (tmp_path / "calls.jsonl").write_bytes(b"\n".join(lines))
    figures = figures_of(written(tmp_path, tmp_path / "calls.jsonl"))
    examples = {row["dead_letter_id"]: row["payload"] for row in figures.rows("dead_letter_examples")}
    letters = {row["reason"]: (row["letters"], examples[row["dead_letter_id"]]) for row in figures.rows("dead_letters")}
    assert letters["invalid_json"][0] == 2
    assert letters["invalid_json"][1] in lines[:2]
    assert letters["missing_id"] == (1, lines[2])
    assert letters["unsupported_type"] == (1, lines[3])


def test_freshness_and_jobs_tell_when_rows_were_written(tmp_path: Path) -> None:
    messages = [page_at(date(2025, 12, 19)), page_at(date(2025, 12, 20), type="identify", messageId="i")]
    figures = figures_of(warehouse(tmp_path, messages))
    row = figures.row("freshness")
    assert row["event_received_at"] == number(date(2025, 12, 19)) * DAY_US + 5_000_000
    assert row["call_received_at"] == number(date(2025, 12, 20)) * DAY_US + 5_000_000
    (job,) = figures.rows("jobs")
    assert job["started_at"] <= row["call_written_at"] <= job["ended_at"]
    assert job["started_at"] <= row["contact_written_at"] <= job["ended_at"]
    assert [tuple(row.values()) for row in figures.rows("lag")] == [(5, 1)]


LAGS = {0: 0, 9: 0, 30: 1, 120: 2, 1800: 3, 7200: 4, 90_000: 5, -5: 0}
"""The seconds from received to written, and the place among the report's."""


def test_lags(tmp_path: Path) -> None:
    day = date(2025, 12, 20)
    calls = [page_at(day, type="identify", messageId=f"{seconds}") for seconds in LAGS]
    file = warehouse(tmp_path, calls)
    with duckdb.connect(str(file)) as connection:
        connection.execute("UPDATE identity_calls SET written_at = received_at + to_seconds(message_id::INTEGER)")
    assert [tuple(row.values()) for row in figures_of(file).rows("lag")] == sorted(Counter(LAGS.values()).items())
