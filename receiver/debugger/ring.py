"""The last messages that were stored, bounded in calls and in bytes."""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import Final

import msgspec

from receiver.sink import Message

_OVERHEAD_BYTES: Final = 500
"""What a message needs beside its bytes."""


class KeptMessage(msgspec.Struct, gc=False):
    """A message, when it was stored and as which one. `calls` are its calls as the page gets them, JSON each, once
    somebody has asked for them."""

    number: int
    stored_at: int
    """Microseconds since the epoch."""
    message: Message
    size: int
    """Bytes that it takes."""
    count: int = 1
    """How many calls it has, at least."""
    calls: list[bytes] | None = None


class Ring:
    """Keeps the newest messages: at most so many calls, as far as they are known, and so many bytes. The newest message
    is kept however large it is."""

    def __init__(self, most_calls: int, most_bytes: int) -> None:
        self._most_calls = most_calls
        self._most_bytes = most_bytes
        self._kept: deque[KeptMessage] = deque()
        self._calls = 0
        self._bytes = 0
        self.newest = 0
        """The number of the last message; 0 before the first."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of what is kept."""
        return self._bytes

    def add(self, message: Message, stored_at: int) -> None:
        self.newest += 1
        size = _OVERHEAD_BYTES + len(message.payload)
        self._kept.append(KeptMessage(self.newest, stored_at, message, size))
        self._fit(self._calls + 1, self._bytes + size)

    def newest_first(self, after: int) -> list[KeptMessage]:
        """The messages after the one of this number that are still kept."""
        return list(takewhile(lambda kept: kept.number > after, reversed(self._kept)))

    def read(self, kept: KeptMessage, calls: list[bytes]) -> None:
        """Keeps the calls of a message, as they were read."""
        count, size = kept.count, kept.size
        kept.calls = calls
        kept.count = len(calls)
        kept.size = _OVERHEAD_BYTES + len(kept.message.payload) + sum(map(len, calls))
        if self._holds(kept):
            self._fit(self._calls + kept.count - count, self._bytes + kept.size - size)

    def _holds(self, kept: KeptMessage) -> bool:
        return bool(self._kept) and kept.number >= self._kept[0].number

    def _fit(self, calls: int, size: int) -> None:
        """Lets go of the oldest, where what is kept has come to so many calls and bytes."""
        kept = self._kept
        while (calls - kept[0].count >= self._most_calls or size > self._most_bytes) and len(kept) > 1:
            oldest = kept.popleft()
            calls -= oldest.count
            size -= oldest.size
        self._calls, self._bytes = calls, size
