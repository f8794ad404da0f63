"""The whole job into DuckDB against pass-through, and its memory; `python -m benchmarks.whole_job`.

Both are whole processes on the same 200,000 calls and the same runner, in turn, three times each. From each time that
of a process on one call is taken away: starting Python and Beam is no part of the rate. Memory is the peak of a process
on 200,000 calls, and with one and three times their events more, of the same ids.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.data import CALLS, calls, more_events
from benchmarks.processes import Used, run

GOAL = 0.60
MEMORY_GOAL_BYTES = 64
_ROUNDS = 3
_MORE = 3


def job(source: Path, folder: Path) -> Used:
    """The whole job into a new DuckDB file."""
    warehouse = folder / f"{time.monotonic_ns()}.duckdb"
    return run("pipeline", f"--input={source}", f"--warehouse=duckdb:///{warehouse}")


def pass_through(source: Path, folder: Path) -> Used:
    return run("benchmarks.pass_through", str(source), str(folder / "out"))


def main() -> None:
    source = calls()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = folder / "one.jsonl"
        with source.open("rb") as file:
            one.write_bytes(file.readline())
        empty = {step: step(one, folder).seconds for step in (job, pass_through)}
        jobs, floors = [], []
        for _ in range(_ROUNDS):
            floors.append(pass_through(source, folder))
            jobs.append(job(source, folder))
        slow = statistics.median(each.seconds for each in jobs) - empty[job]
        fast = statistics.median(each.seconds for each in floors) - empty[pass_through]
        print(f"Whole job ({CALLS:,} calls of about 1.7 kB, in-process runner, median of {_ROUNDS} in turn)")
        print(f"  files → DuckDB                       {CALLS / slow:8,.0f} messages a second")
        print(f"  read → loads → dumps → WriteToText   {CALLS / fast:8,.0f} messages a second")
        print(f"  ratio                                {fast / slow:8.2f}   goal: at least {GOAL}")
        memory(int(statistics.median(each.peak for each in jobs)), folder)


def memory(peak: int, folder: Path) -> None:
    """Prints the peaks on the calls alone, and with one and three times their events more: by then every buffer is
    full, and what an event adds is its key. Medians, since a peak depends on how the threads happened to meet."""
    peaks = {CALLS: peak}
    for times in (1, _MORE):
        larger = more_events(times)
        with larger.open("rb") as file:
            count = sum(1 for _ in file)
        peaks[count] = int(statistics.median(job(larger, folder).peak for _ in range(_ROUNDS)))
    print("Memory (peak of the process; further events are of the same ids)")
    for count, bytes_ in peaks.items():
        print(f"  {count:9,} calls                      {bytes_ / 1e6:8,.0f} MB")
    _, few, many = peaks
    each = (peaks[many] - peaks[few]) / (many - few)
    print(f"  bytes an event, once buffers are full {each:7.1f}   goal: at most {MEMORY_GOAL_BYTES}")


if __name__ == "__main__":
    main()
