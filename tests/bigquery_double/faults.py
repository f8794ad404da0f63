"""Faults of the Write API that a test asks for: by script, at random, or as an outage."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random

from grpc import StatusCode


@dataclass(frozen=True)
class Fault:
    """What becomes of one append request.

    `code` ends the call, or with `answered` stands in an answer and the connection goes on; None is no error. With
    `written` the rows are in the table although the client does not learn it, so that sending them again makes
    duplicates. `delay` is in seconds, before the answer or the end.
    """

    code: StatusCode | None
    message: str = "a fault that the test asked for"
    written: bool = False
    answered: bool = False
    delay: float = 0.0


UNAVAILABLE = Fault(StatusCode.UNAVAILABLE, "The service is currently unavailable.")
ABORTED = Fault(StatusCode.ABORTED, "The operation was aborted.")
RESOURCE_EXHAUSTED = Fault(StatusCode.RESOURCE_EXHAUSTED, "Exceeds 'AppendRows throughput' quota.")
DEADLINE_EXCEEDED = Fault(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
INTERNAL = Fault(StatusCode.INTERNAL, "Internal error encountered.")
BROKEN = Fault(StatusCode.UNAVAILABLE, "Broken pipe")
"""The connection breaks before the rows were written."""
BROKEN_AFTER_WRITING = replace(BROKEN, written=True)
"""The connection breaks when the rows are written, before the answer is sent."""

TRANSIENT = (UNAVAILABLE, ABORTED, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, INTERNAL)
ANY = (*TRANSIENT, *(replace(fault, answered=True) for fault in (ABORTED, INTERNAL)), BROKEN, BROKEN_AFTER_WRITING)


def late(seconds: float) -> Fault:
    """The rows are written at once, the answer comes `seconds` later."""
    return Fault(None, written=True, delay=seconds)


@dataclass
class Faults:
    """The faults that are still to come, and those that have struck."""

    away: bool = False
    """Whether every call of every API is refused with UNAVAILABLE (REST: 503)."""
    struck: list[Fault] = field(default_factory=list)
    _scripted: list[tuple[int, str | None, Fault]] = field(default_factory=list)
    _rate: float = 0.0
    _random: Random = field(default_factory=Random)
    _kinds: Sequence[Fault] = ANY
    _reads: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, request: int, fault: Fault, table: str | None = None) -> None:
        """Strikes the n-th append request from now, the next being 1; with `table`, of those to a table so named."""
        with self._lock:
            self._scripted.append((request, table, fault))

    def at_random(self, rate: float, seed: int, kinds: Sequence[Fault] = ANY) -> None:
        """Strikes each append request with this probability. A rate of 0 ends it."""
        with self._lock:
            self._rate, self._random, self._kinds = rate, Random(seed), kinds

    def break_read(self, after: int) -> None:
        """Breaks the next stream that is read, once, when it has given at least `after` rows."""
        with self._lock:
            self._reads.append(after)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Until it ends, BigQuery is away: every call is refused, and open connections break at their next request."""
        self.away = True
        try:
            yield
        finally:
            self.away = False

    def clear(self) -> None:
        """Takes back whatever was to come."""
        with self._lock:
            self._scripted.clear()
            self._reads.clear()
            self._rate = 0.0
        self.away = False

    def next(self, table: str) -> Fault | None:
        """What strikes the append request that has come in."""
        with self._lock:
            due = None
            waiting = []
            for requests, name, fault in self._scripted:
                left = requests - (name in (None, table))
                if left == 0 and due is None:
                    due = fault
                else:
                    waiting.append((max(left, 1), name, fault))
            self._scripted = waiting
            if due is None and self._rate and self._random.random() < self._rate:
                due = self._random.choice(self._kinds)
            if due is not None:
                self.struck.append(due)
            return due

    def next_read(self) -> int | None:
        """After how many rows the stream that is now read breaks."""
        with self._lock:
            return self._reads.pop(0) if self._reads else None
