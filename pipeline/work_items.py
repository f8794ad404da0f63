"""What one work item puts out is bounded.

Dataflow's streaming engine commits all that a work item puts out at once. Above some 180 MB it refuses the commit, and
tries the work item again without end. So a step that makes much of little is a splittable DoFn: it defers what is left
after `BYTES`, and goes on with it in another work item.
"""

from __future__ import annotations

from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from apache_beam.coders import Coder, NullableCoder, TimestampCoder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider, WatermarkEstimatorProvider
from apache_beam.utils.timestamp import Timestamp

from transforms.coders import StructCoder

BYTES: Final = 20_000_000
"""A work item that has put out so much takes nothing more. With what it has begun, and what the steps behind it add, it
stays far below Dataflow's limit."""


class Remainder(Protocol):
    """What is left to put out: a msgspec struct."""

    @property
    def is_done(self) -> bool:
        """Whether that is nothing."""


R = TypeVar("R", bound=msgspec.Struct)


class RemainderTracker(RestrictionTracker):
    """Claims what a step is about to put out, by the remainder that is left after it.

    A runner may split it only by a checkpoint, between two claims: that is what `defer_remainder` does.
    """

    def __init__(self, remainder: Any, nothing: Any) -> None:
        self._remainder = remainder
        self._nothing = nothing
        self._is_checkpointed = False

    def current_restriction(self) -> Any:
        return self._remainder

    def try_claim(self, position: Any) -> bool:
        if self._is_checkpointed:
            return False
        self._remainder = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Any, Any] | None:
        if fraction_of_remainder != 0 or self._remainder.is_done:
            return None
        residual, self._remainder = self._remainder, self._nothing
        self._is_checkpointed = True
        return self._remainder, residual

    def check_done(self) -> None:
        if not self._remainder.is_done:
            raise ValueError(f"a work item ended without {self._remainder}")

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(fraction=float(self._remainder.is_done))

    def is_bounded(self) -> bool:
        return True


class Remainders(RestrictionProvider, Generic[R]):
    """The remainders of a step; `nothing` is the one of a step that is done."""

    nothing: R

    def create_tracker(self, restriction: R) -> RemainderTracker:
        return RemainderTracker(restriction, self.nothing)

    def restriction_coder(self) -> Coder:
        return StructCoder(type(self.nothing))

    def restriction_size(self, element: Any, restriction: R) -> float:
        return 1


class Watermarks(WatermarkEstimatorProvider):
    """A watermark that a step sets itself; until then that of its element, which holds it."""

    def initial_estimator_state(self, element: Any, restriction: Any) -> None:
        return None

    def create_watermark_estimator(self, estimator_state: Timestamp | None) -> ManualWatermarkEstimator:
        return ManualWatermarkEstimator(estimator_state)

    def estimator_state_coder(self) -> Coder:
        return NullableCoder(TimestampCoder())
