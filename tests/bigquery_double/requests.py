"""What a double has received."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NamedTuple


class Append(NamedTuple):
    """One append request: its table's name without the dataset, its rows, its size in bytes, the connection that it
    came by (they are counted from 1), and what became of it: `OK` or the name of a gRPC status code."""

    table: str
    rows: int
    size: int
    connection: int
    outcome: str


@dataclass
class Requests:
    """What was received since the double was started or `clear` was called."""

    appends: list[Append] = field(default_factory=list)
    rest: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of each REST request."""
    queries: list[str] = field(default_factory=list)
    """The SQL of each query job."""
    reads: list[tuple[str, int]] = field(default_factory=list)
    """(name, offset) of each stream that was read."""
    opened: int = 0
    """How many connections of the Write API were opened."""
    open: int = 0
    """How many of them are open now."""
    most_open: int = 0
    """How many of them were open at one time."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def largest(self) -> int:
        """The size of the largest append request, in bytes."""
        return max((append.size for append in self.appends), default=0)

    def connected(self) -> int:
        """Counts a new connection, and returns its number."""
        with self._lock:
            self.opened += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            return self.opened

    def disconnected(self) -> None:
        with self._lock:
            self.open -= 1

    def clear(self) -> None:
        """Forgets what was received; what is open stays counted."""
        with self._lock:
            for received in (self.appends, self.rest, self.queries, self.reads):
                received.clear()
            self.opened = 0
            self.most_open = self.open
