"""What a window costs: of a heavy key, and after many others; `python -m benchmarks.heavy_windows`, on Prism.

A user who gains an anonymous id in every window, and starts with two of them or with 10,000, beside five users who say
the same in every window. What the start costs is measured by itself, and taken away. And the same people in each of 10
windows, and of 1,000; `figure` has that without Prism, the steps alone.
"""

from __future__ import annotations

import gc
import logging
import statistics
import time
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import TimestampedValue

from benchmarks.identity import HEAVY_GOAL, Call, Job, identify
from benchmarks.many_ids import cpu_of_window
from benchmarks.results import Figure, table
from pipeline import prism
from transforms.core.facts import Known
from transforms.resolve_identities import ResolveIdentities
from transforms.windows import Arrival

TIME_GOAL = 1.1
_WINDOWS = 400
_MANY_WINDOWS = 1_000
_PEOPLE = 60
_JOBS_OF_ONE = 50
_ROUNDS = 3
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
            for table, (rows,) in (facts | "ResolveIdentities" >> ResolveIdentities(Arrival(1.0))).items():
                _ = rows | f"Drop{table.title()}" >> beam.Filter(lambda _: False)
        return time.perf_counter() - started


def figure() -> Figure:
    """What a window of the same people costs the steps in the mean of 1,000 windows, over the mean of 10, and over that
    of jobs with one window."""
    gc.collect()
    gc.disable()
    ratios: dict[str, list[float]] = {"1,000 windows over 10": [], "1,000 windows over 1": []}
    for _ in range(_ROUNDS):
        one = statistics.mean(cpu_of_window(Job(), list(_same_people(0))) for _ in range(_JOBS_OF_ONE))
        job = Job()
        costs = [cpu_of_window(job, list(_same_people(window))) for window in range(_MANY_WINDOWS)]
        every = statistics.mean(costs)
        ratios["1,000 windows over 10"].append(every / statistics.mean(costs[:10]))
        ratios["1,000 windows over 1"].append(every / one)
    gc.enable()
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    return Figure(name="a window of the same people", unit="times", by_shape=medians, goal=TIME_GOAL)


def _same_people(window: int) -> Iterator[Call]:
    for number in range(_PEOPLE):
        yield identify(window * _PEOPLE + number, f"user-{number}", f"anonymous-{number}")


def main() -> None:
    logging.disable(logging.WARNING)
    print(table([figure()]))
    many, few = ((seconds(windows, _FEW) - seconds(1, _FEW)) / (windows - 1) for windows in (_MANY_WINDOWS, 100))
    print(
        f"A window of the same people on Prism, of 1,000 windows over 100: {many / few:.2f}   goal: at most {TIME_GOAL}"
    )
    costs = {heavy: (seconds(_WINDOWS, heavy) - seconds(1, heavy)) / _WINDOWS * 1e3 for heavy in (_FEW, _MANY)}
    print("A window with one message of a user who gains an anonymous id, on Prism")
    for heavy, cost in costs.items():
        print(f"  with {heavy:6,} ids {cost:8.2f} ms")
    print(f"  ratio {costs[_MANY] / costs[_FEW]:18.2f}   goal: at most {HEAVY_GOAL}")


if __name__ == "__main__":
    main()
