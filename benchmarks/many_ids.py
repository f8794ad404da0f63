"""What a call costs in a job with 1,000,000 ids against one with 10,000; `python -m benchmarks.many_ids`.

python -m benchmarks.many_ids             whole jobs on files into DuckDB, and the steps by windows (three minutes)
python -m benchmarks.many_ids streaming   whole jobs on a directory, on Prism, with 200,000 ids (--ids) against 10,000

Whole jobs are processes of their own. An identify call for each person, of a user id and an anonymous id; every call
costs three keys. It is CPU time that is compared, from which that of a job on one person is taken away, since starting
Python and Beam is no part of a call's cost.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.identity import Call, Job, identify
from benchmarks.processes import run
from benchmarks.results import Figure, table

GOAL: Final = 1.15
FEW_IDS, MANY_IDS = 10_000, 1_000_000
_ROUNDS: Final = 4
"""Before the great job, and as many after it: it takes more than a minute, in which the machine may become slower."""
_WINDOWS: Final = 30
_NEWS: Final = 1_000
"""So many persons has a window."""
_AT_ONCE: Final = 10_000
_SPREAD: Final = 7_919
"""A prime: these steps meet all persons."""


def _write(path: Path, ids: int) -> Path:
    with path.open("w") as file:
        for person in range(ids // 2):
            call = {
                "type": "identify",
                "messageId": f"message-{person}",
                "userId": f"user-{person}",
                "anonymousId": f"anonymous-{person}",
                "timestamp": "2025-01-01T00:00:00.000Z",
                "receivedAt": "2025-01-01T00:00:01.000Z",
                "traits": {
                    "email": f"user-{person}@company-{person % 1000}.example",
                    "name": f"User {person}",
                    "plan": "pro",
                },
                "context": {"ip": "8.8.8.8", "library": {"name": "analytics.js", "version": "2.11.1"}},
            }
            file.write(json.dumps(call) + "\n")
    return path


def _on_file(source: Path) -> float:
    """Seconds of CPU that the job on a file takes."""
    warehouse = source.with_suffix(".duckdb")
    used = run("pipeline", f"--input={source}", f"--warehouse=duckdb:///{warehouse}")
    warehouse.unlink()
    return used.cpu


def _on_directory(source: Path) -> float:
    """Seconds of CPU that a job without end and its runner take from their start until all is written."""
    with tempfile.TemporaryDirectory(dir=source.parent) as name:
        directory = Path(name, "calls")
        directory.mkdir()
        shutil.copy(source, directory / "calls.jsonl")
        options = [f"--input_directory={directory}", f"--warehouse=duckdb:///{name}/w.duckdb", "--alias_window=10"]
        process = subprocess.Popen([sys.executable, "-m", "pipeline", *options], stdout=subprocess.DEVNULL)
        while (directory / "calls.jsonl").exists():
            if process.poll() is not None:
                raise SystemExit(f"the job ended with exit status {process.returncode}")
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the job ended with exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def whole_jobs(cpu: Callable[[Path], float], many_ids: int) -> float:
    """What a call costs among so many ids, over what it costs among 10,000."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, few, many = (_write(folder / f"{ids}.jsonl", ids) for ids in (2, FEW_IDS, many_ids))
        rounds = [(cpu(one), cpu(few)) for _ in range(_ROUNDS)]
        large = cpu(many)
        rounds += [(cpu(one), cpu(few)) for _ in range(_ROUNDS)]
    start = statistics.median(start for start, _ in rounds)
    small = statistics.median(small - start for start, small in rounds)
    return ((large - start) / many_ids) / (small / FEW_IDS)


def from_window_to_window() -> float:
    """What a window with news of 1,000 persons costs the steps among a million ids, over what it costs among
    10,000; the state of every id as bytes."""
    jobs = []
    for ids in (FEW_IDS, MANY_IDS):
        job = Job()
        for first in range(0, ids // 2, _AT_ONCE):
            job.window(_people(range(first, min(first + _AT_ONCE, ids // 2))))
        jobs.append(job)
    gc.collect()
    gc.disable()
    few, many = jobs
    ratios = []
    for number in range(_WINDOWS):
        of_few, of_many = (_news(ids, number) for ids in (FEW_IDS, MANY_IDS))
        small, large = cpu_of_window(few, of_few), cpu_of_window(many, of_many)
        ratios.append(large / small)
    gc.enable()
    return statistics.median(ratios)


def cpu_of_window(job: Job, calls: list[Call]) -> float:
    """Seconds of CPU that the steps take for a window."""
    started = time.process_time()
    job.window(calls)
    return time.process_time() - started


def _people(numbers: Iterable[int], first_call: int = 0) -> list[Call]:
    """An identify call of each of these persons."""
    return [identify(first_call + number, f"user-{number}", f"anonymous-{number}") for number in numbers]


def _news(ids: int, window: int) -> list[Call]:
    """Calls of persons that the job has, spread over all of them."""
    numbers = range(window * _NEWS, (window + 1) * _NEWS)
    return _people((number * _SPREAD % (ids // 2) for number in numbers), (window + 1) * ids)


def figures() -> list[Figure]:
    """A job on files, and the steps of one without end."""
    by_job = {
        "whole job on files": whole_jobs(_on_file, MANY_IDS),
        "a window of the steps": from_window_to_window(),
    }
    return [Figure(name="a call among 1,000,000 ids, over 10,000", unit="times", by_shape=by_job, goal=GOAL)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_ids", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["figures", "streaming"], default="figures")
    parser.add_argument("--ids", type=int, default=200_000)
    given = parser.parse_args(argv)
    if given.what == "figures":
        print(table(figures()))
        return
    by_job = {"whole job on a directory": whole_jobs(_on_directory, given.ids)}
    name = f"a call among {given.ids:,} ids, over {FEW_IDS:,}"
    print(table([Figure(name=name, unit="times", by_shape=by_job, goal=GOAL)]))


if __name__ == "__main__":
    main()
