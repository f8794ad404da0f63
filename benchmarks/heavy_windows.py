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
_JOBS = 100
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


def figure() -> Figure:
    """What a window of the same people costs the steps in the mean of 1,000 windows, over the mean of jobs with 10, and
    over that of jobs with one. Those jobs run between the windows, so that all have the same machine."""
    gc.collect()
    gc.disable()
    job = Job()
    of_many, of_few, of_one = [], [], []
    few = _MANY_WINDOWS // _JOBS
    for first in range(0, _MANY_WINDOWS, few):
        of_many += [_cost(job, first + window) for window in range(few)]
        new = Job()
        of_few += [_cost(new, window) for window in range(few)]
        of_one += [_cost(Job(), 0) for _ in range(few)]
    gc.enable()
    mean = statistics.mean(of_many)
    by_windows = {
        f"1,000 windows over {few}": mean / statistics.mean(of_few),
        "1,000 windows over 1": mean / statistics.mean(of_one),
    }
    return Figure(name="a window of the same people", unit="times", by_shape=by_windows, goal=TIME_GOAL)


def _cost(job: Job, window: int) -> float:
    return cpu_of_window(job, list(_same_people(window)))


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
