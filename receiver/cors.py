"""What browsers ask before they send, and need to read an answer."""

from __future__ import annotations

from typing import Final

from receiver.asgi import Headers

ALLOWED_HEADERS: Final = (
    *("authorization", "content-type", "content-encoding", "x-retry-count", "x-write-key"),
    *("anonymousid", "x-anonymous-id", "x-requested-with"),
)
"""What SDKs send of their own: Segment's, RudderStack's (`AnonymousId`) and Jitsu's (`X-Write-Key`)."""
_METHODS: Final = b"GET, POST, PUT, PATCH, OPTIONS"
_DAY: Final = b"86400"

ORIGIN: Final = b"origin"
"""The header in which a browser, and nobody else, tells its page's site."""
VARY: Final = (b"vary", ORIGIN)


def origin_of(headers: Headers) -> str | None:
    """The site that a browser sends from, None where it is no browser."""
    origin = headers.get(ORIGIN)
    return None if origin is None else origin.decode("latin-1").strip().lower()


def answer_headers(headers: Headers, *, allowed: bool) -> tuple[tuple[bytes, bytes], ...]:
    """The headers with which a browser lets its page read the answer, where the page's site is allowed."""
    origin = headers.get(ORIGIN)
    if origin is None:
        return ()
    if not allowed:
        return (VARY,)
    return (
        (b"access-control-allow-origin", origin.strip()),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"retry-after"),
        VARY,
    )


def preflight_headers(headers: Headers, *, allowed: bool) -> tuple[tuple[bytes, bytes], ...]:
    """The headers with which a browser goes on to send; of those that it asks for, the ones that SDKs need."""
    answer = answer_headers(headers, allowed=allowed)
    if not allowed or ORIGIN not in headers:
        return answer
    asked = headers.get(b"access-control-request-headers", b"").decode("latin-1").lower()
    names = {name.strip() for name in asked.split(",")}
    granted = [name for name in ALLOWED_HEADERS if name in names] or list(ALLOWED_HEADERS)
    return (
        *answer,
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", ", ".join(granted).encode()),
        (b"access-control-max-age", _DAY),
    )
