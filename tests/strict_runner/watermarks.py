"""What holds a step's watermark, and what the watermark is: times are microseconds since the epoch."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP

MIN: Final[int] = MIN_TIMESTAMP.micros
MAX: Final[int] = MAX_TIMESTAMP.micros


class Holds:
    """A bag of times, of which the earliest counts. `has_moved` says whether that may be another than it was."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._heap: list[int] = []
        self.has_moved = False

    def add(self, time: int) -> None:
        if not self._counts[time]:
            heapq.heappush(self._heap, time)
            self.has_moved |= self._heap[0] == time
        self._counts[time] += 1

    def remove(self, time: int) -> None:
        self._counts[time] -= 1
        if not self._counts[time]:
            del self._counts[time]
            self.has_moved |= self._heap[0] == time

    @property
    def earliest(self) -> int:
        while self._heap and self._heap[0] not in self._counts:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else MAX


@dataclass
class Watermark:
    """A step's watermarks. They never go back. `elements` holds both: what waits and what is worked on; `output` holds
    only what is behind the step."""

    elements: Holds = field(default_factory=Holds)
    output: Holds = field(default_factory=Holds)
    incoming: int = MIN
    outgoing: int = MIN

    @property
    def may_advance(self) -> bool:
        """Whether what holds it has moved since it was last advanced."""
        return self.elements.has_moved or self.output.has_moved

    def advance(self, of_feeders: int) -> tuple[bool, bool]:
        """Whether the watermark of what comes in has moved, and that behind the step, given that of the steps in
        front."""
        before = self.incoming, self.outgoing
        self.incoming = max(self.incoming, min(of_feeders, self.elements.earliest))
        self.outgoing = max(self.outgoing, min(self.incoming, self.output.earliest))
        self.elements.has_moved = self.output.has_moved = False
        return self.incoming > before[0], self.outgoing > before[1]
