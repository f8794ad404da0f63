"""The ASGI application: from a request to the sink, and to the answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from receiver import cors, metrics
from receiver.asgi import Answer, AsgiApplication, Receive, Request, Scope, Send, request_of, send_answer
from receiver.authentication import (
    API_KEY_HEADERS,
    SIGNATURE_HEADER,
    WRITE_KEY_HEADERS,
    header_keys,
    is_signed,
)
from receiver.body import Body, BodyRefused, Disconnected
from receiver.endpoints import METHODS, Endpoint, Kind, endpoint
from receiver.envelope import Document, NoCalls, first_element, messages, read_document, unreadable, with_device
from receiver.limits import CallRate, Full, InFlight, Limits
from receiver.metrics import Registry
from receiver.peers import client_address, is_local
from receiver.pixel import GIF, pixel_call
from receiver.settings import settings
from receiver.sink import Message, Observer, Sink, Unavailable
from receiver.sources import ReceivingConnection, Sources
from schemas.tables import Timestamp
from transforms.core import times

_LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")

_SUCCESS: Final = b'{"success":true}'
_THREAD_BYTES: Final = 200_000
"""A body of more is read in a thread, so that the others need not wait for it."""
_SILENT_SECONDS: Final = 10.0
"""How long a problem of the sink is not told again."""
_LONGEST_USER_AGENT: Final = 1024
_BUSY_SECONDS: Final = 1


class _Refused(Exception):
    """A request of which nothing is stored."""

    def __init__(
        self, status: int, problem: str, reason: str, *, retry_after_s: int | None = None, is_last: bool = False
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.is_last = is_last


class _Prepared(NamedTuple):
    """What is stored of a request. `problem` is why a body is no call, else None; `is_partly_proved` where a signature
    proves the first of several calls alone, and nothing the others."""

    connection: ReceivingConnection
    messages: Sequence[Message]
    calls: int
    problem: str | None = None
    is_partly_proved: bool = False


class _Received(NamedTuple):
    """A request whose connection may be known, None where its body has to tell, and its body."""

    request: Request
    endpoint: Endpoint
    connection: ReceivingConnection | None
    body: bytes
    has_key: bool = True
    """False for a webhook's request that has its signature alone."""


