"""Rows to BigQuery: appended ones as they are, keyed ones as changes for its change data capture.

A row is encoded when it comes; batches are on their way while the next is gathered; a bundle ends when every row is
written or refused. So rows are durable when their bundle ends, and a bundle that is tried again writes its rows again.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue
from msgspec.structs import replace

from pipeline.warehouses import base
from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery import partition_range
from pipeline.warehouses.bigquery.append_stream import ROW_OVERHEAD_BYTES, AppendStream, Delivery
from pipeline.warehouses.bigquery.appends import Appender, SentRows, WriteFailed
from pipeline.warehouses.bigquery.changes import CHANGE_SEQUENCE_NUMBER, CHANGE_TYPE, DELETE, UPSERT, sequence_number
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.gathering import GATHERED_FOR_S, GatherUpserts
from pipeline.warehouses.bigquery.partition_range import partition_time
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from pipeline.warehouses.clock import now_us
from pipeline.warehouses.logged_calls import LoggedCalls, TimedEntry
from schemas.segment import KEPT_OF_TOO_LARGE_BYTES
from schemas.tables import DEAD_LETTERS, IDENTITY_CALLS, DeadLetter, Row, Table
from transforms import metrics, windows
from transforms.core.dead_letters import CUT_FROM, Reason
from transforms.core.reader import Call
from transforms.core.rows import Append, LogEntry, Upsert
from transforms.windows import in_global_window

_BATCHES_AHEAD: Final = 3
"""How many batches of a bundle may be on their way while it gathers the next: memory is bounded."""

_DELIVERY: Final = Delivery()


T = TypeVar("T", Append, TimedEntry, Upsert)
A = TypeVar("A", Append, TimedEntry)


class AppendRows(beam.PTransform):
    """`Append` → `Append` of a dead letter for each row that BigQuery refuses."""

    def __init__(self, dataset: Dataset, table: Table, job: JobRun, delivery: Delivery = _DELIVERY) -> None:
        super().__init__()
        self.fn = AppendFn(dataset, table, job, delivery)

    def expand(self, appends: PCollection[Append]) -> PCollection[Append]:
        return appends | "Append" >> beam.ParDo(self.fn).with_output_types(Append)


class LogCalls(beam.PTransform):
    """`LogEntry` → on `LOGGED` each `Call` whose row BigQuery has accepted in `identity_calls`, with its entry's
    timestamp; on `DEAD_LETTERS` an `Append` of a dead letter for each that it refuses.

    A call is given only after BigQuery's answer, so one that is refused leaves no fact. BigQuery enforces no key: a
    call that is logged again, by a bundle that is tried again for example, is given again.
    """

    def __init__(self, dataset: Dataset, job: JobRun, delivery: Delivery = _DELIVERY) -> None:
        super().__init__()
        self.fn = LogFn(dataset, IDENTITY_CALLS, job, delivery)

    def expand(self, entries: PCollection[LogEntry]) -> dict[str, PCollection]:
        log = beam.ParDo(self.fn).with_output_types(Call, **{base.DEAD_LETTERS: Append})
        outputs = entries | "Log" >> log.with_outputs(base.DEAD_LETTERS, main=base.LOGGED)
        return {name: outputs[name] for name in (base.LOGGED, base.DEAD_LETTERS)}


class UpsertRows(beam.PTransform):
    """`Upsert` → on `ACCEPTED` the number of rows that BigQuery has accepted, once it has; on `DEAD_LETTERS` an
    `Append` of a dead letter for each that it refuses."""

    ACCEPTED = "accepted"
    DEAD_LETTERS = "dead_letters"

    def __init__(
        self,
        dataset: Dataset,
        table: Table,
        job: JobRun,
        delivery: Delivery = _DELIVERY,
        gathered_for_s: float = GATHERED_FOR_S,
    ) -> None:
        super().__init__()
        self.is_bounded = job.bounded
        self.gathered_for_s = gathered_for_s
        self.fn = UpsertFn(dataset, table, job, delivery)

    def expand(self, upserts: PCollection[Upsert]) -> dict[str, PCollection]:
        if not upserts.windowing.is_default():
            upserts = upserts | "Global" >> windows.everything()  # the window in which a bundle's end gives its counts
        if not self.is_bounded:  # a bundle that is tried again must not give other rows for versions that were written
            upserts = upserts | "Stable" >> GatherUpserts(self.gathered_for_s)
        outputs = upserts | "Change" >> beam.ParDo(self.fn).with_outputs(self.DEAD_LETTERS, main=self.ACCEPTED)
        return {name: outputs[name] for name in (self.ACCEPTED, self.DEAD_LETTERS)}


class _WriteFn(metrics.CountingFn, Generic[T]):
    """Encodes and sends; every element ends in one call of `settled` or `refuse`."""

    def __init__(self, dataset: Dataset, table: Table, job: JobRun, delivery: Delivery = _DELIVERY) -> None:
        super().__init__()
        self.dataset, self.table, self.job, self.delivery = dataset, table, job, delivery

    def setup(self) -> None:
        self.encoder = RowEncoder(self.table)
        self.connection = AppendStream.of(self.dataset.path(self.table), self.encoder.descriptor, self.delivery)
        self.appender = Appender(self.connection, self.tally, self.encoder.rewritten)

    def start_bundle(self) -> None:
        self.elements: list[T] = []
        self.rows: list[bytes] = []
        self.bytes = 0
        self.ahead: deque[tuple[list[T], SentRows]] = deque()

    def settled(self, elements: Sequence[T], refused: Mapping[int, str]) -> None:
        """These elements are written, but for those refused, by index."""
        raise NotImplementedError

    def refuse(self, element: T, why: str) -> None:
        """BigQuery cannot hold the row of this element."""
        raise NotImplementedError

    def encode(self, row: Row, **filled: Any) -> bytes:
        """The bytes of a row. Raises _Misfit for one that the table cannot hold."""
        try:
            return self.encoder.encode(row, **filled)
        except (ValueError, TypeError):
            why = self.table.misfit(row)
            if why is None:
                raise
            raise _Misfit(why) from None

    def add(self, element: T, row: bytes) -> None:
        """Sends an element's row with the next batch."""
        size = len(row) + ROW_OVERHEAD_BYTES
        if size > self.delivery.request_bytes:
            self.refuse(element, f"the row of {len(row)} bytes is larger than a request can hold")
            return
        if self.bytes + size > self.connection.largest_request:
            self.send()
        self.elements.append(element)
        self.rows.append(row)
        self.bytes += size
        if self.bytes >= self.delivery.batch_bytes:
            self.send()

    def send(self) -> None:
        """Sends what was gathered, once few enough batches are on their way."""
        if self.rows:
            self.ahead.append((self.elements, self.appender.send(self.rows)))
            self.elements, self.rows, self.bytes = [], [], 0
        while len(self.ahead) > _BATCHES_AHEAD:
            self.settle()

    def settle(self) -> None:
        """Waits until the oldest batch is written."""
        elements, batch = self.ahead.popleft()
        refused = self.appender.settle(batch)
        self.settled(elements, refused)
        for index, why in refused.items():
            self.refuse(elements[index], why)

    def finish_bundle(self) -> Any:
        while self.rows or self.ahead:
            self.send()
            if self.ahead:
                self.settle()
        super().finish_bundle()


