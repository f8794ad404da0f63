"""Events to BigQuery, each exactly once, in a job without end: `sealed_rows`, for a bounded number of shards.

Rows come one by one, in bundles of one key each, and are gathered for a short time: a row costs one blind write of
state. A timer then seals what was gathered, and another appends it, with one read of the bag and one request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp

from pipeline.warehouses.bigquery import partition_range
from pipeline.warehouses.bigquery.append_stream import Delivery
from pipeline.warehouses.bigquery.created_streams import CreatedStreams
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.event_rows import EventRows, in_shard
from pipeline.warehouses.bigquery.sealed_rows import Flushed, Position, Streams, flush
from pipeline.warehouses.clock import now_us
from schemas.tables import EVENTS, Table, Timestamp
from transforms import metrics
from transforms.coders import StructCoder
from transforms.core.dead_letters import Reason
from transforms.core.packed_event import PackedEvent
from transforms.core.rows import Append

GATHERED_FOR_S: Final = 2.0
"""How long a shard gathers rows: with one shard for 300 rows a second, some 600 rows and a megabyte."""

_DELIVERY: Final = Delivery()

_POSITION: Final = BagStateSpec("position", StructCoder(Position))
_ROWS: Final = (BagStateSpec("rows_0", StructCoder(PackedEvent)), BagStateSpec("rows_1", StructCoder(PackedEvent)))
_RECEIVED_AT: Final = [column.name for column in EVENTS.columns].index("received_at")
_FLUSH: Final = TimerSpec("flush", TimeDomain.REAL_TIME)


class AppendEvents(beam.PTransform):
    """`Append` of events → `Append` of a dead letter for each row that BigQuery refuses. Every other row is in the
    table exactly once, whatever a runner does again."""

    def __init__(
        self,
        dataset: Dataset,
        table: Table,
        shards: int,
        delivery: Delivery = _DELIVERY,
        gathered_for_s: float = GATHERED_FOR_S,
    ) -> None:
        super().__init__()
        self.shards = shards
        self.fn = AppendEventsFn(dataset, table, delivery, gathered_for_s)

    def expand(self, events: PCollection[Append]) -> PCollection[Append]:
        keyed = events | "Shard" >> beam.Map(in_shard, self.shards).with_output_types(tuple[bytes, PackedEvent])
        return keyed | "Append" >> beam.ParDo(self.fn).with_output_types(Append)


class AppendEventsFn(metrics.CountingFn):
    """Gathers, seals and appends the rows of a shard."""

    def __init__(self, dataset: Dataset, table: Table, delivery: Delivery, gathered_for_s: float) -> None:
        super().__init__()
        self.dataset, self.table, self.delivery = dataset, table, delivery
        self.gathered_for_us = int(gathered_for_s * 1e6)

    def setup(self) -> None:
        self.rows = EventRows(self.table, self.delivery, self.tally)
        self.streams: Streams = CreatedStreams(self.dataset, self.table, self.rows.encoder, self.delivery, self.tally)

    def start_bundle(self) -> None:
        self.positions: dict[bytes, Position] = {}
        self.bounds = partition_range.appendable(now_us(), partition_range.WAIT_DAYS)
        self.moved: set[bytes] = set()
        """The shards whose timer has fired in this bundle: what it sealed and the stream it made are not committed."""

    def process(
        self,
        keyed: tuple[bytes, PackedEvent],
        position: Any = beam.DoFn.StateParam(_POSITION),  # noqa: B008
        rows_0: Any = beam.DoFn.StateParam(_ROWS[0]),  # noqa: B008
        rows_1: Any = beam.DoFn.StateParam(_ROWS[1]),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(_FLUSH),  # noqa: B008
    ) -> Iterator[Append]:
        shard, event = keyed
        row = self.rows.encode(event)
        if isinstance(row, str):
            yield self.rows.refused(event, row)
            return
        received_at = Timestamp(event.columns[_RECEIVED_AT])
        if received_at not in self.bounds:
            why = partition_range.refusal(received_at, self.bounds, self.dataset)
            yield self.rows.refused(event, why, Reason.OUT_OF_PARTITION_RANGE)
            return
        before = self.positions.get(shard) or _read(position)
        after = before.having_received()
        if after is not before:
            _write(position, after)
            if not after.sealed:
                timer.set(self._after(self.gathered_for_us))
        self.positions[shard] = after
        (rows_0, rows_1)[after.open].add(event)

    @on_timer(_FLUSH)
    def flush(
        self,
        shard: Any = beam.DoFn.KeyParam,
        position: Any = beam.DoFn.StateParam(_POSITION),  # noqa: B008
        rows_0: Any = beam.DoFn.StateParam(_ROWS[0]),  # noqa: B008
        rows_1: Any = beam.DoFn.StateParam(_ROWS[1]),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(_FLUSH),  # noqa: B008
    ) -> Iterator[Append]:
        if shard in self.moved:
            timer.set(self._after(0))
            return
        self.moved.add(shard)
        before = self.positions.get(shard) or _read(position)
        if before.sealed:
            after, letters = self._append(before, (rows_0, rows_1)[1 - before.open])
            yield from letters
        else:
            after = self._seal(before) if before.waiting else before
        if after.sealed:
            timer.set(self._after(0))
        elif after.waiting:
            timer.set(self._after(self.gathered_for_us))
        if after != before:
            _write(position, after)
        self.positions[shard] = after

    def _seal(self, position: Position) -> Position:
        if position.stream is None:
            position = position.having_stream(self.streams.create())
        return position.having_sealed()

    def _append(self, position: Position, bag: Any) -> tuple[Position, list[Append]]:
        """Appends the rows of the sealed bag; returns the new position, and the dead letters."""
        events = sorted(bag.read(), key=_order)
        encoded = [self.rows.encode(event) for event in events]
        unfit = {index: row for index, row in enumerate(encoded) if isinstance(row, str)}
        rows = [b"" if isinstance(row, str) else row for row in encoded]
        flushed = flush(position, rows, self.streams, unfit)
        if position.stream is not None and flushed.position.stream is None:
            self.tally[metrics.LEFT_STREAMS.of(self.table.name)] += 1
        self.rows.count(events[index] for index in flushed.written)
        letters = [self.rows.refused(events[index], why) for index, why in flushed.refused.items()]
        left = _left(events, flushed)
        if not left:
            bag.clear()
            return flushed.position.having_emptied(), letters
        if flushed.refused:  # the bag is made anew without them
            bag.clear()
            for event in left:
                bag.add(event)
            return flushed.position.having_left(0), letters
        return flushed.position, letters

    @staticmethod
    def _after(pause_us: int) -> BeamTimestamp:
        return BeamTimestamp(micros=now_us() + pause_us)


def _read(cell: Any) -> Position:
    return next(iter(cell.read()), Position())


def _write(cell: Any, position: Position) -> None:
    cell.clear()
    cell.add(position)


def _order(event: PackedEvent) -> tuple[str, bytes]:
    """The order of sealed rows: by `message_id`, the first column."""
    return event.columns[0], event.message


def _left(events: Sequence[PackedEvent], flushed: Flushed) -> list[PackedEvent]:
    """The sealed rows that are to be appended yet."""
    indexes = range(flushed.position.settled, len(events))
    return [events[index] for index in indexes if index not in flushed.refused]
