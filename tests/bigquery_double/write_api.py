"""google.cloud.bigquery.storage.v1.BigQueryWrite: appends, and change data capture by default streams.

https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#bigquerywrite
https://cloud.google.com/bigquery/docs/change-data-capture
"""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NamedTuple

import grpc
from google.cloud.bigquery_storage_v1 import types
from grpc import StatusCode

from tests.bigquery_double.faults import Fault, Faults
from tests.bigquery_double.requests import Append, Requests
from tests.bigquery_double.schema import Decoder, Field, RowRefused, SchemaError
from tests.bigquery_double.status import AWAY, CallEnds, StorageErrorCode, unknown
from tests.bigquery_double.strictness import ENFORCED_REQUEST, RowErrors, Strictness
from tests.bigquery_double.tables import Catalog, Refused, Row, Table, TableName, sequence_number
from tests.bigquery_double.write_streams import Stream, WriteStreams

_CODES = {code.value[0]: code.name for code in StatusCode}
_STREAM = re.compile(r"projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)(?:(?:/streams)?/([^/]+))?")
_ROWS_REFUSED = (
    "Errors found while processing rows. Please refer to the row_errors field for details. "
    "The list may not be complete because of the size limitations."
)


def storage_schema(fields: Sequence[Field]) -> types.TableSchema:
    """The columns as the Storage API describes them."""
    return types.TableSchema(
        fields=[
            types.TableFieldSchema(
                name=each.name,
                type_="DOUBLE" if each.type == "FLOAT64" else each.type,
                mode=each.mode,
                description=each.description or "",
                fields=storage_schema(each.fields).fields,
            )
            for each in fields
        ]
    )


class Arrived(NamedTuple):
    """A request, and when it came in."""

    request: bytes
    at: float


@dataclass(eq=False)
class Connection:
    """One AppendRows call. What stands in its first request goes for those that follow, until one says otherwise."""

    number: int
    queue: SimpleQueue[Arrived | CallEnds | None] = field(default_factory=SimpleQueue)
    """The requests that came in, None at their end; or why the call ends before that."""
    killed: CallEnds | None = None
    """Ends the call before anything else is answered."""
    kill: threading.Event = field(default_factory=threading.Event)
    stream: str = ""
    table: Table | None = None
    schema: Any = None
    decoder: Decoder | None = None
    columns: int = 0
    changes: bool | None = None
    schema_revision: int = 0

    def end(self, code: StatusCode, message: str, *, at_once: bool) -> None:
        """Ends the call: `at_once`, leaving unanswered what came in, or after that is answered."""
        ending = CallEnds(code, message)
        if at_once:
            self.killed = ending
            self.kill.set()
        self.queue.put(ending)


