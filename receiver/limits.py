"""How much the receiver takes at once, and of whom."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from schemas.segment import MAX_BATCH_ITEMS

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of requests. `max_keyless_body_bytes` is for a body that must be read to know whose it is: a sender
    that nobody knows yet costs no more than that."""

    max_body_bytes: int = 8_000_000
    max_keyless_body_bytes: int = 1_000_000
    max_calls: int = MAX_BATCH_ITEMS
    max_values: int = 600_000
    body_seconds: float = 30.0
    max_requests: int = 2_000
    max_bytes: int = 64_000_000


class Full(Exception):
    """So much is being received that no more is taken."""


class Load:
    """The requests, and the bytes of their bodies, that are being received or stored."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.requests = 0
        self.bytes = 0

    def enter(self, size: int = 0) -> None:
        """Counts a request, and the bytes that are held of it. Raises Full, and does not count them."""
        if self.requests >= self._limits.max_requests:
            raise Full
        self.take(size)
        self.requests += 1

    def take(self, size: int) -> None:
        """Counts bytes that are held. Raises Full, and does not count them."""
        if self.bytes + size > self._limits.max_bytes:
            raise Full
        self.bytes += size

    def leave(self, size: int) -> None:
        """Lets go of a request and its bytes."""
        self.requests -= 1
        self.bytes -= size


class CallRate:
    """So many calls a second of one connection, and those of one second at once.

    A request is taken where there is room for any of its calls, and its others count against the next seconds: a batch
    of more calls than a second has is taken as well."""

    def __init__(self, calls_per_second: int) -> None:
        self._per_second = calls_per_second
        self._room = float(calls_per_second)
        self._at = 0.0

    def seconds_to_wait(self, calls: int, now: float) -> float:
        """Takes the calls and returns 0, or takes none and returns after how long to try again."""
        self._room = min(self._per_second, self._room + max(now - self._at, 0.0) * self._per_second)
        self._at = now
        if self._room < 1:
            return (1 - self._room) / self._per_second
        self._room -= calls
        return 0.0


if sys.version_info >= (3, 11):

    async def within(seconds: float, awaitable: Awaitable[T]) -> T:
        """What the awaitable gives. Raises TimeoutError where it takes longer."""
        async with asyncio.timeout(seconds):
            return await awaitable

else:

    async def within(seconds: float, awaitable: Awaitable[T]) -> T:
        """What the awaitable gives. Raises TimeoutError where it takes longer."""
        try:
            return await asyncio.wait_for(awaitable, seconds)
        except asyncio.TimeoutError:
            raise TimeoutError from None
