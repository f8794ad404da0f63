"""The restriction of a source without end, whose positions only count what was claimed, and its watermark."""

from __future__ import annotations

from typing import Any, Final

from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp

from schemas.tables import Timestamp
from transforms.coders import OffsetRangeCoder

END: Final = 1 << 62
"""The position that is claimed when the source is told to stop."""


class EndlessTracker(OffsetRestrictionTracker):
    """Claims one position after another, without end.

    A runner may split it only by a checkpoint, at the next position: that is what `defer_remainder` does. For example,
    a split in the middle of the positions would make a second reader of what only this process can acknowledge.
    """

    def try_split(self, fraction_of_remainder: float) -> Any:
        return super().try_split(0) if fraction_of_remainder == 0 else None

    def is_bounded(self) -> bool:
        return False


class Endless(RestrictionProvider):
    """The positions of a reader, by its number."""

    def initial_restriction(self, reader: int) -> OffsetRange:
        return OffsetRange(0, END)

    def create_tracker(self, restriction: OffsetRange) -> EndlessTracker:
        return EndlessTracker(restriction)

    def restriction_coder(self) -> OffsetRangeCoder:
        return OffsetRangeCoder()

    def restriction_size(self, reader: int, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, reader: int, restriction: OffsetRange) -> None:
        """A drain reads no more."""


def advance(estimator: ManualWatermarkEstimator, watermark: Timestamp) -> None:
    """Moves the watermark, unless it is further already."""
    moved, before = BeamTimestamp(micros=watermark), estimator.current_watermark()
    if before is None or moved > before:
        estimator.set_watermark(moved)


def later(watermark: Timestamp, estimator: ManualWatermarkEstimator) -> Timestamp:
    """The source's watermark, or the estimator's: one that a checkpoint has restored may be ahead of what a new process
    knows, and no message may be behind it."""
    restored = estimator.current_watermark()
    return watermark if restored is None else Timestamp(max(watermark, restored.micros))
