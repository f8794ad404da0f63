"""One connection to a stream of a table, shared by all threads of a process.

Several appends are in flight at once, with a bound on their number and bytes. When a stream breaks, nobody knows which
of them were written: each fails as `Transient`, and its owner sends it again. The next append opens a new stream, so
that BigQuery may close an idle one whenever it likes.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Unanswered
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, ClassVar, Final

import grpc
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient
from google.cloud.bigquery_storage_v1.types import AppendRowsRequest, AppendRowsResponse
from google.protobuf.descriptor_pb2 import DescriptorProto

from pipeline.warehouses.bigquery.answers import AppendError, RequestTooLarge, Transient, end, refusal
from pipeline.warehouses.bigquery.clients import EMULATOR, write_client

_TRACE_ID: Final = "segment-bigquery"
_DEFAULT: Final = "_default"
ROW_OVERHEAD_BYTES: Final = 8
"""What a request holds for each row in addition to its bytes, at most."""
_MOST_STREAMS: Final = 64
"""So many connections to streams other than default ones stay open in a process."""
_REFUSED_ALONE: Final = 10
"""So many rows that are refused one after the other, and none accepted in between, are no trouble of a few rows."""


@dataclass(frozen=True)
class Delivery:
    """How appends are delivered. Sizes are bytes of rows, times are seconds.

    `batch_bytes` is what a bundle gathers before it sends, `request_bytes` the most that a request may hold.
    `answer_s` is how long an answer is waited for; `outage_s` how long an append is tried before its bundle fails, and
    `news_s` how long in the process's life a table or column is looked for that BigQuery does not know yet.
    """

    batch_bytes: int = 2_000_000
    request_bytes: int = 9_000_000
    in_flight_bytes: int = 32_000_000
    in_flight_requests: int = 64
    answer_s: float = 120.0
    outage_s: float = 600.0
    news_s: float = 300.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 30.0


class InFlight:
    """An append on its way: the answer, or why there is none, is in `future`."""

    def __init__(self, rows: Sequence[bytes], offset: int | None = None) -> None:
        self.rows = rows
        self.offset = offset
        self.size = sum(map(len, rows))
        self.future: Future[None] = Future()
        self.deadline = 0.0
        self.stream: _Stream | None = None
        self.opened_stream = False

    def settle(self, error: AppendError | None = None) -> None:
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class AppendStream:
    """Appends rows of the shape `descriptor` to a stream of `table` (`projects/P/datasets/D/tables/T`), by its name:
    the table's default stream where that is None."""

    _open: ClassVar[dict[tuple[Any, ...], AppendStream]] = {}
    _open_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, table: str, descriptor: DescriptorProto, delivery: Delivery, name: str | None = None) -> None:
        self.table = table
        self.client = write_client()
        self.delivery = delivery
        self.made_at = time.monotonic()
        self.in_flight_bytes = 0
        self.largest_request = delivery.request_bytes
        """What a request may hold: less than at first, once BigQuery has refused one as too large."""
        self.refused_alone = 0
        """How many requests of one row were refused since a request was accepted."""
        self._accepted_at = -math.inf
        self._name = name or f"{table}/streams/{_DEFAULT}"
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._in_flight = 0
        self._stream: _Stream | None = None

    @classmethod
    def of(cls, table: str, descriptor: DescriptorProto, delivery: Delivery, name: str | None = None) -> AppendStream:
        """The process's one connection to a stream."""
        key = (os.environ.get(EMULATOR), table, delivery, name)
        with cls._open_lock:
            connection = cls._open.pop(key, None) or cls(table, descriptor, delivery, name)
            cls._open[key] = connection  # the last is the one that was asked for last
            unused = cls._unused()
        if unused is not None:
            unused.close()
        return connection

    @classmethod
    def drop(cls, table: str, delivery: Delivery, name: str) -> None:
        """Closes the connection to a stream that takes no more rows."""
        with cls._open_lock:
            connection = cls._open.pop((os.environ.get(EMULATOR), table, delivery, name), None)
        if connection is not None:
            connection.close()

    @classmethod
    def _unused(cls) -> AppendStream | None:
        """Takes out the connection that was not asked for longest, where there are too many."""
        named = [key for key, connection in cls._open.items() if key[-1] is not None and not connection.is_busy]
        return cls._open.pop(named[0]) if len(named) > _MOST_STREAMS else None

    @classmethod
    def close_all(cls) -> None:
        """Closes every connection of the process; what is in flight fails."""
        with cls._open_lock:
            connections = list(cls._open.values())
            cls._open.clear()
        for connection in connections:
            connection.close()

    @classmethod
    def forget_all(cls) -> None:
        """In a forked process: connections are those of the parent, and are left to it."""
        cls._open, cls._open_lock = {}, threading.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether an append is on its way."""
        return self._in_flight > 0

    @property
    def accepts_rows(self) -> bool:
        """Whether rows were accepted lately, and few were refused alone since: then what is refused is no fault of the
        table or the schema."""
        is_lately = time.monotonic() - self._accepted_at < self.delivery.outage_s
        return is_lately and self.refused_alone < _REFUSED_ALONE

    def send(self, rows: Sequence[bytes], offset: int | None = None, *, alone: bool = False) -> InFlight:
        """Sends an append once there is room for it, for this offset of the stream if there is one; `alone` by a call
        of its own, which no other append can end. Why it could not be sent is raised by `wait`, as an answer is."""
        append = InFlight(rows, offset)
        deadline = time.monotonic() + self.delivery.answer_s
        with self._changed:
            while not self._has_room(append):
                if not self._changed.wait(deadline - time.monotonic()):
                    self._break_off(self._stream)
                    append.settle(self._unanswered())
                    return append
            self._in_flight += 1
            self.in_flight_bytes += append.size
            append.future.add_done_callback(lambda _: self._release(append))
            append.deadline = time.monotonic() + self.delivery.answer_s
            if alone:
                if self._stream is not None:  # makes room, lest there be a connection more
                    self._stream.finish()
                self._opened(append).finish()
            elif self._stream is None or not self._stream.send(append):
                self._stream = self._opened(append)
        return append

    def _opened(self, append: InFlight) -> _Stream:
        """A new stream, with this append on it."""
        append.opened_stream = True
        stream = _Stream(self.client, self._name, self._descriptor)
        if not stream.send(append):
            append.settle(Transient(grpc.StatusCode.UNAVAILABLE, "the stream ended as it began"))
        return stream

    def wait(self, append: InFlight) -> None:
        """Waits for the answer. Raises AppendError where it was not accepted; after `answer_s` breaks the stream
        off."""
        try:
            append.future.result(max(0.0, append.deadline - time.monotonic()))
        except Unanswered:
            self._break_off(append.stream)
            append.future.result(self.delivery.answer_s)

    def shrink(self, too_large: int) -> None:
        """Keeps later requests to half of one that was too large."""
        self.largest_request = min(self.largest_request, max(too_large // 2, 1))

    def close(self) -> None:
        """Breaks the stream off. What is in flight fails."""
        with self._changed:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.break_off(Transient(grpc.StatusCode.CANCELLED, "the connection was closed"))
        self.client.transport.close()

    def _has_room(self, append: InFlight) -> bool:
        if self._in_flight == 0:
            return True
        return (
            self._in_flight < self.delivery.in_flight_requests
            and self.in_flight_bytes + append.size <= self.delivery.in_flight_bytes
        )

    def note_accepted(self) -> None:
        """Notes that the table accepts rows."""
        self._accepted_at, self.refused_alone = time.monotonic(), 0

    def _release(self, append: InFlight) -> None:
        with self._changed:
            if append.future.exception() is None:
                self.note_accepted()
            self._in_flight -= 1
            self.in_flight_bytes -= append.size
            self._changed.notify_all()

    def _unanswered(self) -> Transient:
        words = f"BigQuery has not answered for {self.delivery.answer_s:g} s"
        return Transient(grpc.StatusCode.DEADLINE_EXCEEDED, words)

    def _break_off(self, stream: _Stream | None) -> None:
        if stream is not None:
            stream.break_off(self._unanswered())


atexit.register(AppendStream.close_all)
os.register_at_fork(after_in_child=AppendStream.forget_all)


class _Stream:
    """One call of AppendRows: appends go out one at a time, and are answered in that order."""

    def __init__(self, client: BigQueryWriteClient, name: str, descriptor: DescriptorProto) -> None:
        self._name = name
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._is_over = False
        self._unanswered: deque[InFlight] = deque()
        self._outgoing: SimpleQueue[InFlight | None] = SimpleQueue()
        # The transport's method, since the client's own waits for the first answer and may start the call anew.
        append_rows: Any = client.transport.append_rows
        self._call = append_rows(
            self._requests(),
            metadata=[("x-goog-request-params", f"write_stream={self._name}")],
        )
        threading.Thread(target=self._receive, name=f"answers of {name}", daemon=True).start()

    def send(self, append: InFlight) -> bool:
        """Queues an append; False where the stream has ended."""
        with self._lock:
            if self._is_over:
                return False
            append.stream = self
            self._unanswered.append(append)
            self._outgoing.put(append)
            return True

    def finish(self) -> None:
        """Takes no more appends, and ends when all are answered."""
        self._close_queue()

    def break_off(self, error: AppendError) -> None:
        """Ends the stream: what is in flight fails with this error."""
        self._end(error)
        self._call.cancel()

    def _requests(self) -> Iterator[AppendRowsRequest]:
        """The requests, made as they are sent; only the first says which stream, and how rows are to be read."""
        message = AppendRowsRequest.pb()
        request = message(write_stream=self._name, trace_id=_TRACE_ID)
        request.proto_rows.writer_schema.proto_descriptor.CopyFrom(self._descriptor)
        while (append := self._outgoing.get()) is not None:
            request.proto_rows.rows.serialized_rows.extend(append.rows)
            if append.offset is not None:
                request.offset.value = append.offset
            yield AppendRowsRequest.wrap(request)
            request = message()

    def _receive(self) -> None:
        with suppress(grpc.RpcError):
            for response in self._call:
                self._settle(AppendRowsResponse.pb(response))
        self._end(end(self._call))

    def _settle(self, response: Any) -> None:
        with self._lock:
            append = self._unanswered.popleft() if self._unanswered else None
        if response.HasField("updated_schema"):  # a new stream knows the table as it is now
            self._close_queue()
        if append is not None:
            append.settle(refusal(response))

    def _close_queue(self) -> None:
        with self._lock:
            self._is_over = True
        self._outgoing.put(None)

    def _end(self, error: AppendError) -> None:
        """Fails what is in flight. A stream that ended because one append was too large was ended by the largest."""
        self._close_queue()
        with self._lock:
            unanswered = list(self._unanswered)
            self._unanswered.clear()
        if isinstance(error, RequestTooLarge) and unanswered:
            largest = max(unanswered, key=lambda append: append.size)
            unanswered.remove(largest)
            largest.settle(error)
            error = Transient(grpc.StatusCode.ABORTED, "another append was too large for the stream")
        for append in unanswered:
            append.settle(error)
