"""The whole job into DuckDB against pass-through, by shape, and its memory; `python -m benchmarks.whole_job`.

Both are whole processes on the same file and the same runner, in turn. From each time that of a process on one call is
taken away: starting Python and Beam is no part of the rate. DuckDB's own `read_json` and `INSERT OR IGNORE` of the same
messages is compared by CPU time. Memory is how the peak of one process grows while it reads further events of the same
ids.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import shapes
from benchmarks.data import CALLS, calls, more_events
from benchmarks.processes import Used, run, run_with_peaks
from benchmarks.results import Figure, table

GOAL = 1.0
READ_JSON_GOAL = 2.5
MEMORY_GOAL_BYTES = 40
_ROUNDS = 3
_MORE = 3
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = shapes.files(own)
        steps: tuple[Step, ...] = (pass_through, read_json, job)
        start = _starts(steps, next(iter(files.values())), folder)
        for shape, source in files.items():
            rounds = [{step: step(source, folder) for step in steps} for _ in range(_ROUNDS)]
            seconds, cpu = (_medians(rounds, start, field) for field in ("seconds", "cpu"))
            if min(*seconds.values(), *cpu.values()) < _LEAST_S:
                print(f"{shape}: no figure of the whole job, since starting a process takes too much of its time")
                continue
            rates[shape] = seconds[pass_through] / seconds[job]
            over_duckdb[shape] = cpu[job] / cpu[read_json]
    if not rates:
        return []
    over_pass_through, over_read_json = "whole job: rate over pass-through's", "whole job: CPU over DuckDB's read_json"
    return [
        Figure(name=over_pass_through, unit="times", by_shape=rates, goal=GOAL, higher_is_better=True),
        Figure(name=over_read_json, unit="times", by_shape=over_duckdb, goal=READ_JSON_GOAL),
    ]


def _starts(steps: Iterable[Step], source: Path, folder: Path) -> dict[Step, Used]:
    """What each step uses on one call, which hardly depends on the call: of the rounds that of the middle time."""
    one = folder / "one.jsonl"
    with source.open("rb") as file:
        one.write_bytes(file.readline())
    return {step: sorted(step(one, folder) for _ in range(_ROUNDS))[_ROUNDS // 2] for step in steps}


def _medians(rounds: list[dict[Step, Used]], start: dict[Step, Used], field: str) -> dict[Step, float]:
    """What each step used of that beyond its start, the median of rounds."""
    return {
        step: float(statistics.median(getattr(used[step], field) for used in rounds) - getattr(least, field))
        for step, least in start.items()
    }


def memory() -> Figure:
    """Bytes by which the peak grows for each further event, once a job has read more than the 200,000 calls that the
    others repeat."""
    source = more_events(_MORE)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = f"--warehouse=duckdb:///{folder}/w.duckdb"
        peaks = [read for read in run_with_peaks("pipeline", f"--input={source}", warehouse) if read.messages > CALLS]
    if len(peaks) < 2:
        raise SystemExit(f"{source}: was read too fast to tell how memory grows")
    first, *_, last = peaks
    grown = (last.peak - first.peak) / (last.messages - first.messages)
    return Figure(
        name="memory of a further event", unit="bytes", by_shape={calls().stem: grown}, goal=MEMORY_GOAL_BYTES
    )


if __name__ == "__main__":
    print(table([*figures(), memory()]))