def _now() -> Timestamp:
    return Timestamp(time.time_ns() // 1000)


class Application:
    """The receiver's endpoints. `clock` tells when a request was received, in microseconds since the epoch; `debugger`
    is what answers below `/debugger`, to this machine alone."""

    def __init__(
        self,
        sources: Sources,
        sink: Sink,
        *,
        observers: Iterable[Observer] = (),
        clock: Callable[[], Timestamp] = _now,
        limits: Limits | None = None,
        trusted_proxies: int = 0,
        debugger: AsgiApplication | None = None,
    ) -> None:
        self.metrics = Registry()
        self.is_stopping = False
        self._sources = sources
        self._sink = sink
        self._observers = tuple(observers)
        self._clock = clock
        self._limits = limits or Limits()
        self._trusted_proxies = trusted_proxies
        self._debugger = debugger
        self._in_flight = InFlight(self._limits)
        self._rates = {
            connection.name: CallRate(connection.calls_per_second)
            for connection in sources.connections
            if connection.calls_per_second is not None
        }
        self._warned: set[str] = set()
        self._silent_until = 0.0

    async def start(self) -> None:
        """Makes the sink ready. Raises Unavailable."""
        await self._sink.start()

    async def close(self) -> None:
        """Closes the sink, when no request is in flight."""
        self.is_stopping = True
        await self._sink.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
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

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        asked = endpoint(request.path)
        if asked.kind is Kind.DEBUGGER and self._debugger is not None and is_local(request):
            await self._debugger(scope, receive, send)
            return
        connection = self._named_connection(asked)
        body = Body(receive, request.headers, self._in_flight)
        try:
            if request.method == "OPTIONS":
                answer = self._preflight(request, connection)
            elif request.method not in METHODS.get(asked.kind, ()):
                answer = self._not_here(request, asked)
            else:
                answer, connection = await self._answer(request, asked, connection, body)
        except Disconnected:
            self.metrics.add(metrics.REFUSED, "disconnected")
            return
        if answer.status >= 400:
            await body.drain()
        self._add_cors(request, connection, answer)
        name = "" if connection is None else connection.name
        self.metrics.add(metrics.REQUESTS, asked.kind.value, name, str(answer.status))
        await send_answer(send, answer, body=request.method != "HEAD")

    def _named_connection(self, asked: Endpoint) -> ReceivingConnection | None:
        """The connection that the path itself names."""
        if asked.kind is Kind.WEBHOOK:
            return self._sources.webhook(asked.name)
        if asked.kind is Kind.SETTINGS:
            return self._sources.by_write_key([asked.name.encode(errors="replace")])
        return None

    async def _answer(
        self, request: Request, asked: Endpoint, connection: ReceivingConnection | None, body: Body
    ) -> tuple[Answer, ReceivingConnection | None]:
        """The answer, and the connection that the request was authenticated for."""
        if asked.kind in (Kind.WEBHOOK, Kind.CALL, Kind.BATCH):
            return await self._take(request, asked, connection, body)
        if asked.kind is Kind.PIXEL:
            return await self._pixel(request, asked)
        if asked.kind is Kind.SETTINGS:
            if connection is None:
                return self._refusal(_Refused(404, "there is no source with this write key", "unknown_key")), None
            content = settings(request, asked.name, is_behind_proxy=self._trusted_proxies > 0)
            return Answer(status=200, body=content, headers=[(b"cache-control", b"no-cache")]), connection
        if asked.kind is Kind.MEASUREMENTS:
            await body.drain()
            return Answer(status=200, body=_SUCCESS), None
        if asked.kind is Kind.METRICS:
            return self._metrics(), None
        if asked.kind is Kind.READY:
            return self._ready(), None
        return Answer(status=200, body=b'{"live":true}'), None

    # ---- calls ----

    async def _take(
        self, request: Request, asked: Endpoint, connection: ReceivingConnection | None, body: Body
    ) -> tuple[Answer, ReceivingConnection | None]:
        try:
            self._in_flight.enter()
        except Full:
            return self._refusal(_busy()), connection
        try:
            if asked.kind is Kind.WEBHOOK:
                received = await self._webhook(request, asked, connection, body)
            else:
                received = await self._tracking(request, asked, body)
            connection = received.connection
            prepared = await self._prepare(received)
            connection = prepared.connection
            return await self._store(prepared), connection
        except _Refused as refused:
            return self._refusal(refused), connection
        except Full:
            return self._refusal(_busy()), connection
        except BodyRefused as error:
            reason = f"body_{error.status}"
            return self._refusal(_Refused(error.status, error.problem, reason, is_last=error.is_last)), connection
        finally:
            self._in_flight.leave(body.size)

    async def _webhook(
        self, request: Request, asked: Endpoint, connection: ReceivingConnection | None, body: Body
    ) -> _Received:
        """A webhook's request, whose sender has proved itself. A signature that is there must be right."""
        if connection is None:
            raise _Refused(404, "there is no webhook at this path", "unknown_webhook")
        has_key = self._sources.has_api_key(connection, header_keys(request.headers, API_KEY_HEADERS))
        signature = request.headers.get(SIGNATURE_HEADER)
        secret = connection.shared_secret
        if not has_key and (signature is None or secret is None):
            raise _Refused(401, "the API key is missing or wrong, and there is no signature", "wrong_key")
        content = await self._read(body, self._limits.max_body_bytes)
        received = _Received(request, asked, connection, content, has_key)
        if signature is not None and secret is not None:
            signed = [content]
            first = first_element(content)
            if first is not None:
                signed.append(first)
            if not is_signed(signature, secret, *signed):
                raise _Refused(401, "the signature is not that of this body", "wrong_signature")
        return received

    async def _tracking(self, request: Request, asked: Endpoint, body: Body) -> _Received:
        """A request of an SDK. Its connection is that of the write key in a header, else its body has to tell."""
        keys = header_keys(request.headers, WRITE_KEY_HEADERS)
        if not keys:
            return _Received(request, asked, None, await self._read(body, self._limits.max_keyless_body_bytes))
        connection = self._sources.by_write_key(keys)
        if connection is None:
            raise _Refused(401, "no source has this write key", "wrong_key")
        return _Received(request, asked, connection, await self._read(body, self._limits.max_body_bytes))

    async def _read(self, body: Body, limit: int) -> bytes:
        return await body.read(limit=min(limit, self._limits.max_body_bytes), seconds=self._limits.body_seconds)

    async def _prepare(self, received: _Received) -> _Prepared:
        return await self._in_thread(received.body, self._prepared, received, times.iso(self._clock()))

    async def _in_thread(self, body: bytes, function: Callable[..., T], *arguments: object) -> T:
        """Calls it with the arguments, in a thread where the body is long."""
        if len(body) <= _THREAD_BYTES:
            return function(*arguments)
        return await asyncio.to_thread(function, *arguments)

    def _prepared(self, received: _Received, received_at: str) -> _Prepared:
        """The messages of a request. Raises _Refused where no connection has its key, or it has too many calls."""
        request, asked = received.request, received.endpoint
        try:
            document = read_document(received.body, asked.call_type)
        except NoCalls as error:
            if received.connection is None:
                problem = "no write key: there is none in the headers, and the body is no JSON that could have one"
                raise _Refused(401, problem, "no_key") from None
            kept = [unreadable(received.connection.name, received.body)] if received.body else []
            return _Prepared(received.connection, kept, 0, str(error))
        connection = received.connection or self._owner(document)
        if len(document.calls) > self._limits.max_calls:
            problem = f"the body has more than {self._limits.max_calls} calls"
            raise _Refused(413, problem, "too_many_calls")
        defaults = document.defaults
        is_browser = cors.origin_of(request.headers) is not None
        is_webhook = asked.kind is Kind.WEBHOOK
        if (is_browser or asked.is_of_device) and not is_webhook:
            defaults = with_device(defaults, self._address(request), _user_agent(request) if is_browser else None)
        is_partly_proved = document.is_array and not received.has_key and len(document.calls) > 1
        made = messages(connection.name, document.calls, defaults, received_at, keep_receipt=is_webhook)
        return _Prepared(connection, made, len(document.calls), is_partly_proved=is_partly_proved)

    def _owner(self, document: Document) -> ReceivingConnection:
        if document.write_key is None:
            raise _Refused(401, "no write key: there is none in the headers nor in the body", "no_key")
        connection = self._sources.by_write_key([document.write_key])
        if connection is None:
            raise _Refused(401, "no source has this write key", "wrong_key")
        return connection

    def _address(self, request: Request) -> str | None:
        return client_address(request, self._trusted_proxies)

    def _warn(self, connection: ReceivingConnection) -> None:
        self.metrics.add(metrics.SIGNATURE_ONLY, connection.name)
        if connection.name not in self._warned:
            self._warned.add(connection.name)
            _LOG.warning(
                "the webhook %s got an array whose signature proves its first call alone; "
                "give it an api_key, and Segment a header Authorization with it",
                connection.path,
            )

    async def _store(self, prepared: _Prepared) -> Answer:
        """Stores the messages, and answers when they are durable. Raises _Refused."""
        name = prepared.connection.name
        rate = self._rates.get(name)
        if rate is not None and (seconds := rate.seconds_to_wait(max(prepared.calls, 1), time.monotonic())):
            raise _Refused(
                429, "more calls a second than this source may send", "rate", retry_after_s=math.ceil(seconds)
            )
        if prepared.is_partly_proved:
            self._warn(prepared.connection)
        if prepared.messages:
            await self._make_durable(prepared.messages)
        if prepared.problem is not None:
            self.metrics.add(metrics.UNREADABLE, name, by=len(prepared.messages))
            self.metrics.add(metrics.REFUSED, "no_json")
            return _failure(400, f"the body is no call, array or batch of calls in JSON: {prepared.problem}")
        self.metrics.add(metrics.CALLS, name, by=prepared.calls)
        return Answer(status=200, body=_SUCCESS)

    async def _make_durable(self, stored: Sequence[Message]) -> None:
        began = time.monotonic()
        try:
            await self._sink.store(stored)
        except Unavailable as error:
            self._tell(error)
            raise _Refused(
                503, "nothing can be stored now; send it again", "unavailable", retry_after_s=error.retry_after_s
            ) from None
        self.metrics.observe(time.monotonic() - began)
        for message in stored:
            self.metrics.add(metrics.MESSAGES, message.connection)
            self.metrics.add(metrics.STORED_BYTES, message.connection, by=len(message.payload))
            for observer in self._observers:
                observer.stored(message)

    def _tell(self, error: Unavailable) -> None:
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + _SILENT_SECONDS
            _LOG.warning("nothing can be stored, and senders are told to try again: %s", error)

    async def _pixel(self, request: Request, asked: Endpoint) -> tuple[Answer, ReceivingConnection | None]:
        """Always an image: nobody reads anything else, and nobody tries again."""
        connection = None
        image = Answer(status=200, body=GIF, content_type=b"image/gif", headers=[(b"cache-control", b"no-store")])
        try:
            call = pixel_call(request.query)
            connection = self._sources.by_write_key([call.write_key])
            if connection is None:
                raise _Refused(401, "no source has this write key", "wrong_key")
            document = read_document(call.body, asked.call_type)
            defaults = with_device({}, self._address(request), _user_agent(request))
            made = messages(connection.name, document.calls, defaults, times.iso(self._clock()))
            await self._store(_Prepared(connection, made, 1))
        except NoCalls:
            self.metrics.add(metrics.REFUSED, "no_json")
        except _Refused as refused:
            self.metrics.add(metrics.REFUSED, refused.reason)
        return image, connection

    # ---- everything else ----

    def _refusal(self, refused: _Refused) -> Answer:
        self.metrics.add(metrics.REFUSED, refused.reason)
        answer = _failure(refused.status, refused.problem, is_last=refused.is_last)
        if refused.retry_after_s is not None:
            answer.headers.append((b"retry-after", str(max(refused.retry_after_s, 1)).encode()))
        if refused.status == 401:
            answer.headers.append((b"www-authenticate", b"Basic"))
        return answer

    def _not_here(self, request: Request, asked: Endpoint) -> Answer:
        methods = METHODS.get(asked.kind)
        if methods is None:
            return self._refusal(_Refused(404, "there is nothing at this path", "unknown_path"))
        answer = self._refusal(_Refused(405, f"this path takes {', '.join(methods)}", "wrong_method"))
        answer.headers.append((b"allow", ", ".join((*methods, "OPTIONS")).encode()))
        return answer

    def _preflight(self, request: Request, connection: ReceivingConnection | None) -> Answer:
        allowed = self._is_allowed(request, connection)
        return Answer(status=200, body=_SUCCESS, headers=cors.preflight_headers(request.headers, allowed=allowed))

    def _add_cors(self, request: Request, connection: ReceivingConnection | None, answer: Answer) -> None:
        if request.method != "OPTIONS":
            allowed = self._is_allowed(request, connection)
            answer.headers.extend(cors.answer_headers(request.headers, allowed=allowed))

    def _is_allowed(self, request: Request, connection: ReceivingConnection | None) -> bool:
        """Whether pages of the request's site may read the answer: those of its connection, where that is known."""
        origin = cors.origin_of(request.headers)
        if origin is None:
            return False
        return self._sources.allow(origin) if connection is None else connection.allows(origin)

    def _ready(self) -> Answer:
        problem = "the receiver is stopping" if self.is_stopping else self._sink.problem()
        if problem is None:
            return Answer(status=200, body=b'{"ready":true}')
        return Answer(status=503, body=msgspec.json.encode({"ready": False, "problem": problem}))

    def _metrics(self) -> Answer:
        self.metrics.put(metrics.READY, self._sink.problem() is None and not self.is_stopping)
        self.metrics.put(metrics.REQUESTS_IN_FLIGHT, self._in_flight.requests)
        self.metrics.put(metrics.BYTES_IN_FLIGHT, self._in_flight.bytes)
        content_type = b"text/plain; version=0.0.4; charset=utf-8"
        return Answer(status=200, body=self.metrics.text(), content_type=content_type)


def _busy() -> _Refused:
    return _Refused(503, "too much is being received; send it again", "busy", retry_after_s=_BUSY_SECONDS)


def _failure(status: int, problem: str, *, is_last: bool = False) -> Answer:
    body = msgspec.json.encode({"success": False, "message": problem})
    return Answer(status=status, body=body, is_last=is_last)


def _user_agent(request: Request) -> str | None:
    agent = request.headers.get(b"user-agent", b"").decode("latin-1").strip()
    return agent[:_LONGEST_USER_AGENT] or None
