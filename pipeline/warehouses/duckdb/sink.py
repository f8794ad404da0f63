"""Rows to a DuckDB file: batches go to the writing thread while the next is gathered; a bundle ends when all are in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final, Generic, NamedTuple, TypeVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.warehouses.base import DEAD_LETTERS, LOGGED, JobRun
from pipeline.warehouses.clock import now_us
from pipeline.warehouses.duckdb.arrow import block_batch, newest, row_batch, upsert_batch
from pipeline.warehouses.duckdb.database import Database, Inserted
from pipeline.warehouses.logged_calls import LoggedCalls, TimedEntry
from schemas.tables import BY_NAME, EVENTS, IDENTITY_CALLS, Table
from transforms import metrics, windows
from transforms.call_blocks import CallBlock, CallBlocks, IdentityBlock
from transforms.core.dead_letters import Reason
from transforms.core.reader import Call
from transforms.core.rows import Append, LogEntry, Upsert
from transforms.windows import in_global_window

_BATCH_ROWS: Final = 8_000
"""DuckDB takes milliseconds to plan a statement, however few its rows are."""
_BATCH_BYTES: Final = 16_000_000
_BATCHES_AHEAD: Final = 3
"""How many batches may wait for the writing thread: memory is bounded, and a checkpoint stops nobody."""

E = TypeVar("E")


class InsertRows(beam.PTransform):
    """`Append` → `Append` of a dead letter for each row that the table cannot hold."""

    def __init__(self, file: str, table: str, job: JobRun) -> None:
        super().__init__()
        self.fn = _AppendFn(file, table, job)

    def expand(self, appends: PCollection[Append]) -> PCollection[Append]:
        return appends | "Append" >> beam.ParDo(self.fn).with_output_types(Append)


class InsertBlocks(beam.PTransform):
    """`CallBlock` → `Append` of a dead letter for each event that the table cannot hold."""

    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.fn = _AppendBlocksFn(file, EVENTS.name, job)

    def expand(self, blocks: PCollection[CallBlock]) -> PCollection[Append]:
        return blocks | "Append" >> beam.ParDo(self.fn).with_output_types(Append)


class InsertCalls(beam.PTransform):
    """`LogEntry` → on `LOGGED` the `Call` of each entry that the log holds as it is, whether it is new or was there;
    on `DEAD_LETTERS` an `Append` of a dead letter for each that the log cannot hold."""

    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.fn = _LogFn(file, IDENTITY_CALLS.name, job)

    def expand(self, entries: PCollection[LogEntry]) -> dict[str, PCollection]:
        return _logged(entries, self.fn)


class InsertCallBlocks(beam.PTransform):
    """`IdentityBlock` → as `InsertCalls`."""

    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.fn = _LogBlocksFn(file, IDENTITY_CALLS.name, job)

    def expand(self, blocks: PCollection[IdentityBlock]) -> dict[str, PCollection]:
        return _logged(blocks, self.fn)


def _logged(elements: PCollection, fn: beam.DoFn) -> dict[str, PCollection]:
    outputs = elements | "Append" >> beam.ParDo(fn).with_outputs(DEAD_LETTERS, main=LOGGED)
    return {name: outputs[name] for name in (LOGGED, DEAD_LETTERS)}


class _WriteFn(metrics.CountingFn, Generic[E]):
    """Gathers elements with their rows, and has each batch written once. What became of one is handed to `settled`."""

    def __init__(self, file: str, table: str, job: JobRun) -> None:
        super().__init__()
        self.file, self.table, self.job = file, BY_NAME[table], job

    def setup(self) -> None:
        self.database = Database.of(self.file)

    def start_bundle(self) -> None:
        self.database.open_bundle(self.job)
        self.gathered: dict[str | None, list[E]] = {}
        self.bytes = 0
        self.count = 0
        self.ahead: deque[tuple[str | None, list[E], Sequence[Append], Future[Inserted]]] = deque()
        self.dead_letters: list[Append] = []

    def appends(self, elements: list[E]) -> Sequence[Append]:
        """The rows of these elements, in the same order."""
        raise NotImplementedError

    def batch(self, elements: list[E], appends: Sequence[Append]) -> pa.Table:
        """The same rows as the table's columns."""
        return row_batch(self.table, [append.row for append in appends], self.job.written_at(now_us()))

    def settled(self, elements: Sequence[E], inserted: Inserted) -> None:
        """These elements are in the table, but for those refused or conflicting, by index."""

    def add(self, element: E, outcome: str | None, size: int, rows: int = 1) -> None:
        """Gathers an element's rows. Rows of different outcomes go in batches of their own, since of a batch it is only
        known how many are new."""
        gathered = self.gathered.get(outcome)
        if gathered is None:
            gathered = self.gathered[outcome] = []
        gathered.append(element)
        self.count += rows
        self.bytes += size
        if self.count >= _BATCH_ROWS or self.bytes >= _BATCH_BYTES:
            self._hand_over()

    def finish_bundle(self) -> Any:
        self._hand_over()
        while self.ahead:
            self._settle()
        self.database.close_bundle(self.job)
        super().finish_bundle()

    def _hand_over(self) -> None:
        for outcome, elements in self.gathered.items():
            appends = self.appends(elements)
            batch = self.batch(elements, appends)
            future = self.database.run(self.database.append, self.table, appends, batch)
            self.ahead.append((outcome, elements, appends, future))
        self.gathered, self.count, self.bytes = {}, 0, 0
        while len(self.ahead) > _BATCHES_AHEAD:
            self._settle()

    def _settle(self) -> None:
        outcome, elements, appends, future = self.ahead.popleft()
        inserted = future.result()
        self.settled(elements, inserted)
        self.dead_letters += (appends[index].refused(why) for index, why in sorted(inserted.refused.items()))
        count(self.tally, self.table, outcome, len(appends), inserted)


