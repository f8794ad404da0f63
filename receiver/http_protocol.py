"""One connection of a client: uvicorn's protocol, with bounds for heads and for idle connections, and a shorter way for
a request that came whole.

uvicorn asks the application as soon as it has the head of a request, in a task, with coroutines for the body and for
the answer: that is ASGI. Nearly every request of Segment's clients comes whole, its body with its head. Of such a one
the application is asked when all is there, and needs no task to answer, which takes two thirds of the time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Final, Protocol, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from receiver.asgi import (
    FAULT,
    SUCCESS,
    Answer,
    Headers,
    ReceiveEvent,
    Request,
    Scope,
    SendEvent,
    fields_of,
    headers_of,
)

_LOG: Final = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 10_000
_HEAD_SECONDS: Final = 20.0
_HEAD_BYTES: Final = 65_536
_HEAD_FIELDS: Final = 200
_STATUS_LINE: Final = b"HTTP/1.1 "
_LENGTH: Final = b"\r\ncontent-length: "
_CONTENT_LENGTH: Final = b"content-length"
_END_OF_HEAD: Final = b"\r\n\r\n"
_ENDLESS: Final = "/debugger"
"""Answers below this path go on until their reader goes away."""

NO_REQUEST: Final = Answer(status=400, body=b'{"success":false,"message":"no HTTP request"}', is_last=True)
TOO_LARGE: Final = Answer(
    status=431, body=b'{"success":false,"message":"the head of the request is too large"}', is_last=True
)


class Served(Protocol):
    """An ASGI application with a beginning and an end; `is_stopping` is set before the end."""

    is_stopping: bool

    async def start(self) -> None:
        """Raises Unavailable where it cannot answer anything."""

    async def close(self) -> None:
        """Called when no request is in flight."""

    async def __call__(self, scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
        """Answers a request."""

    def answer_whole(self, request: Request, body: bytes, send: Callable[[Answer], None]) -> bool:
        """Answers a request that came whole: calls `send` once, in a later turn of the event loop. Returns False, with
        nothing done, where it has to be called by ASGI."""


class _HeadTooLarge(Exception):
    """The head of a request has too many fields or bytes."""


class _JoinedTransport:
    """Writes the head of an answer together with its body, which is one system call instead of two. A head that tells
    no length is written at once: its body comes when it will."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(_STATUS_LINE) and data.endswith(_END_OF_HEAD) and _LENGTH in data:
            self._head = data
            return
        self._transport.write(self._head + data if self._head else data)
        self._head = b""

    def flush(self) -> None:
        """Writes a head that has no body."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _WholeRequest:
    """Stands where uvicorn has its cycle, from the request to the answer, for a request that came whole."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    def __init__(self, *, keep_alive: bool) -> None:
        self.disconnected = False
        self.keep_alive = keep_alive
        self.response_complete = False

    @property
    def message_event(self) -> _WholeRequest:
        return self

    def set(self) -> None:
        """Nobody waits for more of it."""


