"""Rows of any day, in a job that ends: appended where BigQuery takes their day from a stream, else loaded.

The rows that are loaded are grouped by days: by 4,000, as many as a job may change, where they are few, and by ever
fewer, the more bytes there are. So a few rows of many years are one job for each table, and a backfill of many pieces
does not change each partition by each of them: of both there are not many more than there must be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, PCollection, TaggedOutput

from pipeline.warehouses import base
from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery import catalog
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.load_jobs import PARTITIONS, Loader, Loading
from pipeline.warehouses.bigquery.partition_range import DAY_US, SplitByDay, append_of, partition_time
from pipeline.warehouses.bigquery.sink import AppendRows, LogCalls
from schemas.tables import EVENTS, IDENTITY_CALLS, Table
from transforms import metrics
from transforms.core.dead_letters import Reason
from transforms.core.packed_event import PackedEvent, pack, unpack
from transforms.core.reader import Call
from transforms.core.rows import Append, LogEntry

_LOADING: Final = Loading()

E = TypeVar("E", PackedEvent, LogEntry)


class WriteEvents(beam.PTransform):
    """`Append` of events → `Append` of a dead letter for each row that BigQuery refuses. For a bounded job. `append`
    writes those whose day BigQuery takes from a stream."""

    def __init__(
        self, dataset: Dataset, job: JobRun, append: beam.PTransform | None = None, loading: Loading = _LOADING
    ) -> None:
        super().__init__()
        self.split, self.append = SplitByDay(EVENTS, Append), append or AppendRows(dataset, EVENTS, job)
        self.load = _Load(_LoadEventsFn(dataset, EVENTS, job, loading))

    def expand(self, appends: PCollection[Append]) -> PCollection[Append]:
        rows = appends | "Split" >> self.split
        appended = rows[SplitByDay.APPENDED] | "Rows" >> self.append
        loaded = rows[SplitByDay.LOADED] | "Load" >> self.load
        return (appended, loaded[base.DEAD_LETTERS]) | "Refused" >> beam.Flatten()


class WriteCalls(beam.PTransform):
    """`LogEntry` → on `LOGGED` each `Call` that the log holds; on `DEAD_LETTERS` an `Append` of a dead letter for each
    that BigQuery refuses. For a bounded job."""

    def __init__(self, dataset: Dataset, job: JobRun, loading: Loading = _LOADING) -> None:
        super().__init__()
        self.split, self.append = SplitByDay(IDENTITY_CALLS, LogEntry), LogCalls(dataset, job)
        self.load = _Load(_LoadCallsFn(dataset, IDENTITY_CALLS, job, loading))

    def expand(self, entries: PCollection[LogEntry]) -> dict[str, PCollection]:
        rows = entries | "Split" >> self.split
        appended = rows[SplitByDay.APPENDED] | "Rows" >> self.append
        loaded = rows[SplitByDay.LOADED] | "Load" >> self.load
        return {
            base.LOGGED: (appended[base.LOGGED], loaded[base.LOGGED]) | "Logged" >> beam.Flatten(),
            base.DEAD_LETTERS: (appended[base.DEAD_LETTERS], loaded[base.DEAD_LETTERS]) | "Refused" >> beam.Flatten(),
        }


class _Load(beam.PTransform):
    """`Append` or `LogEntry` → on `LOGGED` the calls, and on `DEAD_LETTERS` the dead letters, that `fn` gives."""

    def __init__(self, fn: _LoadFn[Any]) -> None:
        super().__init__()
        self.fn = fn

    def expand(self, elements: PCollection) -> dict[str, PCollection]:
        fn = self.fn
        by_day = elements | "Day" >> beam.Map(fn.by_day).with_output_types(fn.BY_DAY)
        total = (
            by_day
            | "Size" >> beam.Map(fn.size).with_output_types(tuple[str, int])
            | "Total" >> beam.CombinePerKey(sum)
            | "Sum" >> beam.Values()
        )
        groups = (
            by_day
            | "Days" >> beam.Map(fn.by_days, AsSingleton(total, 0)).with_output_types(fn.BY_DAY)
            | "Gather" >> beam.GroupByKey()
        )
        jobs = beam.ParDo(fn).with_output_types(Call, **{base.DEAD_LETTERS: Append})
        outputs = groups | "Jobs" >> jobs.with_outputs(base.DEAD_LETTERS, main=base.LOGGED)
        return {name: outputs[name] for name in (base.LOGGED, base.DEAD_LETTERS)}


class _LoadFn(metrics.CountingFn, Generic[E]):
    """Loads the rows of some days, piece by piece. A call is given when its row is durable."""

    BY_DAY: ClassVar[Any]
    """What crosses the shuffle, by its day or days."""

    def __init__(self, dataset: Dataset, table: Table, job: JobRun, loading: Loading) -> None:
        super().__init__()
        self.dataset, self.table, self.job, self.loading = dataset, table, job, loading

    def setup(self) -> None:
        self.client = catalog.connect(self.dataset.project)

    def teardown(self) -> None:
        self.client.close()

    def pack(self, element: Append | LogEntry) -> E:
        """An element as it crosses the shuffle."""
        raise NotImplementedError

    def unpack(self, packed: E) -> tuple[Append, Call | None]:
        """Its row, and the call that is given when that is durable."""
        raise NotImplementedError

    def by_day(self, element: Append | LogEntry) -> tuple[int, E]:
        """An element by its row's day."""
        time = partition_time(self.table, append_of(element).row)
        assert time is not None
        return time // DAY_US, self.pack(element)

    def size(self, by_day: tuple[int, E]) -> tuple[str, int]:
        """About how many bytes an element's row has."""
        return "", self.unpack(by_day[1])[0].size

    def by_days(self, by_day: tuple[int, E], total: int) -> tuple[int, E]:
        """An element by the days that it is gathered with, where all rows have so many bytes."""
        day, packed = by_day
        piece = self.loading.piece_bytes
        return day // max(1, PARTITIONS * piece // max(total, piece)), packed

    def process(self, group: tuple[int, Iterable[E]]) -> Iterator[Call | TaggedOutput]:
        loader = Loader(self.client, self.dataset, self.table, self.job, self.tally, self.loading)
        rows: list[tuple[Append, Call | None]] = []
        lines: list[bytes] = []
        size = 0
        for append, call in map(self.unpack, group[1]):
            why = self.table.misfit(append.row)
            if why is not None:
                yield self._refused(append, why)
                continue
            line = loader.line(append.row)
            if lines and size + len(line) > self.loading.piece_bytes:
                yield from self._load(loader, rows, lines)
                rows, lines, size = [], [], 0
            rows.append((append, call))
            lines.append(line)
            size += len(line)
        yield from self._load(loader, rows, lines)

    def _load(
        self, loader: Loader, rows: Sequence[tuple[Append, Call | None]], lines: Sequence[bytes]
    ) -> Iterator[Call | TaggedOutput]:
        refused = loader.load(lines)
        self.tally[metrics.WRITTEN.of(self.table.name)] += len(rows) - len(refused)
        for index, (append, call) in enumerate(rows):
            if index in refused:
                yield self._refused(append, refused[index])
                continue
            if append.outcome is not None:
                self.tally[metrics.OUTCOMES.of(append.outcome)] += 1
            if call is not None:
                yield call

    def _refused(self, append: Append, why: str) -> TaggedOutput:
        if append.outcome is not None:
            self.tally.refused(Reason.INVALID_FIELD.value)
        return TaggedOutput(base.DEAD_LETTERS, append.refused(why))


class _LoadEventsFn(_LoadFn[PackedEvent]):
    BY_DAY = tuple[int, PackedEvent]

    def pack(self, element: Append | LogEntry) -> PackedEvent:
        return pack(append_of(element))

    def unpack(self, packed: PackedEvent) -> tuple[Append, None]:
        return unpack(packed), None


class _LoadCallsFn(_LoadFn[LogEntry]):
    BY_DAY = tuple[int, LogEntry]

    def pack(self, element: Append | LogEntry) -> LogEntry:
        assert isinstance(element, LogEntry)
        return element

    def unpack(self, packed: LogEntry) -> tuple[Append, Call]:
        return packed.append, packed.call
