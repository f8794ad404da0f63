"""How a test has a run end before its time: what it does to a job, and when."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Interruption(enum.Enum):
    """What is done to a job that runs."""

    STOP = "stop"
    """It ends at once, as by a cancel. State, timers and what waits are lost; what was written outside stays."""
    DRAIN = "drain"
    """It reads no more, and ends when what it has read is through."""
    UPDATE = "update"
    """It ends at once, and what it holds is saved, for a job that goes on with it."""


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """A run that is interrupted while its work item of this number runs, counted from 1: of the step that a transform
    is in, by its label, or of all. The outcome of that work item does not count, but for a drain."""

    by: Interruption
    at: int
    step: str | None = None