class HttpProtocol(HttpToolsProtocol):
    """One connection. The head of a request must come within 20 s, and have 64 kB and 200 fields at most. Of more than
    `most_connections` an idle one is closed for each that comes."""

    most_connections: ClassVar = MOST_CONNECTIONS
    _success: ClassVar[tuple[list[tuple[bytes, bytes]], bytes]] = ([], b"")
    """The headers that uvicorn gives to every answer, which it makes anew each second, and SUCCESS with them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._application = cast(Served, self.config.app)
        self._timer: asyncio.TimerHandle | None = None
        self._closes_at: float | None = None
        """When the connection is closed if nothing happens; None while a request is being answered."""
        self._head: Headers = {}
        """The headers of the last request."""
        self._is_head_due = False
        self._head_bytes = 0
        """What has come since the last request; more than its head where its body came with it."""
        self._is_in_body = False
        self._held: bytes | None = None
        """What has come of the body of a request that the application was not asked yet; None where there is none."""
        super().connection_made(transport)
        self._joined = _JoinedTransport(transport)
        self.transport = cast(asyncio.Transport, self._joined)
        self._await_head()
        if len(self.connections) > self.most_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        is_head = self.is_idle and not self._is_in_body
        if is_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._held is not None:
            self._ask_by_asgi(self._held)
        is_incomplete = is_head or self._is_in_body  # the head, or a body that was refused
        if is_incomplete and self.is_idle and not self.transport.is_closing():
            if is_head and self._head_bytes > _HEAD_BYTES:
                self.send_400_response("")
            elif not self._is_head_due:
                self._await_head()

    # ---- what the parser calls ----

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._end_head()
        if len(self.headers) > _HEAD_FIELDS:
            raise _HeadTooLarge
        if self._head_bytes > _HEAD_BYTES and self._size_of_head() > _HEAD_BYTES:
            raise _HeadTooLarge
        self._head_bytes = 0
        self._is_in_body = True
        self._head = headers_of(self.headers)
        if self._may_be_whole():
            self._held = b""
        else:
            self._ask_by_asgi(b"")

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        self._is_in_body = False
        if self._held is not None:
            if self._ask(self._held):
                self._held = None
                return
            self._ask_by_asgi(self._held)
        super().on_message_complete()
        if self._is_head_due:  # after the rest of a body that was refused
            self._end_head()
            self._close_in(self.timeout_keep_alive)

    # ---- asking the application ----

    def _may_be_whole(self) -> bool:
        """Whether to wait for what came with the head. Not where an earlier request is still being answered, or an
        answer being read: uvicorn has them wait for each other."""
        return (
            self.is_idle
            and _CONTENT_LENGTH in self._head
            and self.url.startswith(b"/")
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
            and not self.flow.write_paused
        )

    def _ask(self, body: bytes) -> bool:
        """Asks the application of a request that came whole; whether it answers."""
        path, _, query = self.url.partition(b"?")
        request = Request(
            method=self.parser.get_method().decode("ascii"),
            path=path.decode("latin-1"),
            query=query,
            headers=self._head,
            scheme=self.scheme or "http",
            peer=self.client[0] if self.client else None,
        )
        whole = _WholeRequest(keep_alive=self.parser.should_keep_alive())
        try:
            if not self._application.answer_whole(request, body, partial(self._answer, whole)):
                return False
        except Exception:  # as of one that goes by ASGI: whatever it is, the others are answered
            _LOG.exception("a request is answered 500")
            self.loop.call_soon(self._answer, whole, FAULT)
        self.cycle = cast(Any, whole)
        return True

    def _ask_by_asgi(self, body: bytes) -> None:
        """Has uvicorn ask the application, of a request of which so much has come."""
        self._held = None
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = self._head.get(b"expect", b"").lower() == b"100-continue"
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def _answer(self, whole: _WholeRequest, answer: Answer) -> None:
        """Writes the answer to a request that came whole."""
        whole.response_complete = True
        if self.transport.is_closing():
            return
        fields = self.server_state.default_headers
        if answer is SUCCESS and whole.keep_alive:
            if self._success[0] is not fields:
                HttpProtocol._success = fields, _encoded(SUCCESS, fields)
            self.transport.write(self._success[1])
        else:
            if not (whole.keep_alive or answer.is_last):
                answer = msgspec.structs.replace(answer, is_last=True)
            self.transport.write(_encoded(answer, fields))
            if answer.is_last:
                self.transport.close()
        if self.pipeline:
            self.on_response_complete()
        else:
            self._close_in(self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        self._joined.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request, in JSON, and closes the connection."""
        is_too_large = self._head_bytes > _HEAD_BYTES or len(self.headers or ()) > _HEAD_FIELDS
        self._end_head()
        self._held = None
        self.transport.write(_encoded(TOO_LARGE if is_too_large else NO_REQUEST, ()))
        self.transport.close()

    # ---- the connection ----

    @property
    def is_idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_endless(self) -> bool:
        """Whether the answer that is being written has no end."""
        if self.is_idle or isinstance(self.cycle, _WholeRequest):
            return False
        return self.cycle.scope["path"].startswith(_ENDLESS)

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _await_head(self) -> None:
        self._is_head_due = True
        self._close_in(_HEAD_SECONDS)

    def _end_head(self) -> None:
        self._is_head_due = False
        self._closes_at = None

    def _close_in(self, seconds: float) -> None:
        """Closes the connection then. One timer lasts for many requests: to set one and to take it back for each is
        what uvicorn does, and a tenth of the time of a whole one."""
        self._closes_at = self.loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._closes_at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._closes_at, self._close_in_time)

    def _close_in_time(self) -> None:
        self._timer = None
        if self._closes_at is None:
            return
        if self.loop.time() < self._closes_at:
            self._timer = self.loop.call_at(self._closes_at, self._close_in_time)
        elif not self.transport.is_closing():
            self.transport.close()

    def _make_room(self) -> None:
        for connection in self.connections:
            if connection is not self and isinstance(connection, HttpProtocol) and connection.is_idle:
                connection.transport.close()
                return


def _encoded(answer: Answer, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An answer as it is written, with these fields as well."""
    lines = [b"%b: %b\r\n" % field for field in (*fields, *fields_of(answer))]
    return b"".join((STATUS_LINE[answer.status], *lines, b"\r\n", answer.body))
