"""How strict a run is: what a test sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COMMIT_BYTES: Final = 180_000_000
"""What Dataflow commits for a work item at most, about."""


@dataclass(frozen=True, kw_only=True)
class Strictness:
    """The settings of a run. Shares are between 0 and 1, of all work items; what is drawn is drawn by `seed`."""

    seed: int = 0
    repeats: float = 0.2
    """The share that is run twice, of which one outcome counts."""
    checkpoints: float = 0.3
    """The share of restrictions that is split after one of its claims."""
    partial: float = 0.3
    """The share that gets only some of the elements that wait for its key; the others come later."""
    late_bundles: int = 3
    """A timer that is due waits until so many other work items are done, at most."""
    latency_s: float = 0.0
    """What every run of a work item takes longer than its own work."""
    threads: int = 1
    """How many work items, of different keys, run at a time. With one, a run is the same for the same seed."""
    output_bytes: int = COMMIT_BYTES
    """What a work item may put out, with the state that it writes and its timers."""
    cell_bytes: int = COMMIT_BYTES
    """What a cell of state may hold."""
    waits: bool = True
    """Whether what is due later, by the clock, is waited for. Where not, the runner's clock jumps to it, and a step
    that asks the system's clock sees a timer that comes too early."""


class StrictRunnerError(RuntimeError):
    """What would not work on Dataflow, in one line."""


class WorkItemTooLarge(StrictRunnerError):
    """A work item puts out more than can be committed: Dataflow would try it again for ever."""

    def __init__(self, step: str, size: int, bound: int) -> None:
        super().__init__(
            f"{step}: a work item puts out {size:,} bytes, and at most {bound:,} are ever committed: "
            "give less for one element, or defer the rest"
        )
        self.step, self.size, self.bound = step, size, bound


class CellTooLarge(StrictRunnerError):
    """A cell of state has grown beyond its bound."""

    def __init__(self, step: str, cell: str, size: int, bound: int) -> None:
        super().__init__(
            f"{step}: the state {cell!r} of a key has {size:,} bytes, and may have {bound:,}: "
            "spread it over keys, or forget some of it"
        )
        self.step, self.cell, self.size, self.bound = step, cell, size, bound


class UpdateRefused(StrictRunnerError):
    """A job cannot go on with the state of the one that runs: what does not fit."""
