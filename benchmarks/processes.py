"""A whole process, and what it used."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import NamedTuple


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