class _Misfit(Exception):
    """Why the table cannot hold a row."""


class _AppendingFn(_WriteFn[A]):
    """Writes rows as they are, maybe more than once: the first of a key stands in the views."""

    def start_bundle(self) -> None:
        super().start_bundle()
        self.refused: list[Append] = []
        self.bounds = partition_range.appendable(now_us(), partition_range.CLOCK_DAYS)

    def append(self, element: A) -> Append:
        """The row of an element."""
        raise NotImplementedError

    def write(self, element: A) -> None:
        time = partition_time(self.table, self.append(element).row)
        if time is not None and time not in self.bounds:
            why = partition_range.refusal(time, self.bounds, self.dataset)
            self.refuse(element, why, Reason.OUT_OF_PARTITION_RANGE)
            return
        filled = {} if self.table.written is None else {self.table.written: self.job.written_at(now_us())}
        try:
            row = self.encode(self.append(element).row, **filled)
        except _Misfit as misfit:
            self.refuse(element, str(misfit))
        else:
            self.add(element, row)

    def settled(self, elements: Sequence[A], refused: Mapping[int, str]) -> None:
        self.tally[metrics.WRITTEN.of(self.table.name)] += len(elements) - len(refused)
        outcomes = Counter(self.append(element).outcome for element in elements)
        outcomes.subtract(self.append(elements[index]).outcome for index in refused)
        for outcome, calls in outcomes.items():
            if outcome is not None:
                self.tally[metrics.OUTCOMES.of(outcome)] += calls

    def refuse(self, element: A, why: str, reason: Reason = Reason.INVALID_FIELD) -> None:
        append = self.append(element)
        self.refused.append(append.refused(why, reason))
        if append.outcome is not None:
            self.tally.refused(reason.value)


