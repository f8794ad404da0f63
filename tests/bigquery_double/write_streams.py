"""Streams that an application makes: of the types COMMITTED and PENDING, with offsets.

https://cloud.google.com/bigquery/docs/write-api#application-created_streams
https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#google.cloud.bigquery.storage.v1.AppendRowsRequest
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import count
from typing import Any

import grpc
from google.cloud.bigquery_storage_v1 import types
from grpc import StatusCode

from tests.bigquery_double.faults import Faults
from tests.bigquery_double.status import AWAY, CallEnds, StorageErrorCode
from tests.bigquery_double.strictness import Strictness
from tests.bigquery_double.tables import Catalog, Row, Table

COMMITTED, PENDING = types.WriteStream.Type.COMMITTED, types.WriteStream.Type.PENDING
MOST_COMMITTED = 100
"""So many streams go into one BatchCommitWriteStreams:
https://cloud.google.com/bigquery/quotas#write-api-limits"""


@dataclass(eq=False)
class Stream:
    """A stream of a table. Rows of a PENDING one are in the table once it is committed."""

    name: str
    table: Table
    type: int
    length: int = 0
    finalized: bool = False
    committed: bool = False
    _pending: list[Row] = field(default_factory=list)

    def refusal(self, offset: int | None) -> CallEnds | None:
        """Why rows cannot be appended at this offset. Errors of offsets stand in an answer, others end the call."""
        if self.finalized:
            return self._error(StatusCode.INVALID_ARGUMENT, "Stream has been finalized.", "STREAM_FINALIZED")
        expected = f"expected offset {self.length}, received {offset}"
        if offset is not None and offset < self.length:
            words = f"The offset is within stream, {expected}"
            return self._error(StatusCode.ALREADY_EXISTS, words, "OFFSET_ALREADY_EXISTS")
        if offset is not None and offset > self.length:
            words = f"The offset is beyond stream, {expected}"
            return self._error(StatusCode.OUT_OF_RANGE, words, "OFFSET_OUT_OF_RANGE")
        return None

    def append(self, rows: list[Row]) -> int:
        """Returns the offset of the first of these rows."""
        offset, self.length = self.length, self.length + len(rows)
        if self.type == COMMITTED:
            self.table.append(rows)
        else:
            self._pending += rows
        return offset

    def uncommittable(self) -> str | None:
        """The name of the storage error for which the stream cannot be committed."""
        if self.type != PENDING:
            return "INVALID_STREAM_TYPE"
        if self.committed:
            return "STREAM_ALREADY_COMMITTED"
        return None if self.finalized else "INVALID_STREAM_STATE"

    def commit(self) -> None:
        self.committed = True
        self.table.append(self._pending)
        self._pending = []

    def _error(self, code: StatusCode, message: str, error: str) -> CallEnds:
        return CallEnds(code, message, getattr(StorageErrorCode, error), self.name)


@dataclass(eq=False)
class WriteStreams:
    """The streams that there are, and the calls about them. `find` gives the table of a resource name, and raises
    CallEnds."""

    catalog: Catalog
    faults: Faults
    strictness: Strictness
    find: Callable[[str], Table]
    calls: Counter[str] = field(default_factory=Counter)
    """How often each method was called."""
    _streams: dict[str, Stream] = field(default_factory=dict)
    _unanswered: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=count)

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        return {
            "CreateWriteStream": self._handler(self._create, types.CreateWriteStreamRequest, types.WriteStream),
            "FinalizeWriteStream": self._handler(
                self._finalize, types.FinalizeWriteStreamRequest, types.FinalizeWriteStreamResponse
            ),
            "BatchCommitWriteStreams": self._handler(
                self._commit, types.BatchCommitWriteStreamsRequest, types.BatchCommitWriteStreamsResponse
            ),
        }

    def leave_unanswered(self, method: str, times: int = 1) -> None:
        """Has the next calls of a method do what they do, and then end as UNAVAILABLE."""
        self._unanswered[method] += times

    def forget(self) -> None:
        """Forgets every stream, as BigQuery does with those that nobody has used for days."""
        with self.catalog.lock:
            self._streams.clear()

    def named(self, name: str) -> Stream:
        """Raises CallEnds."""
        stream = self._streams.get(name)
        if stream is None:
            words = "Requested entity was not found."
            raise CallEnds(StatusCode.NOT_FOUND, words, StorageErrorCode.STREAM_NOT_FOUND, name)
        return stream

    def of(self, table: str) -> list[Stream]:
        """The streams of a table by its name without the dataset, oldest first."""
        return [stream for stream in self._streams.values() if stream.table.name.table == table]

    def _handler(self, answer: Callable[[Any], Any], request: Any, response: Any) -> grpc.RpcMethodHandler:
        method = request.__name__.removesuffix("Request")

        def handle(asked: Any, context: grpc.ServicerContext) -> Any:
            try:
                if self.faults.away:
                    raise CallEnds(*AWAY)
                time.sleep(self.strictness.latency_s)
                with self.catalog.lock:
                    self.calls[method] += 1
                    answered = answer(asked)
                    if self._unanswered[method]:
                        self._unanswered[method] -= 1
                        raise CallEnds(*AWAY)
                    return answered
            except CallEnds as ending:
                ending.abort(context)

        handler: grpc.RpcMethodHandler = grpc.unary_unary_rpc_method_handler(
            handle, request.deserialize, response.serialize
        )
        return handler

    def _create(self, request: Any) -> Any:
        type_ = request.write_stream.type_
        if type_ not in (COMMITTED, PENDING):
            raise CallEnds(StatusCode.INVALID_ARGUMENT, f"this double makes no stream of type {type_}")
        table = self.find(request.parent)
        name = f"{request.parent}/streams/made-{next(self._numbers)}"
        self._streams[name] = Stream(name, table, type_)
        return types.WriteStream(name=name, type_=type_)

    def _finalize(self, request: Any) -> Any:
        if request.name.endswith("/_default"):
            raise CallEnds(StatusCode.INVALID_ARGUMENT, "Finalize is not supported on the default stream.")
        stream = self.named(request.name)
        stream.finalized = True
        return types.FinalizeWriteStreamResponse(row_count=stream.length)

    def _commit(self, request: Any) -> Any:
        """Commits all of the streams, or none."""
        names = list(request.write_streams)
        if len(names) > MOST_COMMITTED:
            raise CallEnds(StatusCode.INVALID_ARGUMENT, f"{len(names)} streams are more than {MOST_COMMITTED}")
        errors = list(self._commit_errors(request.parent, names))
        if errors:
            return types.BatchCommitWriteStreamsResponse(stream_errors=errors)
        for name in names:
            self._streams[name].commit()
        return types.BatchCommitWriteStreamsResponse(commit_time=datetime.now(timezone.utc))

    def _commit_errors(self, parent: str, names: Iterable[str]) -> Iterator[Any]:
        for name in names:
            stream = self._streams.get(name)
            known = stream if stream is not None and name.startswith(f"{parent}/") else None
            error = "STREAM_NOT_FOUND" if known is None else known.uncommittable()
            if error is not None:
                yield types.StorageError(code=getattr(StorageErrorCode, error), entity=name, error_message=error)
