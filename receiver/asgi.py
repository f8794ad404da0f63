"""ASGI 3 as the receiver uses it: the types, and one request of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping, Sequence
from typing import Any, Final

import msgspec

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
ReceiveEvent = Callable[[], Coroutine[Any, Any, Event]]
SendEvent = Callable[[Event], Awaitable[None]]
AsgiApplication = Callable[[Scope, ReceiveEvent, SendEvent], Awaitable[None]]

Headers = dict[bytes, bytes]
"""Headers by their names in lower case; the values of one that comes several times are joined by commas."""


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The head of a request. `path` is as it was written, before any decoding, so that no two spellings are one path;
    `peer` is the address that the connection comes from."""

    method: str
    path: str
    query: bytes
    headers: Headers
    scheme: str
    peer: str | None


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A whole answer: its body is never empty, and its length is always told."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    is_last: bool = False
    """Whether the connection is closed after it."""


_LAST: Final = (b"connection", b"close")


def request_of(scope: Scope) -> Request:
    """The request that an ASGI scope describes."""
    raw = scope.get("raw_path")
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=scope["path"] if raw is None else raw.decode("latin-1"),
        query=scope["query_string"],
        headers=headers_of(scope["headers"]),
        scheme=scope.get("scheme", "http"),
        peer=client[0] if client else None,
    )


def headers_of(fields: Sequence[tuple[bytes, bytes]]) -> Headers:
    """The headers of a request; a server gives their names in lower case."""
    headers: Headers = dict(fields)
    return headers if len(headers) == len(fields) else _joined(fields)


def _joined(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    headers: Headers = {}
    for name, value in fields:
        headers[name] = b", ".join((headers[name], value)) if name in headers else value
    return headers


def with_headers(answer: Answer, *headers: tuple[bytes, bytes]) -> Answer:
    """The answer with these headers as well."""
    return msgspec.structs.replace(answer, headers=(*answer.headers, *headers))


async def send_answer(send: SendEvent, answer: Answer, *, has_body: bool = True) -> None:
    """Sends an answer; without its body to a request of HEAD."""
    await send(_START_OF_SUCCESS if answer is SUCCESS else _start(answer))
    await send({"type": "http.response.body", "body": answer.body if has_body else b""})


def _start(answer: Answer) -> Event:
    return {"type": "http.response.start", "status": answer.status, "headers": fields_of(answer)}


def fields_of(answer: Answer) -> list[tuple[bytes, bytes]]:
    """All headers of an answer."""
    fields = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]
    if answer.is_last:
        fields.append(_LAST)
    return fields


SUCCESS: Final = Answer(status=200, body=b'{"success":true}')
FAULT: Final = Answer(
    status=500, body=b'{"success":false,"message":"the receiver has a fault; send it again"}', is_last=True
)
"""Of a bug of ours, which is logged."""
_START_OF_SUCCESS: Final = _start(SUCCESS)
