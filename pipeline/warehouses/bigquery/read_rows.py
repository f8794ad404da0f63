"""The rows of a partitioned table that meet a restriction, in work items of bounded size.

What is left of a table must not depend on a read session, which expires after six hours, and whose streams no other
session has. So the rows are cut by the time that partitions the table: into ranges of hours, dealt to a few readers.
A reader opens a session for one range after the other, with one stream, and reads that up to an offset. Where the
session expires meanwhile, the range is cut in two and read anew: its first rows come twice, and each session gets
further than the one before.

A range within a day makes BigQuery look at all rows of that day, and perhaps bill them: so ranges have many rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
import msgspec
import pyarrow as pa
from apache_beam.coders import registry
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp
from msgspec.structs import replace

from pipeline import work_items
from pipeline.warehouses.bigquery import statements
from pipeline.warehouses.bigquery.clients import read_client
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.queries import query
from pipeline.warehouses.bigquery.query_step import QueryFn
from pipeline.warehouses.bigquery.read_session import GONE, open_stream, record_batches
from pipeline.work_items import Remainders, Watermarks
from schemas.tables import Table, Timestamp
from transforms import metrics
from transforms.coders import StructCoder
from transforms.core import times

_HOUR_US: Final = 3_600_000_000
_READERS: Final = 32
"""So many ranges are read at a time, at most: with more, each would take longer than its session lives."""
_LEAST_ROWS: Final = 500_000
_MOST_ROWS: Final = 5_000_000
"""A range of so many rows of 2 kB is read in an hour or two, with all others."""
_ROW_BYTES: Final = 1_000
"""What a row is taken to have where only the number of rows is known."""


class RowRange(msgspec.Struct, frozen=True, array_like=True):
    """Some `rows` of a table, by the first and the last microsecond that they may have. `offset` rows of `stream` are
    read; where that is empty, there is no session yet."""

    first: int
    last: int
    rows: int
    stream: str = ""
    offset: int = 0

    def halves(self) -> tuple[RowRange, ...]:
        """The same rows in two ranges, not begun; in one where their time cannot be cut."""
        if self.first == self.last:
            return (RowRange(self.first, self.last, self.rows),)
        middle, rows = (self.first + self.last) // 2, self.rows // 2
        return RowRange(self.first, middle, rows), RowRange(middle + 1, self.last, self.rows - rows)


class UnreadRows(msgspec.Struct, frozen=True, array_like=True):
    """What a reader has not read: of these ranges the rows that meet `restriction`. It has begun the first at most."""

    restriction: str = ""
    ranges: tuple[RowRange, ...] = ()

    @property
    def is_done(self) -> bool:
        return not self.ranges

    def after(self, *of_first: RowRange) -> UnreadRows:
        """What is left when this is left of the first range."""
        return UnreadRows(self.restriction, (*of_first, *self.ranges[1:]))


registry.register_coder(UnreadRows, StructCoder)


def ranges(hours: Iterable[tuple[int, int]], most: int) -> Iterator[RowRange]:
    """Ranges of `most` rows at most, from (when an hour begins, how many rows it has), in the order of time: hours that
    follow each other, or an equal part of one that has more. How its rows lie in an hour is not known."""
    gathered: RowRange | None = None
    for begins, rows in hours:
        if gathered is not None and gathered.rows + rows <= most:
            gathered = RowRange(gathered.first, begins + _HOUR_US - 1, gathered.rows + rows)
            continue
        if gathered is not None:
            yield gathered
        *parts, gathered = _cut(begins, rows, -(-rows // most))
        yield from parts
    if gathered is not None:
        yield gathered


def _cut(begins: int, rows: int, parts: int) -> Iterator[RowRange]:
    """An hour in so many equal parts."""
    for part in range(parts):
        (first, before), (end, through) = ((_HOUR_US * n // parts, rows * n // parts) for n in (part, part + 1))
        yield RowRange(begins + first, begins + end - 1, through - before)


class ReadRows(beam.PTransform):
    """Restrictions, as SQL → what `fn` makes of the rows of its table that meet one."""

    def __init__(self, fn: ReadRowsFn) -> None:
        super().__init__()
        self.fn = fn

    def expand(self, restrictions: PCollection[str]) -> PCollection:
        cut = beam.ParDo(_RangesFn(self.fn.dataset, self.fn.table, present=self.fn.present))
        return restrictions | "Ranges" >> cut.with_output_types(UnreadRows) | "Read" >> beam.ParDo(self.fn)


class _RangesFn(QueryFn):
    """A restriction → what each reader is to read; with `present` as of the time at which this runs."""

    def __init__(self, dataset: Dataset, table: Table, *, present: bool) -> None:
        super().__init__(dataset)
        self.table, self.present = table, present

    def process(self, restriction: str) -> Iterator[UnreadRows | TimestampedValue]:
        statement = statements.rows_by_hour(self.table, str(self.dataset), restriction)
        hours = [(row.begins, row.held) for row in query(self.client, statement)]
        rows = sum(held for _, held in hours)
        cut = [*ranges(hours, min(max(rows // _READERS, _LEAST_ROWS), _MOST_ROWS))]
        for reader in range(min(_READERS, len(cut))):
            unread = UnreadRows(restriction, tuple(cut[reader::_READERS]))
            yield TimestampedValue(unread, time.time()) if self.present else unread


class _Unread(Remainders[UnreadRows]):
    nothing = UnreadRows()

    def initial_restriction(self, unread: UnreadRows) -> UnreadRows:
        return unread

    def restriction_size(self, _: UnreadRows, unread: UnreadRows) -> float:
        return sum(max(rows.rows - rows.offset, 1) for rows in unread.ranges) * _ROW_BYTES


class ReadRowsFn(metrics.CountingFn):
    """Reads what a reader is to read, of these columns. With `present` what it gives has the time at which it is read,
    and the watermark follows; otherwise that of the element, which holds the watermark until everything is read."""

    def __init__(self, dataset: Dataset, table: Table, columns: Sequence[str], *, present: bool = False) -> None:
        super().__init__()
        self.dataset, self.table, self.columns, self.present = dataset, table, columns, present

    def values(self, rows: pa.RecordBatch) -> Iterable[Any]:
        """What is given for some rows."""
        raise NotImplementedError

    def setup(self) -> None:
        self.client = read_client()

    def process(
        self,
        _: UnreadRows,
        tracker: Any = beam.DoFn.RestrictionParam(_Unread()),  # noqa: B008
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(Watermarks()),  # noqa: B008
    ) -> Iterator[Any]:
        now = BeamTimestamp.now()
        if self.present:
            _advance(estimator, now)
        for value in self._values(tracker):
            yield TimestampedValue(value, now) if self.present else value

    def _values(self, tracker: Any) -> Iterator[Any]:
        """What this work item gives: of so many batches that they have `work_items.BYTES`."""
        size = 0
        for rows in self._batches(tracker):
            if size >= work_items.BYTES:
                tracker.defer_remainder()
                return
            unread: UnreadRows = tracker.current_restriction()
            if unread.is_done:
                return
            begun = unread.ranges[0]
            if not tracker.try_claim(unread.after(replace(begun, offset=begun.offset + rows.num_rows))):
                return
            size += rows.nbytes
            yield from self.values(rows)

    def _batches(self, tracker: Any) -> Iterator[pa.RecordBatch]:
        """The rows from the first that is not claimed on. Between two batches their receiver claims the one before."""
        opened = ""
        while not (unread := tracker.current_restriction()).is_done:
            begun: RowRange = unread.ranges[0]
            if not begun.stream:
                opened = open_stream(
                    self.client, self.dataset, self.table, self.columns, self._restriction(unread.restriction, begun)
                )
                begun = replace(begun, stream=opened)
                if not tracker.try_claim(unread.after(begun) if opened else unread.after()) or not opened:
                    continue
            try:
                yield from record_batches(self.client, begun.stream, begun.offset)
            except GONE:
                if begun.stream == opened:
                    raise
                tracker.try_claim(unread.after(*begun.halves()))
            else:
                tracker.try_claim(tracker.current_restriction().after())

    def _restriction(self, restriction: str, rows: RowRange) -> str:
        column = self.table.partition_by
        first, last = (f"CAST('{times.iso(Timestamp(at))}' AS TIMESTAMP)" for at in (rows.first, rows.last))
        return f"{restriction} AND {column} BETWEEN {first} AND {last}"

    def teardown(self) -> None:
        self.client.transport.close()


def _advance(estimator: ManualWatermarkEstimator, now: BeamTimestamp) -> None:
    """Moves the watermark, unless another clock has moved it further."""
    before = estimator.current_watermark()
    if before is None or now > before:
        estimator.set_watermark(now)
