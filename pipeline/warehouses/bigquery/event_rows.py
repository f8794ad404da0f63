"""Events as rows of BigQuery's, and what becomes of those that it cannot hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipeline.warehouses.bigquery.append_stream import ROW_OVERHEAD_BYTES, Delivery
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from pipeline.warehouses.bigquery.shards import shard
from schemas.tables import Event, Table
from transforms import metrics
from transforms.core.dead_letters import Reason
from transforms.core.packed_event import PackedEvent, pack, unpack
from transforms.core.rows import Append


def in_shard(append: Append, shards: int) -> tuple[bytes, PackedEvent]:
    """An event under the number of its shard."""
    row = append.row
    assert isinstance(row, Event)
    return shard(row.message_id, shards), pack(append)


class EventRows:
    """Encodes packed events, and counts what became of them into `tally`."""

    def __init__(self, table: Table, delivery: Delivery, tally: metrics.Tally) -> None:
        self.encoder = RowEncoder(table)
        self._table = table
        self._most = delivery.request_bytes
        self._tally = tally

    def encode(self, event: PackedEvent) -> bytes | str:
        """The bytes of an event's row, or why the table cannot hold it."""
        row = unpack(event).row
        try:
            encoded = self.encoder.encode(row)
        except (ValueError, TypeError):
            why = self._table.misfit(row)
            if why is None:
                raise
            return why
        if len(encoded) + ROW_OVERHEAD_BYTES > self._most:
            return f"the row of {len(encoded)} bytes is larger than a request can hold"
        return encoded

    def refused(self, event: PackedEvent, why: str, reason: Reason = Reason.INVALID_FIELD) -> Append:
        """The dead letter of an event."""
        if event.outcome is not None:
            self._tally.refused(reason.value)
        return unpack(event).refused(why, reason)

    def count(self, written: Iterable[PackedEvent]) -> None:
        """Counts events that the table holds."""
        outcomes = Counter(event.outcome for event in written)
        self._tally[metrics.WRITTEN.of(self._table.name)] += sum(outcomes.values())
        for outcome, calls in outcomes.items():
            if outcome is not None:
                self._tally[metrics.OUTCOMES.of(outcome)] += calls
