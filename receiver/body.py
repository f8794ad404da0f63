"""Reading the body of a request: inflated, and counted while it is."""

from __future__ import annotations

import time
import zlib
from typing import Final

import msgspec

from receiver.asgi import Headers, ReceiveEvent
from receiver.limits import Load, within

_GZIP, _ZLIB, _RAW = 31, 15, -15
_WINDOW_BITS: Final = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": _ZLIB}
_AS_IT_IS: Final = (b"", b"identity")
_MOST_MEMBERS: Final = 100
"""Of gzip streams one after another; each costs a new window."""
_MOST_DRAINED: Final = 16_000_000
_DRAIN_SECONDS: Final = 2.0


class BodyRefused(Exception):
    """A body that is not taken: the status of the answer, and why. What is left of it is not read where `is_last`."""

    def __init__(self, status: int, problem: str, *, is_last: bool = False) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.is_last = is_last


class Disconnected(Exception):
    """The sender went away before its body was complete."""


def is_plain(headers: Headers, body: bytes) -> bool:
    """Whether these are the bytes of a body as it was meant: not compressed, and of the length that is told once."""
    return (
        headers.get(b"content-length") == b"%d" % len(body)
        and b"content-encoding" not in headers
        and b"transfer-encoding" not in headers
    )


class Body(msgspec.Struct, gc=False):
    """The body of one request, held in memory and counted in `in_flight` until the request is done."""

    _receive: ReceiveEvent
    _headers: Headers
    _in_flight: Load
    size: int = 0
    _is_complete: bool = False
    _is_given_up: bool = False

    async def read(self, *, limit: int, seconds: float) -> bytes:
        """The whole body, inflated. Raises BodyRefused, Disconnected, or Full."""
        inflater = _inflater(self._headers)
        self._check_length(limit)
        until = time.monotonic() + seconds
        parts: list[bytes] = []
        on_the_wire = 0
        while not self._is_complete:
            part = await self._next(until - time.monotonic())
            on_the_wire += len(part)
            if inflater is not None and part:
                part = inflater.inflate(part, limit - self.size)
            if on_the_wire > limit:
                raise _too_large(limit)
            self._hold(part, limit)
            parts.append(part)
        if inflater is not None and on_the_wire and not inflater.is_complete:
            raise BodyRefused(400, "the compressed body is cut short")
        return b"".join(parts)

    def _hold(self, part: bytes, limit: int) -> None:
        """Counts what is held from now on. Raises BodyRefused, or Full."""
        size = len(part)
        if self.size + size > limit:
            raise _too_large(limit)
        self._in_flight.take(size)
        self.size += size

    async def drain(self) -> None:
        """Reads on, for a little while, so that the sender comes to read the answer."""
        until = time.monotonic() + _DRAIN_SECONDS
        size = 0
        while not (self._is_complete or self._is_given_up) and size < _MOST_DRAINED:
            try:
                size += len(await self._next(until - time.monotonic()))
            except (BodyRefused, Disconnected):
                return

    def _check_length(self, limit: int) -> None:
        length = self._headers.get(b"content-length")
        if length is None:
            return
        if not length.isdigit() or b"transfer-encoding" in self._headers:
            raise BodyRefused(400, "the length of the body is given twice, or not as a number", is_last=True)
        if len(length) > 15 or int(length) > limit:
            raise _too_large(limit)

    async def _next(self, seconds: float) -> bytes:
        try:
            event = await within(max(seconds, 0), self._receive())
        except TimeoutError:
            self._is_given_up = True
            raise BodyRefused(408, "the body did not come in time", is_last=True) from None
        if event["type"] != "http.request":
            raise Disconnected
        self._is_complete = not event.get("more_body")
        part: bytes = event.get("body", b"")
        return part


def _inflater(headers: Headers) -> _Inflater | None:
    """What inflates a body with these headers, None for one that is as it is. Raises BodyRefused."""
    encoding = headers.get(b"content-encoding")
    if encoding is None or (encoding := encoding.strip().lower()) in _AS_IT_IS:
        return None
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise BodyRefused(415, "the Content-Encoding is not gzip, deflate or identity")
    return _Inflater(bits)


def _too_large(limit: int) -> BodyRefused:
    return BodyRefused(413, f"the body has more than {limit} bytes", is_last=True)


class _Inflater:
    """Inflates a body as it comes."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._stream = zlib.decompressobj(bits)
        self._members = 1
        self._held = b""
        """The first byte, until the second is there as well: both tell zlib's stream from a bare one."""
        self._began = False

    @property
    def is_complete(self) -> bool:
        return self._stream.eof

    def inflate(self, part: bytes, room: int) -> bytes:
        """What the next bytes come to; more than `room` of it where it comes to more. Raises BodyRefused."""
        part = self._held + part
        if not self._began and len(part) < 2:
            self._held = part
            return b""
        self._held = b""
        try:
            inflated = self._inflate(part, room)
        except zlib.error:
            raise BodyRefused(400, "the body is not compressed as its Content-Encoding says") from None
        self._began = True
        return inflated

    def _inflate(self, part: bytes, room: int) -> bytes:
        try:
            inflated = [self._stream.decompress(part, room + 1)]
        except zlib.error:
            if self._bits != _ZLIB or self._began:
                raise
            self._bits, self._stream = _RAW, zlib.decompressobj(_RAW)  # some take deflate for the bare stream
            inflated = [self._stream.decompress(part, room + 1)]
        size = len(inflated[0])
        while self._stream.eof and (rest := self._stream.unused_data) and size <= room:
            self._members += 1
            if self._bits != _GZIP or self._members > _MOST_MEMBERS:
                raise zlib.error
            self._stream = zlib.decompressobj(_GZIP)
            inflated.append(self._stream.decompress(rest, room - size + 1))
            size += len(inflated[-1])
        return inflated[0] if len(inflated) == 1 else b"".join(inflated)
