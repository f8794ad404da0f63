"""What a message of a heavy key costs in a window of its own, on Prism; `python -m benchmarks.heavy_windows`.

A user who gains an anonymous id in every window, and starts with two of them or with 10,000, beside five users who say
the same in every window. What the start costs is measured by itself, and taken away.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import TimestampedValue

from benchmarks.identity import HEAVY_GOAL, identify
from pipeline import prism
from transforms.core.facts import Known
from transforms.resolve_identities import ResolveIdentities
from transforms.windows import Arrival

_WINDOWS = 400
_NEIGHBOURS = 5
_FEW, _MANY = 2, 10_000


class Facts(beam.DoFn):
    """Facts of so many windows of a second each, the heavy user's first ids all in the first."""

    def __init__(self, windows: int, heavy: int) -> None:
        self.windows = windows
        self.heavy = heavy

    def process(self, _: object) -> Iterator[TimestampedValue]:
        for window in range(self.windows):
            for number in range(_NEIGHBOURS):
                for fact in identify(window * _NEIGHBOURS + number, f"user-{number}", f"anonymous-{number}"):
                    yield TimestampedValue(fact, window + 0.5)
            fresh = range(self.heavy) if window == 0 else (self.heavy + window,)
            for number in fresh:
                for fact in identify(10_000_000 + number, "heavy", f"heavy-{number}"):
                    yield TimestampedValue(fact, window + 0.5)


def seconds(windows: int, heavy: int) -> float:
    """How long a job takes."""
    options = PipelineOptions(["--runner=PrismRunner", "--streaming"])
    with prism.started(options):
        started = time.perf_counter()
        with beam.Pipeline(options=options) as pipeline:
            begin = pipeline | "Begin" >> beam.Create([0])
            facts = begin | "Facts" >> beam.ParDo(Facts(windows, heavy)).with_output_types(tuple[str, Known])
            for table, rows in (facts | "ResolveIdentities" >> ResolveIdentities(Arrival(1.0))).items():
                _ = rows | f"Drop{table.title()}" >> beam.Filter(lambda _: False)
        return time.perf_counter() - started


def main() -> None:
    logging.disable(logging.WARNING)
    costs = {heavy: (seconds(_WINDOWS, heavy) - seconds(1, heavy)) / _WINDOWS * 1e3 for heavy in (_FEW, _MANY)}
    print("A window with one message of a user who gains an anonymous id, on Prism")
    for heavy, cost in costs.items():
        print(f"  with {heavy:6,} ids {cost:8.2f} ms")
    print(f"  ratio {costs[_MANY] / costs[_FEW]:18.2f}   goal: at most {HEAVY_GOAL}")


if __name__ == "__main__":
    main()
