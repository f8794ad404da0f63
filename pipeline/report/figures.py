"""What a report shows, as it was read from a warehouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from pipeline.report import queries
from pipeline.report.queries import DAY_US, Period, Row
from pipeline.warehouses import Contents
from schemas.segment import PARTITIONS
from schemas.tables import Timestamp

DEFAULT_DAYS: Final = 90
"""How many days of data are shown, up to the newest, where no first day is given."""
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the user wants to see: the first and the last day, where they are given, and the funnel's events."""

    first_day: date | None = None
    last_day: date | None = None
    funnel: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The rows of every query, by its name, and what they are about. `newest` is None where nothing was received."""

    drawn_at: Timestamp
    newest: Timestamp | None
    period: Period
    funnel: tuple[str, ...]
    answers: Mapping[str, Sequence[Row]]

    def rows(self, name: str) -> Sequence[Row]:
        """The rows of a query."""
        return self.answers[name]

    def row(self, name: str) -> Row:
        """The only row of a query."""
        (row,) = self.answers[name]
        return row


def gather(contents: Contents, choice: Choice, now: Timestamp) -> Figures:
    """Asks a warehouse everything."""
    newest = _newest(contents, now)
    period = _period(choice, now if newest is None else newest)
    answers = {query.name: query.rows(contents, period.parameters) for query in queries.ALWAYS}
    ids = sorted(row["dead_letter_id"] for row in answers["dead_letters"])
    if ids:
        oldest = min(row["newest_at"] for row in answers["dead_letters"])
        values = {"since": oldest - oldest % DAY_US, "ids": ids}
        answers[queries.DEAD_LETTER_EXAMPLES.name] = queries.DEAD_LETTER_EXAMPLES.rows(contents, values)
    else:
        answers[queries.DEAD_LETTER_EXAMPLES.name] = []
    if choice.funnel:
        steps = {f"step_{step}": name for step, name in enumerate(choice.funnel, 1)}
        answers["funnel"] = queries.funnel(len(steps)).rows(contents, {**period.parameters, **steps})
    return Figures(drawn_at=now, newest=newest, period=period, funnel=choice.funnel, answers=answers)


def _newest(contents: Contents, now: Timestamp) -> Timestamp | None:
    """When the newest call was received. What clocks have put ahead of tomorrow counts only where there is nothing
    else; all days are read only where the last ones are empty."""
    tomorrow = now + DAY_US
    far = PARTITIONS.stop
    for since, until in ((now - DEFAULT_DAYS * DAY_US, tomorrow), (PARTITIONS.start, tomorrow), (tomorrow, far)):
        (row,) = queries.NEWEST.rows(contents, {"since": since, "until": until})
        if row["received_at"] is not None:
            return Timestamp(row["received_at"])
    return None


def _period(choice: Choice, newest: Timestamp) -> Period:
    last = start_of(choice.last_day) if choice.last_day else newest - newest % DAY_US
    until = last + DAY_US
    since = start_of(choice.first_day) if choice.first_day else until - DEFAULT_DAYS * DAY_US
    return Period(Timestamp(since), Timestamp(until))


def start_of(day: date) -> int:
    """When a day begins, UTC."""
    return (day - _EPOCH).days * DAY_US


def day_of(timestamp: int) -> date:
    """The day of a time, UTC."""
    return date.fromordinal(_EPOCH.toordinal() + timestamp // DAY_US)
