"""The watermark of a source without end never goes back, and its positions are split only by a checkpoint."""

from __future__ import annotations

import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp

from pipeline.sources.endless import END, Endless, advance, later
from schemas.tables import Timestamp


def estimator(micros: int | None) -> ManualWatermarkEstimator:
    """As a checkpoint restores it."""
    return ManualWatermarkEstimator(None if micros is None else BeamTimestamp(micros=micros))


@pytest.mark.parametrize(
    ("restored", "watermark", "expected"),
    [(None, 5, 5), (3, 5, 5), (5, 5, 5), (9, 5, 9)],
)
def test_the_watermark_is_the_later_of_both_and_never_goes_back(
    restored: int | None, watermark: int, expected: int
) -> None:
    assert later(Timestamp(watermark), estimator(restored)) == expected
    moved = estimator(restored)
    advance(moved, Timestamp(watermark))
    assert moved.current_watermark() == BeamTimestamp(micros=expected)


def test_a_runner_splits_at_the_next_position_and_nowhere_else() -> None:
    endless = Endless()
    tracker = endless.create_tracker(endless.initial_restriction(0))
    assert not tracker.is_bounded()
    assert tracker.try_claim(0)
    assert tracker.try_claim(1)
    assert tracker.try_split(0.5) is None
    done, rest = tracker.try_split(0)
    assert ((done.start, done.stop), (rest.start, rest.stop)) == ((0, 2), (2, END))
    assert not tracker.try_claim(2), "it belongs to the rest"