class AppendFn(_AppendingFn[Append]):
    """Writes the rows of every table but the log."""

    def process(self, append: Append) -> None:
        self.write(append)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        super().finish_bundle()
        for append in self.refused:
            yield in_global_window(append)

    def append(self, element: Append) -> Append:
        return element

    def refuse(self, element: Append, why: str, reason: Reason = Reason.INVALID_FIELD) -> None:
        if self.table == DEAD_LETTERS:
            self.write(Append(_shortened(element.row, why)))
        else:
            super().refuse(element, why, reason)


class LogFn(_AppendingFn[TimedEntry]):
    """Writes the log, and gives its calls."""

    def start_bundle(self) -> None:
        super().start_bundle()
        self.logged = LoggedCalls()

    def process(self, entry: LogEntry, timestamp: Any = beam.DoFn.TimestampParam) -> Sequence[WindowedValue]:
        self.write(TimedEntry(entry, timestamp))
        return self.logged.pop()

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        super().finish_bundle()
        yield from self.logged.pop()
        for append in self.refused:
            yield TaggedOutput(base.DEAD_LETTERS, in_global_window(append))

    def append(self, element: TimedEntry) -> Append:
        return element.entry.append

    def settled(self, elements: Sequence[TimedEntry], refused: Mapping[int, str]) -> None:
        super().settled(elements, refused)
        for index, element in enumerate(elements):
            if index not in refused:
                self.logged.add(element.entry.call, element.timestamp)


def _shortened(letter: Row, why: str) -> DeadLetter:
    """A dead letter that BigQuery accepts in place of one that it refuses: nothing may be lost without a trace."""
    assert isinstance(letter, DeadLetter)
    if len(letter.payload) <= KEPT_OF_TOO_LARGE_BYTES:
        raise WriteFailed(f"BigQuery refuses the dead letter {letter.dead_letter_id}: {why}")
    digest = hashlib.sha256(letter.payload).hexdigest()
    detail = f"{letter.detail}{CUT_FROM}{len(letter.payload)} bytes, SHA-256 {digest}, since {why}"
    return replace(letter, detail=detail, payload=letter.payload[:KEPT_OF_TOO_LARGE_BYTES])


class UpsertFn(_WriteFn[Upsert]):
    """Writes the newest version of keyed rows, and deletes rows; BigQuery keeps the greatest version of each key."""

    def start_bundle(self) -> None:
        super().start_bundle()
        self.accepted = 0
        self.refused: list[Append] = []

    def process(self, upsert: Upsert) -> None:
        change: dict[str, Any] = {CHANGE_SEQUENCE_NUMBER: sequence_number(self.job.generation, upsert.version)}
        try:
            if upsert.row is None:
                key = dict(zip(self.table.key, upsert.key, strict=True))
                row = self.encoder.encode_key(key, **change, **{CHANGE_TYPE: DELETE})
            else:
                if self.table.written is not None:
                    change[self.table.written] = max(now_us(), self.job.generation)
                row = self.encode(upsert.row, **change, **{CHANGE_TYPE: UPSERT})
        except _Misfit as misfit:
            self.refuse(upsert, str(misfit))
        else:
            self.add(upsert, row)

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        super().finish_bundle()
        yield in_global_window(self.accepted)
        for append in self.refused:
            yield TaggedOutput(UpsertRows.DEAD_LETTERS, in_global_window(append))

    def settled(self, elements: Sequence[Upsert], refused: Mapping[int, str]) -> None:
        self.accepted += len(elements) - len(refused)
        rows = sum(upsert.row is not None and index not in refused for index, upsert in enumerate(elements))
        self.tally[metrics.WRITTEN.of(self.table.name)] += rows

    def refuse(self, element: Upsert, why: str) -> None:
        self.refused.append(element.refused(self.table.name, why))