def count(tally: metrics.Tally, table: Table, outcome: str | None, rows: int, inserted: Inserted) -> None:
    """Counts what became of a batch of so many rows, all of one outcome."""
    refused, conflicting = len(inserted.refused), len(inserted.conflicting)
    repeated = rows - inserted.written - refused - conflicting
    tally[metrics.WRITTEN.of(table.name)] += inserted.written
    tally[metrics.REPEATED.of(table.name)] += repeated
    tally[metrics.CONFLICTING.of(table.name)] += conflicting
    if outcome is not None:
        tally[metrics.OUTCOMES.of(outcome)] += inserted.written
        tally[metrics.OUTCOMES.of("duplicate")] += repeated
        tally[metrics.OUTCOMES.of("conflicting")] += conflicting
        tally.refused(Reason.INVALID_FIELD.value, refused)


class _AppendFn(_WriteFn[Append]):
    def process(self, append: Append) -> None:
        self.add(append, append.outcome, append.size)

    def appends(self, elements: list[Append]) -> list[Append]:
        return elements

    def finish_bundle(self) -> Iterator[WindowedValue]:
        super().finish_bundle()
        for append in self.dead_letters:
            yield in_global_window(append)


class _AppendBlocksFn(_WriteFn[CallBlock]):
    def process(self, block: CallBlock) -> None:
        self.add(block, "event", block.size, len(block))

    def appends(self, elements: list[CallBlock]) -> Sequence[Append]:
        return CallBlocks(elements)

    def batch(self, elements: list[CallBlock], appends: Sequence[Append]) -> pa.Table:
        return block_batch(self.table, elements, self.job.written_at(now_us()))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        super().finish_bundle()
        for append in self.dead_letters:
            yield in_global_window(append)


class _LoggingFn(_WriteFn[E]):
    """Gives the calls that the log holds, and what it refuses."""

    def start_bundle(self) -> None:
        super().start_bundle()
        self.logged = LoggedCalls()

    def calls(self, elements: Sequence[E]) -> Iterator[tuple[Call, Timestamp]]:
        """The calls of these elements, in the order of their rows, each with its element's timestamp."""
        raise NotImplementedError

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        super().finish_bundle()
        yield from self.logged.pop()
        for append in self.dead_letters:
            yield TaggedOutput(DEAD_LETTERS, in_global_window(append))

    def settled(self, elements: Sequence[E], inserted: Inserted) -> None:
        for index, (call, timestamp) in enumerate(self.calls(elements)):
            if index not in inserted.refused and index not in inserted.conflicting:
                self.logged.add(call, timestamp)


