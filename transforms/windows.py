"""When facts are gathered: windows over arrival. They decide when a row is written, never what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection
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


class HistoryWritten(beam.PTransform):
    """What is done with rows → one 0, once everything that came with the minimum timestamp is through: the history."""

    def __init__(self, window: float) -> None:
        super().__init__()
        self.window = window

    def expand(self, done: PCollection[Any]) -> PCollection[int]:
        history = done.pipeline | "History" >> beam.Create([("history", 0)])
        behind = done | "Behind" >> beam.FlatMap(_nothing).with_output_types(tuple[str, int])
        return (
            (history, behind)
            | "Both" >> beam.Flatten()
            | "Window" >> arrival(self.window)
            | "Through" >> beam.GroupByKey()
            | "Global" >> everything()
            | "Once" >> beam.Map(_zero)
        )


def _nothing(_: Any) -> Iterator[tuple[str, int]]:
    """Only the watermark goes on."""
    return iter(())


def _zero(_: Any) -> int:
    return 0
