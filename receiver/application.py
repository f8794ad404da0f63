"""The ASGI application: from a request to the sink, and to the answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Final

import msgspec

from receiver import cors, metrics
from receiver.asgi import (
    FAULT,
    SUCCESS,
    Answer,
    AsgiApplication,
    ReceiveEvent,
    Request,
    Scope,
    SendEvent,
    request_of,
    send_answer,
    with_headers,
)
from receiver.body import Body, BodyRefused, Disconnected, is_plain
from receiver.endpoints import METHODS, Endpoint, Kind, endpoint
from receiver.envelope import NoCalls
from receiver.intake import LONG_BYTES, Accepted, Intake, RequestRefused
from receiver.limits import CallRate, Full, Limits, Load
from receiver.metrics import Registry, Sample
from receiver.peers import is_local
from receiver.pixel import GIF
from receiver.settings import settings
from receiver.sink import MessageObserver, Sink, Unavailable
from receiver.sources import ReceivingConnection, Sources
from receiver.spool import SpooledSink
from schemas.tables import Timestamp
from transforms.core import times

_LOG: Final = logging.getLogger(__name__)

_DEBUGGER: Final = Kind.DEBUGGER
"""Before Python 3.12 it takes long to look up the member of an enumeration."""
_METHODS_OF_CALLS: Final = {kind: METHODS[kind] for kind in (Kind.WEBHOOK, Kind.CALL, Kind.BATCH)}
_SILENT_SECONDS: Final = 10.0
"""How long a problem of the sink is not told again."""
_BUSY: Final = "too much is being received; send it again"
_BUSY_SECONDS: Final = 1
_REFUSALS: Final = (RequestRefused, BodyRefused, Unavailable, Full)
_MICROSECONDS_Z: Final = tuple(f"{micros:03}Z" for micros in range(1000))


def _now() -> int:
    return time.time_ns() // 1000


@lru_cache(maxsize=1)
def _millisecond(milliseconds: int) -> str:
    """A time as RFC 3339, without what follows the millisecond."""
    return times.iso(Timestamp(1000 * milliseconds))[:-4]


class Application:
    """The receiver's endpoints. `clock` tells when a request was received, in microseconds since the epoch; `debugger`
    is what answers below `/debugger`, to this machine alone."""

    def __init__(
        self,
        sources: Sources,
        sink: Sink,
        *,
        observers: Iterable[MessageObserver] = (),
        clock: Callable[[], int] = _now,
        limits: Limits | None = None,
        trusted_proxies: int = 0,
        debugger: AsgiApplication | None = None,
    ) -> None:
        limits = limits or Limits()
        self.metrics = Registry()
        self.is_stopping = False
        self._sources = sources
        self._sink = sink
        self._observers = tuple(observers)
        self._clock = clock
        self._is_behind_proxy = trusted_proxies > 0
        self._debugger = debugger
        self._intake = Intake(sources, limits, trusted_proxies)
        self._body_seconds = limits.body_seconds
        self._longest_body = limits.max_body_bytes
        self._longest_keyless_body = min(limits.max_keyless_body_bytes, limits.max_body_bytes)
        self._longest_whole = min(LONG_BYTES, self._longest_keyless_body)
        self._in_flight = Load(limits)
        self._rates = {
            connection.name: CallRate(connection.calls_per_second)
            for connection in sources.connections
            if connection.calls_per_second is not None
        }
        self._answered = lru_cache(self._answered_requests)
        self._counts = lru_cache(self._counts_of_stored)
        self._warned: set[str] = set()
        self._silent_until = 0.0

    async def start(self) -> None:
        """Makes the sink ready. Raises Unavailable."""
        await self._sink.start()

    async def close(self) -> None:
        """Closes the sink, when no request is in flight."""
        self.is_stopping = True
        await self._sink.close()
        self._intake.close()

    async def __call__(self, scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._live(receive, send)
            return
        request = request_of(scope)
        asked = endpoint(request.path)
        if asked.kind is _DEBUGGER and self._debugger is not None and is_local(request):
            await self._debugger(scope, receive, send)
            return
        body = Body(receive, request.headers, self._in_flight)
        connection = self._named_connection(asked) if asked.name else None
        try:
            if request.method in _METHODS_OF_CALLS.get(asked.kind, ()):
                answer, connection = await self._take(request, asked, body, connection)
            else:
                answer, connection = await self._answer(request, asked, body, connection)
        except Disconnected:
            self.metrics.add(metrics.REFUSED, "disconnected")
            return
        if answer.status >= 400:
            await body.drain()
        answer = self._finished(request, asked, answer, connection)
        await send_answer(send, answer, has_body=request.method != "HEAD")

    def answer_whole(self, request: Request, body: bytes, send: Callable[[Answer], None]) -> bool:
        """Answers a request that came whole, where it brings calls in a plain body, as `__call__` does. Calls `send`
        once, in a later turn of the event loop. Returns False, with nothing done, for any other request."""
        asked = endpoint(request.path)
        size = len(body)
        if (
            request.method not in _METHODS_OF_CALLS.get(asked.kind, ())
            or size > self._longest_whole
            or not is_plain(request.headers, body)
        ):
            return False
        connection = self._named_connection(asked) if asked.name else None
        stored: asyncio.Future[None] | None = None
        is_counted = False
        try:
            self._in_flight.enter(size)
            is_counted = True
            sender = self._intake.sender(request, asked)
            accepted = self._intake.accept(request, asked, sender, body, self._received_at())
            connection = accepted.connection
            self._admit(accepted)
            began = time.monotonic()
            if accepted.messages:
                stored = asyncio.ensure_future(self._sink.store(accepted.messages))
                answer_stored = partial(self._answer_stored, request, asked, accepted, began, size, send)
                stored.add_done_callback(answer_stored)
                return True
            answer = self._stored(accepted, began)
        except _REFUSALS as error:
            answer = self._refusal_of(error)
        finally:
            if is_counted and stored is None:
                self._in_flight.leave(size)
        answer = self._finished(request, asked, answer, connection)
        asyncio.get_running_loop().call_soon(send, answer)
        return True

    def _answer_stored(
        self,
        request: Request,
        asked: Endpoint,
        accepted: Accepted,
        began: float,
        size: int,
        send: Callable[[Answer], None],
        stored: asyncio.Future[None],
    ) -> None:
        """Answers a request that came whole, once its messages are durable, or cannot be stored."""
        answer = FAULT
        try:
            stored.result()
            answer = self._stored(accepted, began)
        except Unavailable as error:
            answer = self._refusal_of(error)
        finally:
            self._in_flight.leave(size)
            send(self._finished(request, asked, answer, accepted.connection))

    def _finished(
        self, request: Request, asked: Endpoint, answer: Answer, connection: ReceivingConnection | None
    ) -> Answer:
        """The answer with what a browser needs to read it, and counted."""
        if cors.ORIGIN in request.headers:
            headers = cors.preflight_headers if request.method == "OPTIONS" else cors.answer_headers
            answer = with_headers(answer, *headers(request.headers, allowed=self._is_allowed(request, connection)))
        self._answered(asked.kind, "" if connection is None else connection.name, answer.status).value += 1
        return answer

    async def _live(self, receive: ReceiveEvent, send: SendEvent) -> None:
        """Starts and closes the sink, where the server tells when."""
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                try:
                    await self.start()
                except Unavailable as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(
        self, request: Request, asked: Endpoint, body: Body, connection: ReceivingConnection | None
    ) -> tuple[Answer, ReceivingConnection | None]:
        """The answer to a request that brings no calls in its body, and the connection that it was authenticated
        for."""
        if request.method == "OPTIONS":
            answer = SUCCESS
        elif request.method not in METHODS.get(asked.kind, ()):
            answer = self._not_here(asked)
        elif asked.kind is Kind.PIXEL:
            answer, connection = await self._pixel(request, asked)
        elif asked.kind is Kind.SETTINGS:
            answer = self._settings(request, asked, connection)
        elif asked.kind is Kind.MEASUREMENTS:
            await body.drain()
            answer = SUCCESS
        else:
            answer = self._state(asked)
        return answer, connection

    def _named_connection(self, asked: Endpoint) -> ReceivingConnection | None:
        """The connection that the path itself names."""
        if asked.kind is Kind.WEBHOOK:
            return self._sources.webhook(asked.name)
        if asked.kind is Kind.SETTINGS:
            return self._sources.by_write_key([asked.name.encode(errors="replace")])
        return None

    # ---- calls ----

    async def _take(
        self, request: Request, asked: Endpoint, body: Body, connection: ReceivingConnection | None
    ) -> tuple[Answer, ReceivingConnection | None]:
        """Stores the calls of a request."""
        is_counted = False
        try:
            self._in_flight.enter()
            is_counted = True
            sender = self._intake.sender(request, asked)
            limit = self._longest_body if sender is not None else self._longest_keyless_body
            content = await body.read(limit=limit, seconds=self._body_seconds)
            if len(content) <= LONG_BYTES:
                accepted = self._intake.accept(request, asked, sender, content, self._received_at())
            else:
                accepted = await self._intake.accept_long(request, asked, sender, content, self._received_at())
            connection = accepted.connection
            self._admit(accepted)
            began = time.monotonic()
            if accepted.messages:
                await self._sink.store(accepted.messages)
            return self._stored(accepted, began), connection
        except _REFUSALS as error:
            return self._refusal_of(error), connection
        finally:
            if is_counted:
                self._in_flight.leave(body.size)

    async def _pixel(self, request: Request, asked: Endpoint) -> tuple[Answer, ReceivingConnection | None]:
        """Always an image: nobody reads anything else, and nobody tries again."""
        connection = None
        try:
            accepted = self._intake.accept_pixel(request, asked, self._received_at())
            connection = accepted.connection
            self._admit(accepted)
            began = time.monotonic()
            await self._sink.store(accepted.messages)
            self._stored(accepted, began)
        except NoCalls:
            self.metrics.add(metrics.REFUSED, "no_json")
        except RequestRefused as refused:
            self.metrics.add(metrics.REFUSED, refused.reason)
        except Unavailable as error:
            self.metrics.add(metrics.REFUSED, self._unavailable(error).reason)
        headers = ((b"cache-control", b"no-store"),)
        return Answer(status=200, body=GIF, content_type=b"image/gif", headers=headers), connection

    def _received_at(self) -> str:
        milliseconds, micros = divmod(self._clock(), 1000)
        return _millisecond(milliseconds) + _MICROSECONDS_Z[micros]

    def _admit(self, accepted: Accepted) -> None:
        """Raises RequestRefused where the connection has sent too many calls."""
        rate = self._rates.get(accepted.connection.name)
        if rate is not None and (seconds := rate.seconds_to_wait(max(accepted.calls, 1), time.monotonic())):
            problem = "more calls a second than this source may send"
            raise RequestRefused(429, problem, "rate", retry_after_s=math.ceil(seconds))
        if accepted.is_partly_proved:
            self._warn(accepted.connection)

    def _stored(self, accepted: Accepted, began: float) -> Answer:
        """The answer to what is durable now, and was handed to the sink when the clock was at `began`."""
        name = accepted.connection.name
        if accepted.messages:
            self.metrics.observe(time.monotonic() - began)
            calls, messages, size = self._counts(name)
            calls.value += accepted.calls
            for message in accepted.messages:
                messages.value += 1
                size.value += len(message.payload)
                for observer in self._observers:
                    observer.stored(message)
        if accepted.problem is not None:
            self.metrics.add(metrics.UNREADABLE, name, by=len(accepted.messages))
            return _failure(400, f"the body is not a call, an array or a batch of calls in JSON: {accepted.problem}")
        return SUCCESS

    def _counts_of_stored(self, connection: str) -> tuple[Sample, Sample, Sample]:
        """The calls, the messages and their bytes."""
        counted = (metrics.CALLS, metrics.MESSAGES, metrics.STORED_BYTES)
        calls, messages, size = (self.metrics.sample(metric, connection) for metric in counted)
        return calls, messages, size

    def _warn(self, connection: ReceivingConnection) -> None:
        self.metrics.add(metrics.SIGNATURE_ONLY, connection.name)
        if connection.name not in self._warned:
            self._warned.add(connection.name)
            _LOG.warning(
                "the webhook %s got an array whose signature proves its first call alone; "
                "give it an api_key, and Segment a header Authorization with it",
                connection.path,
            )

    def _refusal_of(self, error: RequestRefused | BodyRefused | Unavailable | Full) -> Answer:
        """The answer to a request that is not taken, for whichever reason."""
        if isinstance(error, Unavailable):
            error = self._unavailable(error)
        elif isinstance(error, Full):
            error = RequestRefused(503, _BUSY, "busy", retry_after_s=_BUSY_SECONDS)
        elif isinstance(error, BodyRefused):
            error = RequestRefused(error.status, error.problem, f"body_{error.status}", is_last=error.is_last)
        return self._refusal(error)

    def _unavailable(self, error: Unavailable) -> RequestRefused:
        """What the sender is told; the problem is told here."""
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + _SILENT_SECONDS
            _LOG.warning("nothing can be stored, and senders are told to try again: %s", error)
        problem = "nothing can be stored now; send it again"
        return RequestRefused(503, problem, "unavailable", retry_after_s=error.retry_after_s)

    # ---- everything else ----

    def _answered_requests(self, kind: Kind, connection: str, status: int) -> Sample:
        return self.metrics.sample(metrics.REQUESTS, kind.value, connection, str(status))

    def _refusal(self, refused: RequestRefused) -> Answer:
        self.metrics.add(metrics.REFUSED, refused.reason)
        headers = []
        if refused.retry_after_s is not None:
            headers.append((b"retry-after", str(max(refused.retry_after_s, 1)).encode()))
        if refused.status == 401:
            headers.append((b"www-authenticate", b"Basic"))
        return with_headers(_failure(refused.status, refused.problem, is_last=refused.is_last), *headers)

    def _not_here(self, asked: Endpoint) -> Answer:
        methods = METHODS.get(asked.kind)
        if methods is None:
            return self._refusal(RequestRefused(404, "there is nothing at this path", "unknown_path"))
        answer = self._refusal(RequestRefused(405, f"this path takes {', '.join(methods)}", "wrong_method"))
        return with_headers(answer, (b"allow", ", ".join((*methods, "OPTIONS")).encode()))

    def _settings(self, request: Request, asked: Endpoint, connection: ReceivingConnection | None) -> Answer:
        if connection is None:
            return self._refusal(RequestRefused(404, "no source has this write key", "unknown_key"))
        content = settings(request, asked.name, is_behind_proxy=self._is_behind_proxy)
        return Answer(status=200, body=content, headers=((b"cache-control", b"no-cache"),))

    def _is_allowed(self, request: Request, connection: ReceivingConnection | None) -> bool:
        """Whether pages of the request's site may read the answer: those of its connection, where that is known."""
        origin = cors.origin_of(request.headers)
        if origin is None:
            return False
        return self._sources.allow(origin) if connection is None else connection.allows(origin)

    def _state(self, asked: Endpoint) -> Answer:
        """Of the process, and of its sink."""
        if asked.kind is Kind.METRICS:
            return self._metrics()
        if asked.kind is Kind.LIVE:
            return Answer(status=200, body=b'{"live":true}')
        problem = self._problem()
        if problem is None:
            return Answer(status=200, body=b'{"ready":true}')
        return Answer(status=503, body=msgspec.json.encode({"ready": False, "problem": problem}))

    def _problem(self) -> str | None:
        return "the receiver is stopping" if self.is_stopping else self._sink.problem()

    def _metrics(self) -> Answer:
        self.metrics.put(metrics.READY, self._problem() is None)
        self.metrics.put(metrics.REQUESTS_IN_FLIGHT, self._in_flight.requests)
        self.metrics.put(metrics.BYTES_IN_FLIGHT, self._in_flight.bytes)
        if isinstance(self._sink, SpooledSink):
            self._measure_spool(self._sink)
        content_type = b"text/plain; version=0.0.4; charset=utf-8"
        return Answer(status=200, body=self.metrics.text(), content_type=content_type)

    def _measure_spool(self, spool: SpooledSink) -> None:
        backlog = spool.backlog()
        self.metrics.put(metrics.SPOOL_MESSAGES, backlog.messages)
        self.metrics.put(metrics.SPOOL_BYTES, backlog.size)
        self.metrics.put(metrics.SPOOL_AGE, backlog.oldest_s)
        self.metrics.put(metrics.SPOOLED, spool.spooled)
        self.metrics.put(metrics.PUT_ASIDE, spool.put_aside)


def _failure(status: int, problem: str, *, is_last: bool = False) -> Answer:
    body = msgspec.json.encode({"success": False, "message": problem})
    return Answer(status=status, body=body, is_last=is_last)
