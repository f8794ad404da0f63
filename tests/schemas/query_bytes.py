"""What questions read of a billion events in BigQuery, by the widths of the sample's columns."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final, NamedTuple

from judge import replay
from schemas.tables import EVENTS, Type
from tests.warehouse import EXAMPLES

EVENTS_HELD: Final = 1_000_000_000
DAYS_HELD: Final = 365


class Question(NamedTuple):
    """A question, the columns of `events` that it reads, and of how many days' partitions."""

    text: str
    columns: str
    days: int


_WHO: Final = "user_id anonymous_id"
QUESTIONS: Final = (
    Question("events by name, the last 7 days", "received_at type name", 7),
    Question("people by day, the last 30 days", f"received_at timestamp {_WHO}", 30),
    Question("the most active companies, the last 30 days", f"received_at group_id {_WHO}", 30),
    Question("who did one event, the last 90 days", f"received_at type name {_WHO}", 90),
    Question("a property of one event, the last 30 days", "received_at type name properties", 30),
    Question("pages by campaign, the last 7 days", "received_at type context", 7),
    Question("`events_between` for the last month", f"received_at timestamp name {_WHO}", 31),
    Question("`account_activity_daily`, all of it", f"timestamp type group_id {_WHO}", DAYS_HELD),
    Question("`contact_activity`, all of it", f"timestamp {_WHO}", DAYS_HELD),
    Question("`events_unique`, the last 7 days by name", "received_at type name timestamp", 7),
    Question("`SELECT *`, one day", " ".join(column.name for column in EVENTS.columns), 1),
)


def widths() -> dict[str, float]:
    """The bytes of each column of `events` in the sample, on average, as BigQuery counts them: two and the UTF-8 of a
    text, eight of a time, none of NULL."""
    events = replay(EXAMPLES.read_bytes().splitlines()).events.values()
    total: Counter[str] = Counter()
    for event in events:
        for column in EVENTS.columns:
            total[column.name] += _bytes(event.get(column.name), column.type)
    return {column.name: total[column.name] / len(events) for column in EVENTS.columns}


def _bytes(value: Any, type_: Type) -> int:
    if value is None:
        return 0
    if type_ is Type.TIMESTAMP:
        return 8
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False) if type_ is Type.JSON else value
    return 2 + len(text.encode())


def query_bytes() -> str:
    """The questions with what they read, as a table of Markdown."""
    width = widths()
    lines = ["| question | columns of `events` | GB |", "| --- | --- | ---: |"]
    for question in QUESTIONS:
        names = question.columns.split()
        read = sum(width[name] for name in names) * EVENTS_HELD * question.days / DAYS_HELD
        if "events_unique" in question.text:  # it looks for copies in every partition
            read += (width["message_id"] + width["received_at"]) * EVENTS_HELD
        shown = ", ".join(names) if len(names) < len(EVENTS.columns) else "all"
        lines.append(f"| {question.text} | {shown} | {read / 1e9:,.1f} |")
    return "\n".join(lines)
