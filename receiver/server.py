"""The server: uvicorn, with bounds for the heads of requests and for idle connections, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, Protocol, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.asgi import ReceiveEvent, Scope, SendEvent

_KEEP_ALIVE_SECONDS: Final = 620
"""Longer than Google's load balancers keep a connection, which is 600 s: they never send into one that was closed."""
_HEAD_SECONDS: Final = 20.0
_HEAD_BYTES: Final = 65_536
_HEAD_FIELDS: Final = 200
_STOP_SECONDS: Final = 8
"""What is in flight has so long to end: Cloud Run kills 10 s after SIGTERM."""
_MOST_CONNECTIONS: Final = 10_000
_OTHER_FILES: Final = 200
_BACKLOG: Final = 2_048
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_STATUS_LINES: Final = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}
_STATUS_LINE: Final = b"HTTP/1.1 "
_LENGTH: Final = b"\r\ncontent-length: "
_END_OF_HEAD: Final = b"\r\n\r\n"
_ENDLESS: Final = "/debugger"
"""Answers below this path go on until their reader goes away."""


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


class _Protocol(HttpToolsProtocol):
    """One connection. The head of a request must come within 20 s, and have 64 kB and 200 fields at most. Of more than
    10,000 connections, or what the system allows, an idle one is closed for each that comes."""

    most_connections = _MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        """What has come since the last request; more than its head where its body came with it."""
        self._is_in_body = False
        super().connection_made(transport)
        self._joined = _JoinedTransport(transport)
        self.transport = cast(asyncio.Transport, self._joined)
        self._await_head()
        if len(self.connections) > self.most_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        is_head = self.is_idle and not self._is_in_body
        if is_head:
            self._head_bytes += len(data)
        super().data_received(data)
        is_incomplete = is_head or self._is_in_body  # the head, or a body that was refused
        if is_incomplete and self.is_idle and not self.transport.is_closing():
            if is_head and self._head_bytes > _HEAD_BYTES:
                self.send_400_response("")
            elif self._head_timer is None:
                self._await_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        if len(self.headers) > _HEAD_FIELDS:
            raise _HeadTooLarge
        if self._head_bytes > _HEAD_BYTES and self._size_of_head() > _HEAD_BYTES:
            raise _HeadTooLarge
        self._head_bytes = 0
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()
        if self._head_timer is not None:  # the rest of a body that was refused
            self._end_head()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        self._joined.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request, in JSON, and closes the connection."""
        too_large = self._head_bytes > _HEAD_BYTES or len(self.headers or ()) > _HEAD_FIELDS
        status, problem = (431, "the head of the request is too large") if too_large else (400, "no HTTP request")
        body = b'{"success":false,"message":"%b"}' % problem.encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self._end_head()
        self.transport.write(_STATUS_LINES[status] + head + body)
        self.transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _make_room(self) -> None:
        for connection in self.connections:
            if connection is not self and isinstance(connection, _Protocol) and connection.is_idle:
                connection.transport.close()
                return


class Served(Protocol):
    """An ASGI application with a beginning and an end; `is_stopping` is set before the end."""

    is_stopping: bool

    async def start(self) -> None:
        """Raises Unavailable where it cannot answer anything."""

    async def close(self) -> None:
        """Called when no request is in flight."""

    async def __call__(self, scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
        """Answers a request."""


class Server(uvicorn.Server):
    """Serves the application at a socket, from the start of its sink to the close. SIGTERM and SIGINT end it when the
    requests in flight are answered."""

    def __init__(self, application: Served, *, started: Callable[[], None] = lambda: None) -> None:
        self._application = application
        self._tell_started = started
        super().__init__(
            uvicorn.Config(
                application,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        _Protocol.most_connections = max(min(_MOST_CONNECTIONS, _allow_open_files() - _OTHER_FILES), 1)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises Unavailable where the sink cannot be used."""
        await self._application.start()
        try:
            await super().serve(sockets)
        finally:
            await self._application.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.is_stopping = True
        for connection in self.server_state.connections:
            if isinstance(connection, _Protocol) and not connection.is_idle and _is_endless(connection.scope):
                connection.transport.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Has the signals stop the server; unlike uvicorn's own they do not end the process after it."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._application.is_stopping = True
        super().handle_exit(sig, frame)


def _allow_open_files() -> int:
    """Raises the number of files that the process may open as far as it may, and returns it: a connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def _is_endless(scope: Any) -> bool:
    path: str = scope["path"]
    return path.startswith(_ENDLESS)
