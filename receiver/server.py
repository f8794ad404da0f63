"""The server: uvicorn with our protocol, so many connections as the system allows, and an orderly end."""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import uvicorn

from receiver.http_protocol import MOST_CONNECTIONS, HttpProtocol, Served

_KEEP_ALIVE_SECONDS: Final = 620
"""Longer than Google's load balancers keep a connection, which is 600 s: they never send into one that was closed."""
_STOP_SECONDS: Final = 8
"""What is in flight has so long to end: Cloud Run kills 10 s after SIGTERM."""
_OTHER_FILES: Final = 200
_BACKLOG: Final = 2_048
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """Serves the application at a socket, from the start of its sink to the close. SIGTERM and SIGINT end it when the
    requests in flight are answered."""

    def __init__(self, application: Served, *, started: Callable[[], None] = lambda: None) -> None:
        self._application = application
        self._tell_started = started
        super().__init__(
            uvicorn.Config(
                application,
                http=HttpProtocol,
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
        HttpProtocol.most_connections = max(min(MOST_CONNECTIONS, _allow_open_files() - _OTHER_FILES), 1)

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
            if isinstance(connection, HttpProtocol) and connection.is_endless:
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
    wanted = MOST_CONNECTIONS + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