class _LogFn(_LoggingFn[TimedEntry]):
    def process(self, entry: LogEntry, timestamp: Any = beam.DoFn.TimestampParam) -> Sequence[WindowedValue]:
        self.add(TimedEntry(entry, timestamp), entry.append.outcome, entry.append.size)
        return self.logged.pop()

    def appends(self, elements: list[TimedEntry]) -> list[Append]:
        return [element.entry.append for element in elements]

    def calls(self, elements: Sequence[TimedEntry]) -> Iterator[tuple[Call, Timestamp]]:
        return ((element.entry.call, element.timestamp) for element in elements)


class _TimedBlock(NamedTuple):
    """A block with its element's timestamp."""

    block: IdentityBlock
    timestamp: Timestamp


class _LogBlocksFn(_LoggingFn[_TimedBlock]):
    def process(self, block: IdentityBlock, timestamp: Any = beam.DoFn.TimestampParam) -> Sequence[WindowedValue]:
        self.add(_TimedBlock(block, timestamp), block.outcome, block.size, len(block.rows))
        return self.logged.pop()

    def appends(self, elements: list[_TimedBlock]) -> Sequence[Append]:
        return CallBlocks([element.block.rows for element in elements])

    def batch(self, elements: list[_TimedBlock], appends: Sequence[Append]) -> pa.Table:
        return block_batch(self.table, [element.block.rows for element in elements], self.job.written_at(now_us()))

    def calls(self, elements: Sequence[_TimedBlock]) -> Iterator[tuple[Call, Timestamp]]:
        return ((call, element.timestamp) for element in elements for call in element.block.calls)


class MergeRows(beam.PTransform):
    """`Upsert` → the number of rows that the writing thread has accepted, once it has."""

    def __init__(self, file: str, table: str, job: JobRun) -> None:
        super().__init__()
        self.fn = _UpsertFn(file, table, job)

    def expand(self, upserts: PCollection[Upsert]) -> PCollection[int]:
        return upserts | "Upsert" >> beam.ParDo(self.fn).with_output_types(int)


class _UpsertFn(beam.DoFn):
    def __init__(self, file: str, table: str, job: JobRun) -> None:
        self.file, self.table, self.job = file, BY_NAME[table], job

    def setup(self) -> None:
        self.database = Database.of(self.file)

    def start_bundle(self) -> None:
        self.upserts: list[Upsert] = []
        self.accepted = 0
        self.shown = 0
        self.ahead: deque[Future[int]] = deque()

    def process(self, upsert: Upsert) -> None:
        self.upserts.append(upsert)
        if len(self.upserts) >= _BATCH_ROWS:
            self._hand_over()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._hand_over()
        while self.ahead:
            self.shown += self.ahead.popleft().result()
        metrics.Tally({metrics.WRITTEN.of(self.table.name): self.shown}).report()
        yield in_global_window(self.accepted)

    def _hand_over(self) -> None:
        if self.upserts:
            database = self.database
            if self.job.bounded:
                write, upserts = database.stage, self.upserts
            else:
                write, upserts = database.upsert, newest(self.upserts)
            self.ahead.append(database.run(write, self.table, upsert_batch(self.table, upserts, self.job)))
            self.accepted += len(self.upserts)
            self.upserts = []
        while len(self.ahead) > _BATCHES_AHEAD:
            self.shown += self.ahead.popleft().result()


class Publish(beam.PTransform):
    """The numbers of accepted rows of all keyed tables → nothing: shows the rows of a bounded job, and removes those
    that no job since this one started has written, once all that the history gives is accepted."""

    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.file, self.job = file, job

    def expand(self, accepted: PCollection[int]) -> PCollection[int]:
        written = accepted | "Written" >> windows.AfterHistory(self.job, bounded=self.job.bounded)
        return written | "Show" >> beam.ParDo(_PublishFn(self.file))


class _PublishFn(beam.DoFn):
    def __init__(self, file: str) -> None:
        self.file = file

    def process(self, job: JobRun) -> None:
        metrics.tell(metrics.PUBLISHING)
        database = Database.of(self.file)
        shown: dict[str, int] = database.run(database.publish, job).result()
        tally = metrics.Tally({metrics.WRITTEN.of(name): count for name, count in shown.items()})
        tally.report()
