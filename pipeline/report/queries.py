"""The queries of a report, each written once in GoogleSQL in `sql/`.

Names with an `@` are parameters: `@since` and `@until` bound the period, in microseconds since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.warehouses import Contents
from schemas.tables import Timestamp

Row = Mapping[str, Any]

_SQL: Final = Path(__file__).with_name("sql")
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True)
class Period:
    """The time that a report is about: from the beginning of a day to that of another, which is not in it."""

    since: Timestamp
    until: Timestamp

    @property
    def parameters(self) -> Mapping[str, int]:
        return {"since": self.since, "until": self.until}


@dataclass(frozen=True)
class Query:
    """A query: what its rows are, and its GoogleSQL."""

    name: str
    description: str
    sql: str

    @property
    def parameters(self) -> frozenset[str]:
        """The names of its parameters."""
        return frozenset(re.findall(r"@(since|until|ids|step_\d+)\b", self.sql))

    def rows(self, contents: Contents, values: Mapping[str, int | str | Sequence[str]]) -> list[Row]:
        """Its rows, with those of the values that it has a parameter for."""
        return list(contents.query(self.sql, {name: values[name] for name in self.parameters}))


def _read(name: str) -> Query:
    lines = (_SQL / f"{name}.sql").read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    description = " ".join(line[2:].strip() for line in lines[:start])
    return Query(name, description, "\n".join(lines[start:]))


NEWEST: Final = _read("newest")
DEAD_LETTER_EXAMPLES: Final = _read("dead_letter_examples")
ALWAYS: Final = tuple(
    _read(name)
    for name in (
        "totals",
        "traffic",
        "top_events",
        "active",
        "growth",
        "lifecycle",
        "retention",
        "audiences",
        "dead_letters",
        "freshness",
        "lag",
        "jobs",
        "merges",
        "contact_sizes",
        "largest_contacts",
        "ids_by_kind",
        "coverage",
        "shared_addresses",
        "doubled_accounts",
        "unknown_groups",
        "clocks",
    )
)
"""The queries of every report, in the order of its parts."""


def funnel(steps: int) -> Query:
    """How many people did the first of so many events in the period, then the second at that time or later, and so on:
    one row for each step. The events' names are `@step_1`, `@step_2` …"""
    parts = ",\n".join(_funnel_step(step) for step in range(1, steps + 1))
    counts = "\nUNION ALL\n".join(
        f"SELECT {step} AS step, COUNT(*) AS people FROM step_{step}" for step in range(1, steps + 1)
    )
    description = "How many people did each of these events, in this order."
    return Query("funnel", description, f"WITH\n{parts}\n{counts}\nORDER BY step")


_AFTER: Final = (
    " AND (event.timestamp > previous.done_at OR event.timestamp = previous.done_at AND @step_{step} != @step_{before})"
)
"""One event is not two steps."""


def _funnel_step(step: int) -> str:
    previous = f"\n  JOIN step_{step - 1} AS previous ON previous.external_id = event.external_id" if step > 1 else ""
    after = _AFTER.format(step=step, before=step - 1) if step > 1 else ""
    return (
        f"step_{step} AS (\n"
        "  SELECT event.external_id, MIN(event.timestamp) AS done_at\n"
        f"  FROM events_resolved AS event{previous}\n"
        "  WHERE event.received_at >= TIMESTAMP_MICROS(@since) AND event.received_at < TIMESTAMP_MICROS(@until)"
        f" AND event.name = @step_{step}{after}\n"
        "  GROUP BY event.external_id\n)"
    )


def all_queries() -> Iterator[Query]:
    """Every query, the funnel with three steps."""
    yield from (NEWEST, *ALWAYS, DEAD_LETTER_EXAMPLES, funnel(3))
