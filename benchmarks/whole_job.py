"""The whole job into DuckDB against pass-through, by shape, and its memory; `python -m benchmarks.whole_job`.

Both are whole processes on the same file and the same runner, in turn. From each time that of a process on one call is
taken away: starting Python and Beam is no part of the rate. DuckDB's own `read_json` and `INSERT OR IGNORE` of the same
messages is compared by CPU time. Memory is how much higher the peak of a process is on twice as many small events.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import shapes
from benchmarks.processes import Used, run
from benchmarks.results import Figure, table

GOAL = 1.0
READ_JSON_GOAL = 2.5
MEMORY_GOAL_BYTES = 40
_ROUNDS = 3
_EVENTS = 1_000_000
_LEAST_S = 0.2
"""What takes less beyond the start of its process cannot be told from the start."""

Step = Callable[[Path, Path], Used]


def job(source: Path, folder: Path) -> Used:
    """The whole job into a new DuckDB file."""
    warehouse = folder / f"{time.monotonic_ns()}.duckdb"
    used = run("pipeline", f"--input={source}", f"--warehouse=duckdb:///{warehouse}")
    warehouse.unlink()
    return used


def pass_through(source: Path, folder: Path) -> Used:
    return run("benchmarks.pass_through", str(source), str(folder / "out"))


def read_json(source: Path, folder: Path) -> Used:
    """DuckDB alone: each line, and its `messageId` as the key."""
    warehouse = folder / f"{time.monotonic_ns()}.duckdb"
    used = run("benchmarks.read_json", str(source), str(warehouse))
    warehouse.unlink()
    return used


def figures(own: Path | None = None) -> list[Figure]:
    """The job's rate over that of pass-through, and its CPU over that of DuckDB alone."""
    rates, over_duckdb = {}, {}
    for shape, used in beyond_start((pass_through, read_json, job), own):
        rates[shape] = used[pass_through].seconds / used[job].seconds
        over_duckdb[shape] = used[job].cpu / used[read_json].cpu
    if not rates:
        return []
    over_pass_through, over_read_json = "whole job: rate over pass-through's", "whole job: CPU over DuckDB's read_json"
    return [
        Figure(name=over_pass_through, unit="times", by_shape=rates, goal=GOAL, higher_is_better=True),
        Figure(name=over_read_json, unit="times", by_shape=over_duckdb, goal=READ_JSON_GOAL),
    ]


def beyond_start(steps: Sequence[Step], own: Path | None = None) -> Iterator[tuple[str, Mapping[Step, Used]]]:
    """Each shape, and what each step uses on it beyond the start of its process: the medians of rounds in turn. Leaves
    out a shape where that cannot be told from the start, and says so."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = shapes.files(own)
        start = _starts(steps, next(iter(files.values())), folder)
        for shape, source in files.items():
            rounds = [{step: step(source, folder) for step in steps} for _ in range(_ROUNDS)]
            used = {step: _less(start[step], [one[step] for one in rounds]) for step in steps}
            if min(min(one.seconds, one.cpu) for one in used.values()) < _LEAST_S:
                print(f"{shape}: no figure of whole processes, since starting one takes too much of its time")
            else:
                yield shape, used


def _starts(steps: Iterable[Step], source: Path, folder: Path) -> dict[Step, Used]:
    """What each step uses on one call, which hardly depends on the call: of the rounds that of the middle time."""
    one = folder / "one.jsonl"
    with source.open("rb") as file:
        one.write_bytes(file.readline())
    return {step: sorted(step(one, folder) for _ in range(_ROUNDS))[_ROUNDS // 2] for step in steps}


def _less(start: Used, rounds: Sequence[Used]) -> Used:
    """The medians of rounds, less what the start of the process uses."""
    return Used(
        seconds=statistics.median(one.seconds for one in rounds) - start.seconds,
        cpu=statistics.median(one.cpu for one in rounds) - start.cpu,
        peak=int(statistics.median(one.peak for one in rounds)) - start.peak,
    )


def memory() -> Figure:
    """Bytes for each further event once every buffer is full: what it adds is its key, however large it is."""
    few, many = shapes.small_events(_EVENTS)
    with tempfile.TemporaryDirectory() as folder:
        grown = job(many, Path(folder)).peak - job(few, Path(folder)).peak
    by_shape = {"small events": grown / _EVENTS}
    return Figure(name="memory of a further event", unit="bytes", by_shape=by_shape, goal=MEMORY_GOAL_BYTES)


if __name__ == "__main__":
    print(table([*figures(), memory()]))
