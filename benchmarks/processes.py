"""A whole process, and what it used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

_READING: Final = re.compile(r"INFO reading .*?([\d,]+) messages")
_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")


class Used(NamedTuple):
    """Seconds of wall clock, seconds of CPU, and the peak of memory in bytes."""

    seconds: float
    cpu: float
    peak: int


def run(module: str, *arguments: str) -> Used:
    """Runs a module to its end. Raises SystemExit where it fails, once it has said why."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{module} failed with exit status {process.returncode}")
    return Used(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


class Read(NamedTuple):
    """How many messages a job had read, and the peak of its memory until then, in bytes."""

    messages: int
    peak: int


def run_with_peaks(module: str, *arguments: str) -> list[Read]:
    """Runs a job to its end, and returns its peak at each line of progress (every 10 s) while it read; on Linux. Raises
    SystemExit where it fails, once it has said why."""
    reads, others = [], []
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            peak = _PEAK.search(Path(f"/proc/{process.pid}/status").read_text())
            if (reading := _READING.search(line)) and peak is not None:
                reads.append(Read(int(reading[1].replace(",", "")), 1024 * int(peak[1])))
            else:
                others.append(line)
    if process.returncode:
        raise SystemExit(f"{''.join(others)}{module} failed with exit status {process.returncode}")
    return reads