@dataclass(eq=False)
class WriteApi:
    """The service. `request_limit` is in bytes; at most `named_row_errors` bad rows are named in one answer."""

    catalog: Catalog
    faults: Faults
    requests: Requests
    request_limit: int = ENFORCED_REQUEST
    named_row_errors: int | None = None
    strictness: Strictness = field(default_factory=Strictness)
    connections: set[Connection] = field(default_factory=set)
    streams: WriteStreams = field(init=False)

    def __post_init__(self) -> None:
        self.streams = WriteStreams(self.catalog, self.faults, self.strictness, self._find_table)

    def end_connections(self, code: StatusCode, message: str, *, at_once: bool) -> None:
        for connection in list(self.connections):
            connection.end(code, message, at_once=at_once)

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "google.cloud.bigquery.storage.v1.BigQueryWrite",
            {
                "AppendRows": grpc.stream_stream_rpc_method_handler(self._append_rows),
                "GetWriteStream": grpc.unary_unary_rpc_method_handler(
                    self._get_write_stream,
                    types.GetWriteStreamRequest.deserialize,
                    types.WriteStream.serialize,
                ),
                **self.streams.handlers(),
            },
        )

    def _get_write_stream(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            if self.faults.away:
                raise CallEnds(*AWAY)
            with self.catalog.lock:
                table = self._find(request.name)
                stream = types.WriteStream(
                    name=request.name,
                    type_=types.WriteStream.Type.COMMITTED,
                    location=self.catalog.dataset(table.name.project, table.name.dataset)["location"],
                )
                if request.view == types.WriteStreamView.FULL:
                    stream.table_schema = storage_schema(table.fields)
                return stream
        except CallEnds as ending:
            ending.abort(context)

    def _append_rows(self, incoming: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        connection = Connection(self.requests.connected())
        self.connections.add(connection)
        threading.Thread(target=self._receive, args=(incoming, connection), daemon=True).start()
        try:
            self._check_connections()
            while (arrived := connection.queue.get()) is not None:
                if connection.killed:
                    raise connection.killed
                if isinstance(arrived, CallEnds):
                    raise arrived
                answer = self._answer(connection, arrived.request)
                early = arrived.at + self.strictness.latency_s - time.monotonic()
                if early > 0 and connection.kill.wait(early) and connection.killed:
                    raise connection.killed
                yield answer
        except CallEnds as ending:
            ending.abort(context)
        except Exception:  # which clients would take for an error that passes
            CallEnds(StatusCode.UNIMPLEMENTED, f"this double failed: {traceback.format_exc()}").abort(context)
        finally:
            self.connections.discard(connection)
            self.requests.disconnected()

    def _check_connections(self) -> None:
        """Raises CallEnds for a connection too many: https://cloud.google.com/bigquery/quotas#write-api-limits ."""
        most = self.strictness.connections
        if most is not None and self.requests.open > most:
            raise CallEnds(StatusCode.RESOURCE_EXHAUSTED, "Exceeds 'AppendRows concurrent connections' quota.")

    @staticmethod
    def _receive(incoming: Iterator[bytes], connection: Connection) -> None:
        try:
            for raw in incoming:
                connection.queue.put(Arrived(raw, time.monotonic()))
        except Exception:  # grpc raises a bare Exception when the client is gone
            pass
        finally:
            connection.queue.put(None)

    def _answer(self, connection: Connection, raw: bytes) -> bytes:
        """The answer to one request. Raises CallEnds."""
        request = types.AppendRowsRequest.pb().FromString(raw)
        outcome = StatusCode.OK.name
        try:
            if self.faults.away:
                raise CallEnds(*AWAY)
            if len(raw) > self.request_limit:
                raise CallEnds(
                    StatusCode.INVALID_ARGUMENT,
                    f"AppendRows request too large: {len(raw)} limit {self.request_limit}",
                )
            self._open(connection, request)
            assert connection.table is not None
            fault = self.faults.next(connection.table.name.table)
            response = self._struck(connection, request, fault) if fault else self._write(connection, request)
            if response.error.code:
                outcome = _CODES[response.error.code]
            return response.SerializeToString()
        except CallEnds as ending:
            outcome = ending.code.name
            raise
        finally:
            table = connection.table.name.table if connection.table else connection.stream
            rows = len(request.proto_rows.rows.serialized_rows)
            self.requests.appends.append(Append(table, rows, len(raw), connection.number, outcome))

    def _struck(self, connection: Connection, request: Any, fault: Fault) -> Any:
        """Raises CallEnds."""
        response = self._write(connection, request) if fault.written else types.AppendRowsResponse.pb()()
        if fault.delay and connection.kill.wait(fault.delay) and connection.killed:
            raise connection.killed
        if fault.code is None:
            return response
        if not fault.answered:
            raise CallEnds(fault.code, fault.message)
        refusal = types.AppendRowsResponse.pb()(write_stream=connection.stream)
        refusal.error.code, refusal.error.message = fault.code.value[0], fault.message
        return refusal

    def _open(self, connection: Connection, request: Any) -> None:
        """Takes the stream and the writer schema where the request has them. Raises CallEnds."""
        if request.HasField("arrow_rows"):
            raise CallEnds(StatusCode.UNIMPLEMENTED, "this double takes protobuf rows only")
        moved = bool(request.write_stream) and request.write_stream != connection.stream
        if moved:
            connection.stream, connection.table, connection.decoder = request.write_stream, None, None
        if not connection.stream:
            raise CallEnds(StatusCode.INVALID_ARGUMENT, "Cannot find stream: the first request has no write_stream")
        with self.catalog.lock:
            connection.table = table = self._find(connection.stream)
            made = self._made(connection)
            if made is None and request.HasField("offset"):
                raise CallEnds(StatusCode.INVALID_ARGUMENT, "Offset cannot be specified for the default stream")
            described = request.proto_rows.HasField("writer_schema")
            if not described and connection.decoder is None:
                raise CallEnds(
                    StatusCode.INVALID_ARGUMENT,
                    "Invalid writer schema: it must be in the first request to a stream.",
                    entity=connection.stream,
                )
            if described:
                connection.schema = request.proto_rows.writer_schema.proto_descriptor
                connection.schema_revision = table.schema_revision
            if described or len(table.fields) != connection.columns:
                self._describe(connection, table)

    def _describe(self, connection: Connection, table: Table) -> None:
        """Raises CallEnds."""
        try:
            exact = self.strictness.exact_numbers
            connection.decoder = decoder = Decoder(connection.schema, table.fields, exact_numbers=exact)
        except SchemaError as error:
            extra = StorageErrorCode.SCHEMA_MISMATCH_EXTRA_FIELDS if error.extra_fields else None
            raise CallEnds(StatusCode.INVALID_ARGUMENT, str(error), extra, connection.stream) from None
        connection.columns = len(table.fields)
        if decoder.changes and not table.key:
            raise CallEnds(
                StatusCode.INVALID_ARGUMENT,
                f"_CHANGE_TYPE needs a primary key, which table {table.name} does not have.",
                entity=connection.stream,
            )
        if decoder.changes and self._made(connection) is not None:
            words = "_CHANGE_TYPE is supported for the default stream only."
            raise CallEnds(StatusCode.INVALID_ARGUMENT, words, entity=connection.stream)
        if connection.changes not in (None, decoder.changes):
            raise CallEnds(
                StatusCode.INVALID_ARGUMENT,
                "Rows with and without _CHANGE_TYPE cannot be mixed on one connection.",
                entity=connection.stream,
            )
        connection.changes = decoder.changes

    def _made(self, connection: Connection) -> Stream | None:
        """The stream that an application has made, None for a default stream. Raises CallEnds."""
        is_default = connection.stream.endswith("/_default")
        return None if is_default else self.streams.named(connection.stream)

    def _find(self, stream: str) -> Table:
        """The table of a stream. Raises CallEnds."""
        table = self._find_table(stream)
        if not stream.endswith("/_default"):
            self.streams.named(stream)
        return table

    def _find_table(self, stream: str) -> Table:
        """The table of a stream, or that of this name. Raises CallEnds."""
        match = _STREAM.fullmatch(stream)
        if match is None:
            raise CallEnds(
                StatusCode.INVALID_ARGUMENT,
                "Invalid stream name.",
                StorageErrorCode.STREAM_NOT_FOUND,
                stream,
            )
        try:
            table = self.catalog.table(TableName(match[1], match[2], match[3]))
        except Refused as refused:
            raise CallEnds(StatusCode.NOT_FOUND, refused.message, StorageErrorCode.TABLE_NOT_FOUND, stream) from None
        if asks := self.strictness.unknown("write", table.name):
            raise unknown(asks, table.name, "TABLES_UPDATE_DATA")
        if table.view is not None:
            raise CallEnds(StatusCode.INVALID_ARGUMENT, f"{table.name} is a view: it cannot be written.", entity=stream)
        return table

    def _write(self, connection: Connection, request: Any) -> Any:
        """Writes every row of the request, or none, and names those that cannot be written."""
        table, decoder = connection.table, connection.decoder
        assert table is not None
        assert decoder is not None
        response = types.AppendRowsResponse.pb()(write_stream=connection.stream)
        made = self._made(connection)
        offset = request.offset.value if request.HasField("offset") else None
        if made is not None and (refusal := made.refusal(offset)):
            return _stream_refusal(refusal)
        now = self.catalog.time()
        rows: list[Row] = []
        changes: list[tuple[str, tuple[int, ...], Row]] = []
        refused: list[tuple[int, str]] = []
        for index, serialized in enumerate(request.proto_rows.rows.serialized_rows):
            try:
                row, pseudo = decoder.row(serialized)
                table.check_partition(row, now)
                self._check_texts(table, row)
                if decoder.changes:
                    changes.append((_change_type(pseudo[0]), sequence_number(pseudo[1]), row))
                else:
                    rows.append(row)
            except RowRefused as reason:
                refused.append((index, str(reason)))
        if refused:
            return self._refusal(connection, refused)
        with self.catalog.lock:
            if decoder.changes:
                table.change(changes)
            elif made is None:
                table.append(rows)
            elif refusal := made.refusal(offset):  # another connection was faster
                return _stream_refusal(refusal)
            else:
                response.append_result.offset.value = made.append(rows)
            if table.schema_revision != connection.schema_revision:
                connection.schema_revision = table.schema_revision
                response.updated_schema.CopyFrom(types.TableSchema.pb(storage_schema(table.fields)))
        response.append_result.SetInParent()
        return response

    def _check_texts(self, table: Table, row: Row) -> None:
        """Raises RowRefused."""
        unwanted = self.strictness.unwanted
        for each, value in zip(table.fields, row, strict=False) if unwanted else ():
            if isinstance(value, str) and unwanted and unwanted in value:
                raise RowRefused(f"Field {each.name}: the text is not wanted")

    def _refusal(self, connection: Connection, refused: Sequence[tuple[int, str]]) -> Any:
        """The answer to a request with bad rows, by index and with what is wrong with each. Raises CallEnds."""
        response = types.AppendRowsResponse.pb()(write_stream=connection.stream)
        response.error.code = StatusCode.INVALID_ARGUMENT.value[0]
        if self.strictness.row_errors is RowErrors.NAMED:
            response.error.message = f"{_ROWS_REFUSED} Entity: {connection.stream}"
            for index, message in refused[: self.named_row_errors]:
                response.row_errors.add(index=index, code=types.RowError.RowErrorCode.FIELDS_ERROR, message=message)
            return response
        _, first = refused[0]
        if self.strictness.row_errors is RowErrors.END:
            raise CallEnds(StatusCode.INVALID_ARGUMENT, first, entity=connection.stream)
        response.error.message = f"{first} Entity: {connection.stream}"
        return response


def _stream_refusal(refusal: CallEnds) -> Any:
    """The answer to an append at an offset where the stream takes none. Raises CallEnds for what is no offset's
    fault."""
    if refusal.storage_error not in (StorageErrorCode.OFFSET_ALREADY_EXISTS, StorageErrorCode.OFFSET_OUT_OF_RANGE):
        raise refusal
    response = types.AppendRowsResponse.pb()(write_stream=refusal.entity)
    response.error.CopyFrom(refusal.status())
    return response


def _change_type(value: str | None) -> str:
    """`UPSERT` or `DELETE`. Raises RowRefused."""
    if value not in ("UPSERT", "DELETE"):
        raise RowRefused(f"_CHANGE_TYPE: {value!r} is neither UPSERT nor DELETE")
    return value
