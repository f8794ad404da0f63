"""Events to BigQuery, each exactly once, in a job that ends: by streams whose rows are in the table once committed.

A bundle appends to a stream of its own and gives the stream's name. A bundle that is tried again makes another: the
name of the first is thrown away with its outcome, and nobody ever commits it. When all bundles are through, the streams
that they gave are committed; to commit one again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

import apache_beam as beam
import grpc
import msgspec
from apache_beam.coders import registry
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.warehouses.bigquery.answers import RequestTooLarge, RowsRefused, StreamUnusable
from pipeline.warehouses.bigquery.append_stream import Delivery
from pipeline.warehouses.bigquery.appends import WriteFailed
from pipeline.warehouses.bigquery.created_streams import CreatedStreams
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.event_rows import EventRows, in_shard
from schemas.tables import Table
from transforms import metrics
from transforms.coders import StructCoder
from transforms.core.packed_event import PackedEvent
from transforms.core.rows import Append
from transforms.windows import in_global_window

_SHARDS: Final = 256
"""So many bundles append at a time at most: of a billion events each has some six gigabytes."""
_COMMITTED_AT_ONCE: Final = 100
"""What BigQuery takes: https://cloud.google.com/bigquery/quotas#write-api-limits"""
_DELIVERY: Final = Delivery()


class PendingStream(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The name of a stream that will be committed."""

    name: str


registry.register_coder(PendingStream, StructCoder)


class AppendPending(beam.PTransform):
    """`Append` of events → `Append` of a dead letter for each row that BigQuery refuses, and its end is that of the
    commit. Every other row is in the table exactly once, whatever a runner does again. For a bounded job."""

    def __init__(self, dataset: Dataset, table: Table, delivery: Delivery = _DELIVERY, shards: int = _SHARDS) -> None:
        super().__init__()
        self.dataset, self.table, self.delivery, self.shards = dataset, table, delivery, shards

    def expand(self, events: PCollection[Append]) -> PCollection[Append]:
        keyed = events | "Shard" >> beam.Map(in_shard, self.shards).with_output_types(tuple[bytes, PackedEvent])
        append = beam.ParDo(_AppendFn(self.dataset, self.table, self.delivery))
        append = append.with_output_types(Append, **{_AppendFn.STREAMS: tuple[bytes, PendingStream]})
        outputs = (
            keyed
            | "Gather" >> beam.GroupByKey()
            | "Append" >> append.with_outputs(_AppendFn.STREAMS, main=_AppendFn.REFUSED)
        )
        committed = (
            outputs[_AppendFn.STREAMS]
            | "GatherStreams" >> beam.GroupByKey()
            | "Commit" >> beam.ParDo(_CommitFn(self.dataset, self.table, self.delivery)).with_output_types(Append)
        )
        return (outputs[_AppendFn.REFUSED], committed) | "Refused" >> beam.Flatten()


class _AppendFn(metrics.CountingFn):
    """Appends what a bundle brings to a stream; gives the stream's name under the one key of all."""

    REFUSED, STREAMS = "refused", "streams"

    def __init__(self, dataset: Dataset, table: Table, delivery: Delivery) -> None:
        super().__init__()
        self.dataset, self.table, self.delivery = dataset, table, delivery

    def setup(self) -> None:
        self.rows = EventRows(self.table, self.delivery, self.tally)
        self.streams = CreatedStreams(self.dataset, self.table, self.rows.encoder, self.delivery, self.tally)

    def start_bundle(self) -> None:
        self.stream: str | None = None
        self.offset = 0
        self.events: list[PackedEvent] = []
        self.encoded: list[bytes] = []
        self.bytes = 0

    def process(self, gathered: tuple[bytes, Iterable[PackedEvent]]) -> Iterator[Append]:
        _, events = gathered
        for event in events:
            row = self.rows.encode(event)
            if isinstance(row, str):
                yield self.rows.refused(event, row)
                continue
            self.events.append(event)
            self.encoded.append(row)
            self.bytes += len(row)
            if self.bytes >= self.delivery.batch_bytes:
                yield from self._send()

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        yield from map(in_global_window, self._send())
        if self.stream is not None:
            held = self.streams.finalize(self.stream)
            if held != self.offset:
                problem = f"the stream {self.stream} holds {held} rows of {self.offset}"
                raise WriteFailed(f"{problem}; the bundle is tried again with another stream")
            yield TaggedOutput(self.STREAMS, in_global_window((b"", PendingStream(self.stream))))
        super().finish_bundle()

    def _send(self) -> Iterator[Append]:
        """Appends what was gathered; gives the dead letters."""
        if self.events and self.stream is None:
            self.stream = self.streams.create_pending()
        while self.events:
            assert self.stream is not None
            count = self.streams.fit(self.encoded)
            events, self.events = self.events[:count], self.events[count:]
            rows, self.encoded = self.encoded[:count], self.encoded[count:]
            refused: Mapping[int, str] = {}
            try:
                self._append(self.stream, rows)
            except RowsRefused as error:
                refused = error.rows
            except RequestTooLarge as error:
                if count == 1:
                    refused = {0: f"the row of {len(rows[0])} bytes: {error.words}"}
            else:
                self.offset += count
                self.rows.count(events)
                continue
            for index, why in refused.items():
                yield self.rows.refused(events[index], why)
            left = [index for index in range(count) if index not in refused]
            self.events = [*(events[index] for index in left), *self.events]
            self.encoded = [*(rows[index] for index in left), *self.encoded]
        self.bytes = 0

    def _append(self, stream: str, rows: list[bytes]) -> None:
        """Raises RowsRefused and RequestTooLarge."""
        try:
            self.streams.append(stream, self.offset, rows)
        except StreamUnusable as error:
            # Nobody else appends to this stream: an append that had no answer has written. The count will tell.
            if error.code is not grpc.StatusCode.ALREADY_EXISTS:
                raise WriteFailed(f"{stream}: {error}; the bundle is tried again with another stream") from error


class _CommitFn(metrics.CountingFn):
    """Commits streams; gives nothing."""

    def __init__(self, dataset: Dataset, table: Table, delivery: Delivery) -> None:
        super().__init__()
        self.dataset, self.table, self.delivery = dataset, table, delivery

    def setup(self) -> None:
        encoder = EventRows(self.table, self.delivery, self.tally).encoder
        self.streams = CreatedStreams(self.dataset, self.table, encoder, self.delivery, self.tally)

    def process(self, gathered: tuple[bytes, Iterable[PendingStream]]) -> None:
        names = iter(sorted(stream.name for stream in gathered[1]))  # the same groups when it is tried again
        while some := list(islice(names, _COMMITTED_AT_ONCE)):
            self.streams.commit(some)
