"""From a request to what is stored of it: who sent it, what its body holds, or why it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from receiver import cors
from receiver.asgi import Request
from receiver.authentication import SIGNATURE_HEADER, WRITE_KEY_HEADERS, header_keys, is_signed
from receiver.endpoints import Endpoint, Kind
from receiver.envelope import (
    Document,
    NoCalls,
    document,
    first_element,
    message_of_call,
    messages,
    parse,
    read_document,
    unreadable,
    with_device,
)
from receiver.limits import Limits
from receiver.peers import client_address
from receiver.pixel import pixel_call
from receiver.sink import Message
from receiver.sources import ReceivingConnection, Sources

T = TypeVar("T")

LONG_BYTES: Final = 200_000
"""A body of more is for `accept_long`."""
_THREADS: Final = 2
"""So many long bodies at most are taken apart at once."""
_LONGEST_USER_AGENT: Final = 1024
_WEBHOOK: Final = Kind.WEBHOOK
"""Before Python 3.12 it takes long to look up the member of an enumeration."""


class RequestRefused(Exception):
    """A request that is refused, with nothing stored: the status of its answer, what the sender is told, and the
    reason by which it is counted."""

    def __init__(
        self, status: int, problem: str, reason: str, *, retry_after_s: int | None = None, is_last: bool = False
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.is_last = is_last


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The part of a request that is stored. `problem` is why its body is not a call, else None; `is_partly_proved`
    where a signature proves the first of several calls alone, and nothing the others."""

    connection: ReceivingConnection
    messages: Sequence[Message]
    calls: int
    problem: str | None = None
    is_partly_proved: bool = False


class Intake:
    """Takes requests for the connections of `sources`."""

    def __init__(self, sources: Sources, limits: Limits, trusted_proxies: int) -> None:
        self._sources = sources
        self._limits = limits
        self._trusted_proxies = trusted_proxies
        self._threads = ThreadPoolExecutor(_THREADS, "reads-body")

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def sender(self, request: Request, asked: Endpoint) -> ReceivingConnection | None:
        """Whose request it is, as far as its head tells: None where its body has to tell. Raises RequestRefused."""
        if asked.kind is _WEBHOOK:
            return self._webhook(request, asked)
        connection = self._sources.by_headers(request.headers)
        if connection is None and header_keys(request.headers, WRITE_KEY_HEADERS):
            raise _wrong_key()
        return connection

    async def accept_long(
        self, request: Request, asked: Endpoint, sender: ReceivingConnection | None, body: bytes, received_at: str
    ) -> Accepted:
        """The same as `accept`, of a long body: it is read in a thread, so that the others need not wait for it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.accept, request, asked, sender, body, received_at)

    def accept_pixel(self, request: Request, asked: Endpoint, received_at: str) -> Accepted:
        """What is stored of the address of an image. Raises RequestRefused, or NoCalls."""
        call = pixel_call(request.query)
        connection = self._sources.by_write_key([call.write_key])
        if connection is None:
            raise _wrong_key()
        read = read_document(call.body, asked.call_type)
        defaults = with_device({}, self._address(request), _user_agent(request))
        return Accepted(connection, messages(connection.name, read.calls, defaults, received_at), 1)

    def _webhook(self, request: Request, asked: Endpoint) -> ReceivingConnection:
        """Its connection is that of the path; the sender proves itself by a key or by a signature."""
        connection = self._sources.webhook(asked.name)
        if connection is None:
            raise RequestRefused(404, "there is no webhook at this path", "unknown_webhook")
        is_signed = connection.shared_secret is not None and SIGNATURE_HEADER in request.headers
        if not is_signed and not self._sources.has_api_key(connection, request.headers):
            raise RequestRefused(401, "the API key is missing or wrong, and there is no signature", "wrong_key")
        return connection

    def accept(
        self, request: Request, asked: Endpoint, sender: ReceivingConnection | None, body: bytes, received_at: str
    ) -> Accepted:
        """What is stored of a webhook's or an SDK's request. Raises RequestRefused."""
        is_webhook = asked.kind is _WEBHOOK
        if is_webhook:
            _check_signature(request, sender, body)
        if len(body) > self._limits.max_values:
            self._check_values(body)
        is_from_device = asked.is_of_device or cors.ORIGIN in request.headers
        try:
            parsed = parse(body)
            if sender is not None and asked.call_type is not None and not is_from_device:
                message = message_of_call(sender.name, body, parsed, asked.call_type, received_at)
                if message is not None:
                    return Accepted(sender, (message,), 1)
            read = document(body, parsed, asked.call_type)
        except NoCalls as error:
            return _without_calls(sender, body, error)
        connection = sender or self._owner(read)
        if len(read.calls) > self._limits.max_calls:
            raise RequestRefused(413, f"the body has more than {self._limits.max_calls} calls", "too_many_calls")
        defaults = read.defaults
        if is_from_device and not is_webhook:
            agent = _user_agent(request) if cors.ORIGIN in request.headers else None
            defaults = with_device(defaults, self._address(request), agent)
        made = messages(connection.name, read.calls, defaults, received_at, keep_receipt=is_webhook)
        is_partly_proved = (
            is_webhook
            and read.is_array
            and len(read.calls) > 1
            and not self._sources.has_api_key(connection, request.headers)
        )
        return Accepted(connection, made, len(read.calls), is_partly_proved=is_partly_proved)

    def _check_values(self, body: bytes) -> None:
        """Refuses a body whose parts would take many times its size; what stands in strings is counted as well."""
        most = self._limits.max_values
        if sum(map(body.count, (b",", b"[", b"{"))) > most:
            raise RequestRefused(413, f"the body has more than {most} values", "too_many_values")

    def _owner(self, read: Document) -> ReceivingConnection:
        if read.write_key is None:
            raise RequestRefused(401, "no write key: there is none in the headers nor in the body", "no_key")
        connection = self._sources.by_write_key([read.write_key])
        if connection is None:
            raise _wrong_key()
        return connection

    def _address(self, request: Request) -> str | None:
        return client_address(request, self._trusted_proxies)


def _check_signature(request: Request, sender: ReceivingConnection | None, body: bytes) -> None:
    """A signature that is there must be right. Raises RequestRefused."""
    signature = request.headers.get(SIGNATURE_HEADER)
    secret = None if sender is None else sender.shared_secret
    if signature is not None and secret is not None:
        first = first_element(body)
        if not is_signed(signature, secret, *([body] if first is None else [body, first])):
            raise RequestRefused(401, "the signature is not that of this body", "wrong_signature")


def _without_calls(sender: ReceivingConnection | None, body: bytes, error: NoCalls) -> Accepted:
    """The bytes of a body that is no call are kept, where its sender is known."""
    if sender is None:
        problem = "no write key: there is none in the headers, and the body is not JSON that could have one"
        raise RequestRefused(401, problem, "no_key") from None
    kept = [unreadable(sender.name, body)] if body else []
    return Accepted(sender, kept, 0, str(error))


def _wrong_key() -> RequestRefused:
    return RequestRefused(401, "no source has this write key", "wrong_key")


def _user_agent(request: Request) -> str | None:
    agent = request.headers.get(b"user-agent", b"").decode("latin-1").strip()
    return agent[:_LONGEST_USER_AGENT] or None
