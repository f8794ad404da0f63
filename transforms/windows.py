"""When facts are gathered: windows over arrival. They decide when a row is written, never what it holds."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, GlobalWindows
from apache_beam.utils.timestamp import Duration

ALLOWED_LATENESS_S = 60 * 86400
"""Longer than Pub/Sub keeps a message (31 days at most): nothing is ever too late."""


def arrival(seconds: float) -> beam.WindowInto:
    """Fixed windows that fire once when the watermark passes, and at once for everything that comes late."""
    return beam.WindowInto(
        FixedWindows(seconds),
        trigger=AfterWatermark(late=AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
        allowed_lateness=Duration(seconds=ALLOWED_LATENESS_S),
    )


def everything() -> beam.WindowInto:
    """The one window that a key's state lives in."""
    return beam.WindowInto(GlobalWindows())
