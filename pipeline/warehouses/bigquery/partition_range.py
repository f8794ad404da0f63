"""Which days of rows BigQuery takes from a stream.

A table that is partitioned by a TIMESTAMP takes from a stream what is "between 10 years in the past and 1 year in the
future. Data outside this range is rejected." The contract's range of `received_at` is wider. A load job takes every day
(`pipeline.warehouses.bigquery.load_jobs`).
https://cloud.google.com/bigquery/docs/write-api#time-unit_column_partitioning
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.clock import now_us
from schemas.tables import Row, Table, Timestamp
from transforms.core import times
from transforms.core.dead_letters import Reason
from transforms.core.rows import Append, LogEntry

DAY_US: Final = 86_400_000_000
_PAST_DAYS, _AHEAD_DAYS = 3650, 365
CLOCK_DAYS: Final = 2
"""How many days at each end are left out where a row is appended at once: BigQuery's clock is another, and perhaps it
counts to the second."""
WAIT_DAYS: Final = 30
"""How many where it may wait before it is appended, in a shuffle for example."""

E = TypeVar("E", Append, LogEntry)


def appendable(now: int, margin_days: int) -> range:
    """The times of rows that are appended, in microseconds since the epoch: whole days."""
    today = now // DAY_US
    first, last = today - _PAST_DAYS + margin_days, today + _AHEAD_DAYS - margin_days
    return range(first * DAY_US, (last + 1) * DAY_US)


def partition_time(table: Table, row: Row) -> Timestamp | None:
    """The time that a row's partition goes by; None where that is the time of writing, or there is no partition."""
    if table.partition_by is None or table.partition_by == table.written:
        return None
    time: Timestamp = getattr(row, table.partition_by)
    return time


def refusal(time: Timestamp, bounds: range, dataset: Dataset) -> str:
    """Why a row of this time is not appended, where only those within the bounds are, and what loads it."""
    day, first, last = (times.iso(Timestamp(moment))[:10] for moment in (time, bounds.start, bounds.stop - 1))
    command = f"python -m pipeline --redeliver={Reason.OUT_OF_PARTITION_RANGE.value}"
    return (
        f"the row is of {day}, and BigQuery takes rows from a stream from {first} to {last}: with the job's"
        f" --connections, {command} --warehouse=bigquery://{dataset.project}/{dataset.name} loads it"
    )


class SplitByDay(beam.PTransform):
    """`Append` or `LogEntry` of a table → on `APPENDED` those whose day is taken from a stream, even if they wait; on
    `LOADED` the others."""

    APPENDED = "appended"
    LOADED = "loaded"

    def __init__(self, table: Table, element: type[Append] | type[LogEntry]) -> None:
        super().__init__()
        self.table, self.element = table, element

    def expand(self, elements: PCollection) -> dict[str, PCollection]:
        split = beam.ParDo(_SplitFn(self.table)).with_output_types(self.element, **{self.LOADED: self.element})
        outputs = elements | "Day" >> split.with_outputs(self.LOADED, main=self.APPENDED)
        return {name: outputs[name] for name in (self.APPENDED, self.LOADED)}


class _SplitFn(beam.DoFn):
    def __init__(self, table: Table) -> None:
        self.table = table

    def start_bundle(self) -> None:
        self.bounds = appendable(now_us(), WAIT_DAYS)

    def process(self, element: E) -> Iterator[Any]:
        time = partition_time(self.table, append_of(element).row)
        yield element if time is None or time in self.bounds else TaggedOutput(SplitByDay.LOADED, element)


def append_of(element: Append | LogEntry) -> Append:
    """The row of an element."""
    return element if isinstance(element, Append) else element.append
