"""The calls that a log has taken, on their way from its sink to their facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms.core.reader import Call
from transforms.core.rows import LogEntry
from transforms.windows import in_global_window


class TimedEntry(NamedTuple):
    """An entry of the log with its element's timestamp."""

    entry: LogEntry
    timestamp: Timestamp


class LoggedCalls:
    """The calls of a bundle that the log holds and that were not given yet. They are given as soon as their batch is
    written, at their entries' time: so a bundle holds no more calls than a few batches have."""

    def __init__(self) -> None:
        self._values: list[WindowedValue] = []

    def add(self, call: Call, timestamp: Timestamp) -> None:
        self._values.append(in_global_window(call, timestamp))

    def pop(self) -> Sequence[WindowedValue]:
        """Those that were added since the last time."""
        if not self._values:
            return ()
        values, self._values = self._values, []
        return values
