"""The debugger: sees every message that is stored, and shows the last calls to browsers of this machine.

Messages are kept as they were stored, and read only while a browser looks on, for a share of the time: what is not
looked at costs next to nothing, and where more comes than can be shown, the newest is shown, and that some is missing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

from receiver.asgi import ReceiveEvent, Request, Scope, SendEvent, request_of
from receiver.debugger.ring import KeptMessage, Ring
from receiver.debugger.shown import Showing, described_columns
from receiver.peers import is_local
from receiver.sink import Message
from schemas.tables import Timestamp
from transforms.core.connections import Connections

PATH: Final = "/debugger"
_STREAM: Final = f"{PATH}/calls"
_MOST_BYTES: Final = 16_000_000
_MOST_AT_ONCE_BYTES: Final = 4_000_000
_MOST_BROWSERS: Final = 8
_THREAD_BYTES: Final = 20_000
"""A message of more is read in a thread, so that the receiver need not wait for it."""
_TURN_S: Final = 0.005
"""So long messages are read until the receiver has its turn, which lasts `_REST` times as long."""
_REST: Final = 3
_GATHER_S: Final = 0.05
"""How long calls gather before they are sent."""
_HEARTBEAT_S: Final = 15.0
_HEARTBEAT: Final = b": \n\n"
_PATIENCE_S: Final = 10.0
"""A browser that takes nothing for so long is dropped."""

_PAGE: Final = {
    PATH: ("debugger.html", "text/html; charset=utf-8"),
    f"{PATH}/debugger.css": ("debugger.css", "text/css; charset=utf-8"),
    f"{PATH}/debugger.js": ("debugger.js", "text/javascript; charset=utf-8"),
    f"{PATH}/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        b"trusted-types 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Debugger:
    """An observer of stored messages, and the ASGI application under `/debugger`. It answers browsers of this machine
    alone. `capacity` is how many calls are kept."""

    def __init__(self, connections: Connections, capacity: int = 500) -> None:
        self._capacity = capacity
        self._ring = Ring(capacity, _MOST_BYTES)
        self._showing = Showing(connections)
        self._process = secrets.token_hex(4)
        self._files = {path: (_file(name), kind) for path, (name, kind) in _PAGE.items()}
        self._start = msgspec.json.encode(
            {
                "capacity": capacity,
                "connections": [connection.name for connection in connections.connections],
                "columns": described_columns(),
            }
        )
        self._browsers: set[asyncio.Event] = set()
        """Each browser's event, which is set when there is news for it."""
        self._reading = asyncio.Lock()
        self._busy_s = 0.0

    def stored(self, message: Message) -> None:
        """Keeps the message for whoever looks on."""
        self._ring.add(message, time.time_ns() // 1000)
        for news in self._browsers:
            news.set()

    async def __call__(self, scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
        request = request_of(scope)
        path = request.path.rstrip("/")
        if not is_local(request) or path not in (*self._files, _STREAM):
            await _answer(send, 404, b"not found\n")
        elif request.method != "GET" and (request.method != "HEAD" or path == _STREAM):
            await _answer(send, 405, b"only GET\n", ((b"allow", b"GET"),))
        elif path != _STREAM:
            content, kind = self._files[path]
            body = b"" if request.method == "HEAD" else content
            await _answer(send, 200, body, kind=kind, length=len(content))
        elif len(self._browsers) >= _MOST_BROWSERS:
            problem = b"as many pages as there may be look on already\n"
            await _answer(send, 503, problem, ((b"retry-after", b"5"),))
        else:
            await self._stream(request, receive, send)

    # ---- the stream ----

    async def _stream(self, request: Request, receive: ReceiveEvent, send: SendEvent) -> None:
        """Sends server-sent events until the browser is gone, or takes nothing."""
        position = self._position(_last_event_id(request))
        news = asyncio.Event()
        self._browsers.add(news)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"), *_HEADERS]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if await _sent(send, b"retry: 1000\nevent: start\ndata: " + self._start + b"\n\n"):
                await self._follow(position, send, news, gone)
        finally:
            self._browsers.discard(news)
            gone.cancel()

    def _position(self, last_event_id: str) -> int:
        """The number of the message that a browser has seen last; 0 for one that has seen none of this process."""
        process, _, number = last_event_id.partition("-")
        if process != self._process or not (number.isascii() and number.isdecimal() and len(number) < 19):
            return 0
        return min(int(number), self._ring.newest)

    async def _follow(self, position: int, send: SendEvent, news: asyncio.Event, gone: asyncio.Future[None]) -> None:
        has_seen = position > 0
        while not gone.done():
            news.clear()
            messages = await self._newest(position)
            if messages:
                event = self._event(messages, missing=messages[0].number - position - 1 if has_seen else 0)
                position, has_seen = messages[-1].number, True
            elif await _something_new(news, gone):
                continue
            else:
                event = _HEARTBEAT
            if not await _sent(send, event):
                return
            await asyncio.sleep(_GATHER_S)

    def _event(self, messages: list[KeptMessage], missing: int) -> bytes:
        calls = b",".join(call for kept in messages for call in kept.calls or ())
        head = f"id: {self._process}-{messages[-1].number}\nevent: calls\ndata: "
        return head.encode() + b'{"missing":%d,"calls":[%b]}\n\n' % (missing, calls)

    # ---- reading ----

    async def _newest(self, after: int) -> list[KeptMessage]:
        """The newest messages after the one of this number, oldest first: as many as a page holds, read."""
        newest: list[KeptMessage] = []
        calls = size = 0
        for kept in self._ring.newest_first(after):
            await self._read(kept)
            newest.append(kept)
            calls += kept.count
            size += kept.size
            if calls >= self._capacity or size >= _MOST_AT_ONCE_BYTES:
                break
        return newest[::-1]

    async def _read(self, kept: KeptMessage) -> None:
        """Reads the calls of a message, once for all browsers; then the receiver has its turn."""
        async with self._reading:
            if kept.calls is not None:
                return
            began = time.perf_counter()
            if len(kept.message.payload) > _THREAD_BYTES:
                calls = await asyncio.to_thread(self._calls, kept)
            else:
                calls = self._calls(kept)
            self._ring.read(kept, calls)
            self._busy_s += time.perf_counter() - began
            if self._busy_s >= _TURN_S:
                rest_s, self._busy_s = self._busy_s * _REST, 0.0
                await asyncio.sleep(rest_s)

    def _calls(self, kept: KeptMessage) -> list[bytes]:
        """The calls of a message as JSON; of very many, or very long ones, the last."""
        calls: deque[bytes] = deque(maxlen=self._capacity)
        for call in self._showing.calls(kept.message, Timestamp(kept.stored_at)):
            calls.append(msgspec.json.encode(call))
        size = sum(map(len, calls))
        while size > _MOST_AT_ONCE_BYTES and len(calls) > 1:
            size -= len(calls.popleft())
        return list(calls)


def _file(name: str) -> bytes:
    return Path(__file__).parent.joinpath("page", name).read_bytes()


def _last_event_id(request: Request) -> str:
    """What a browser that connects again by itself sends in a header, and one that was refused in its query."""
    header = request.headers.get(b"last-event-id", b"")
    return (header or request.query.removeprefix(b"after=")).decode("latin-1")


async def _disconnected(receive: ReceiveEvent) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _something_new(news: asyncio.Event, gone: asyncio.Future[None]) -> bool:
    """Waits for news, or until the browser is gone; False when it is time for a heartbeat."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(news.wait())
    done, _ = await asyncio.wait({waiting, gone}, timeout=_HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return bool(done)


async def _sent(send: SendEvent, body: bytes) -> bool:
    """Whether the browser takes it in time."""
    try:
        await asyncio.wait_for(send({"type": "http.response.body", "body": body, "more_body": True}), _PATIENCE_S)
    except asyncio.TimeoutError:
        return False
    return True


async def _answer(
    send: SendEvent,
    status: int,
    body: bytes,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    *,
    kind: str = "text/plain; charset=utf-8",
    length: int | None = None,
) -> None:
    size = str(len(body) if length is None else length).encode()
    start = [(b"content-type", kind.encode()), (b"content-length", size), *headers, *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": False})
