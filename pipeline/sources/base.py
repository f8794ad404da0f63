"""What every source can do."""

from __future__ import annotations

from typing import ClassVar, Protocol

import apache_beam as beam


class Source(Protocol):
    """Where messages come from: a value, made from checked options, that a job reads once.

    It must be picklable: its transform goes to workers. What it holds open belongs to the process, not to the value.
    """

    label: ClassVar[str]
    """What distinguishes the labels of this source's steps: a job may have several sources."""
    bounded: ClassVar[bool]
    """Whether it ends by itself."""

    def check(self) -> None:
        """Raises UsageError where the source cannot be read: before the job starts, and before it writes anything."""

    def read(self) -> beam.PTransform:
        """PBegin → `Received`."""

    @property
    def lateness(self) -> float | None:
        """How many seconds behind the watermark a message may come; None for a source whose messages never do."""

    def stop(self) -> None:
        """Has an unbounded source read no more: what it has read is written, and its output ends. Any thread, and a
        signal's handler, may call it."""

    def close(self) -> int:
        """Lets go of what the process holds of it, whatever became of the job. Returns how many messages were written
        and could not be acknowledged: they come again, and count once."""

    def explain(self, error: BaseException) -> Exception | None:
        """The failure of this source behind a job's, as a user is told of it; None where the source has not failed."""
