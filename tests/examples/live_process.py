"""`make live` in a process of its own, without a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import prism

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0


class LiveProcess:
    """Its process, its output so far, and the addresses that it tells."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.output = ""
        self._addresses = threading.Event()
        environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "examples.live", "--no_browser", "--port=0", "--receiver_port=0"),
                *(f"--warehouse={folder / 'demo.duckdb'}", *options),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if line.startswith("Ctrl-C"):
                self._addresses.set()
        self._addresses.set()

    def address(self, name: str) -> str:
        assert self._addresses.wait(PATIENCE_S)
        address = re.search(rf"{name}: +(\S+)", self.output)
        assert address is not None, self.output
        return address[1]

    def ended(self) -> int:
        """Its exit status, once it has ended by itself."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status


@contextmanager
def running(folder: Path, *options: str) -> Iterator[LiveProcess]:
    """Runs it while the block lasts; its files are in the folder."""
    prism.require()
    job = LiveProcess(folder, *options)
    try:
        yield job
    finally:
        job.process.kill()
        job.ended()
