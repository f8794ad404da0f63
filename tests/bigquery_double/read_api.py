"""google.cloud.bigquery.storage.v1.BigQueryRead: sessions that read a table as it was, in parallel streams of Arrow.

https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#bigqueryread
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import count
from typing import Any

import grpc
from google.cloud.bigquery_storage_v1 import types
from grpc import StatusCode

from tests.bigquery_double.faults import Faults
from tests.bigquery_double.requests import Requests
from tests.bigquery_double.sql import Script
from tests.bigquery_double.status import AWAY, CallEnds, unknown
from tests.bigquery_double.strictness import Strictness
from tests.bigquery_double.tables import Catalog, Refused, Table, TableName

_TABLE = re.compile(r"projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)")

STREAMS = 4
"""How many streams a session has, where the client does not ask for fewer."""
BATCH = 1_000
"""How many rows one answer holds."""

_STATUS = {"notFound": StatusCode.NOT_FOUND, "notImplemented": StatusCode.UNIMPLEMENTED}


@dataclass(eq=False)
class ReadApi:
    """The service."""

    catalog: Catalog
    faults: Faults
    requests: Requests
    strictness: Strictness = field(default_factory=Strictness)
    _streams: dict[str, Any] = field(default_factory=dict)
    _made: dict[str, float] = field(default_factory=dict)
    """When each session was made, by the clock that only goes on."""
    _reads: Counter[str] = field(default_factory=Counter)
    """How often streams of each session were read."""
    _sessions: count[int] = field(default_factory=count)

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "google.cloud.bigquery.storage.v1.BigQueryRead",
            {
                "CreateReadSession": grpc.unary_unary_rpc_method_handler(
                    self._ended(self._create),
                    types.CreateReadSessionRequest.deserialize,
                    types.ReadSession.serialize,
                ),
                "ReadRows": grpc.unary_stream_rpc_method_handler(
                    self._read, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
                ),
                "SplitReadStream": grpc.unary_unary_rpc_method_handler(
                    self._ended(lambda _: types.SplitReadStreamResponse()),
                    types.SplitReadStreamRequest.deserialize,
                    types.SplitReadStreamResponse.serialize,
                ),
            },
        )

    def _ended(self, answer: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                if self.faults.away:
                    raise CallEnds(*AWAY)
                time.sleep(self.strictness.latency_s)
                return answer(request)
            except CallEnds as ending:
                ending.abort(context)

        return handle

    def _create(self, request: Any) -> Any:
        """Raises CallEnds."""
        asked = request.read_session
        if asked.data_format != types.DataFormat.ARROW:
            raise CallEnds(StatusCode.UNIMPLEMENTED, "this double reads in the format ARROW only")
        match = _TABLE.fullmatch(asked.table)
        if match is None:
            raise CallEnds(StatusCode.INVALID_ARGUMENT, f"Invalid table name: {asked.table}")
        name = TableName(match[1], match[2], match[3])
        try:
            with self.catalog.lock:
                table = self.catalog.table(name)
                if asks := self.strictness.unknown("read", name):
                    raise unknown(asks, name, "bigquery.tables.getData")
                _check(table)
                script = Script(self.catalog, name.project)
                options = asked.read_options
                rows = script.snapshot(table, options.selected_fields, options.row_restriction)
        except Refused as refused:
            raise CallEnds(_STATUS.get(refused.reason, StatusCode.INVALID_ARGUMENT), refused.message) from None
        session = f"{request.parent}/locations/us/sessions/{next(self._sessions)}"
        self._made[session] = time.monotonic()
        streams = min(request.max_stream_count or STREAMS, rows.num_rows)
        names = [f"{session}/streams/{number}" for number in range(streams)]
        for number, stream in enumerate(names):
            start, end = (rows.num_rows * part // streams for part in (number, number + 1))
            self._streams[stream] = rows.slice(start, end - start)
        return types.ReadSession(
            name=session,
            table=asked.table,
            data_format=asked.data_format,
            arrow_schema=_arrow_schema(rows),
            streams=[types.ReadStream(name=stream) for stream in names],
            estimated_row_count=rows.num_rows,
            estimated_total_bytes_scanned=rows.nbytes,
        )

    def _read(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.requests.reads.append((request.read_stream, request.offset))
        try:
            yield from self._rows(request.read_stream, request.offset)
        except CallEnds as ending:
            ending.abort(context)

    def _rows(self, stream: str, offset: int) -> Iterator[Any]:
        """The answers from this row on. Raises CallEnds."""
        if self.faults.away:
            raise CallEnds(*AWAY)
        if stream not in self._streams:
            raise CallEnds(StatusCode.NOT_FOUND, f"Not found: stream {stream}")
        time.sleep(self.strictness.latency_s)
        self._check_session(stream)
        rows = self._streams[stream]
        if offset > rows.num_rows:
            raise CallEnds(StatusCode.OUT_OF_RANGE, f"Offset {offset} is beyond the end of the stream")
        breaks = self.faults.next_read()
        first = True
        given = 0
        for batch in rows.slice(offset).combine_chunks().to_batches(BATCH):
            if breaks is not None and given >= breaks:
                break
            response = types.ReadRowsResponse(
                arrow_record_batch=types.ArrowRecordBatch(
                    serialized_record_batch=batch.serialize().to_pybytes(), row_count=batch.num_rows
                ),
                row_count=batch.num_rows,
            )
            if first:
                response.arrow_schema = _arrow_schema(rows)
            yield response
            first = False
            given += batch.num_rows
        if breaks is not None:
            raise CallEnds(StatusCode.UNAVAILABLE, "Connection reset by peer")

    def _check_session(self, stream: str) -> None:
        """Raises CallEnds where the session has expired, in the words of
        https://github.com/GoogleCloudDataproc/spark-bigquery-connector/issues/1316 ."""
        session = stream.partition("/streams/")[0]
        self._reads[session] += 1
        strictness = self.strictness
        is_read_up = strictness.session_reads is not None and self._reads[session] > strictness.session_reads
        if is_read_up or time.monotonic() - self._made[session] > strictness.session_s:
            at = datetime.fromtimestamp(self.catalog.time() // 1_000_000, timezone.utc).isoformat()
            words = f"there was an error operating on '{stream}': session expired at {at}"
            raise CallEnds(StatusCode.FAILED_PRECONDITION, words)


def _arrow_schema(rows: Any) -> Any:
    return types.ArrowSchema(serialized_schema=rows.schema.serialize().to_pybytes())


def _check(table: Table) -> None:
    """Raises Refused for what cannot be read.

    https://cloud.google.com/bigquery/docs/change-data-capture#limitations : a table with pending changes is not read
    by the Storage Read API unless it has a maximum staleness.
    """
    if table.view is not None:
        raise Refused("invalid", f"{table.name} is a view: non-table entities cannot be read with the storage API")
    if table.has_changes and not table.resource.get("maxStaleness"):
        raise Refused("invalid", f"{table.name} has pending changes and no max_staleness: it cannot be read")
