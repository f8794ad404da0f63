"""The receiver as users start it, on a free port, and the tables that a job makes of what it stored."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import duckdb

from judge import Tables
from pipeline.options import parse
from pipeline.run import run
from schemas.tables import BY_NAME
from tests import warehouse

ROOT = Path(__file__).parents[3]
CONNECTION, FOLDER = "Web shop", "web-shop"
WRITE_KEY = "WRITEKEY"
"""No part of any other word that a client sends."""
PAIR_KEY = f"{WRITE_KEY}:SECRET"
"""Another one, in two parts, as Jitsu has them."""
_KEYS = {"SHOP_WRITE_KEY": WRITE_KEY, "SHOP_PAIR_KEY": PAIR_KEY}
"""The environment of the receiver."""
_FORMS = (b"WRITEKEY", b"V1JJVEVLRVk")
"""The key as it is, and as Basic authentication has it."""
_LISTENING = re.compile(r"listening at http://([0-9.]+:[0-9]+)")
_STARTS_S = 60.0
_ENDS_S = 30.0


class ReceiverProcess:
    """`python -m receiver` with one connection, into a directory of `folder`."""

    def __init__(self, folder: Path, origins: Sequence[str], calls_per_second: int | None) -> None:
        self.folder = folder
        self.directory = folder / "calls"
        self.connections = folder / "connections.yaml"
        receive: dict[str, object] = {"write_keys": [f"${{{name}}}" for name in _KEYS], "origins": list(origins)}
        if calls_per_second is not None:
            receive["calls_per_second"] = calls_per_second
        self.connections.write_text(json.dumps({"connections": [{"name": CONNECTION, "receive": receive}]}))
        self.host = "127.0.0.1:0"
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def start(self) -> None:
        """Starts it, on a free port the first time, and then on the same again."""
        command = [
            *(sys.executable, "-m", "receiver"),
            f"--connections={self.connections}",
            f"--directory={self.directory}",
            f"--port={self.host.rpartition(':')[2]}",
        ]
        with (self.folder / "receiver.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **_KEYS},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Waits until it takes calls."""
        end = time.monotonic() + _STARTS_S
        while not self._is_ready():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, f"the receiver is not ready: {self.log}"
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        started = _LISTENING.search(self.log)
        if started is None:
            return False
        self.host = started[1]
        try:
            with urlopen(f"{self.url}/ready", timeout=1):
                return True
        except (URLError, TimeoutError):
            return False

    @property
    def log(self) -> str:
        return (self.folder / "receiver.log").read_text()

    def stop(self) -> None:
        """Has it end in order: every file is complete then."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(_ENDS_S)

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait(_ENDS_S)

    def lines(self) -> list[bytes]:
        """Stops it; what it has stored: a message each."""
        self.stop()
        files = sorted((self.directory / FOLDER).iterdir())
        assert all(file.suffix == ".jsonl" for file in files), files
        return [line for file in files for line in file.read_bytes().splitlines()]

    def tables(self) -> Tables:
        """Stops it, runs a job on all that it stored, and reads the tables; whichever are keyed by a message's id hold
        each id once. Nothing that was written holds the write key."""
        assert self.lines()
        file = self.folder / "warehouse.duckdb"
        options = (
            f"--input={self.directory / FOLDER}/*.jsonl",
            f"--connections={self.connections}",
            f"--connection={CONNECTION}",
            f"--warehouse=duckdb:///{file}",
        )
        run(*parse(options), "")
        _require_each_id_once(file)
        _require_no_key([*self.directory.rglob("*.*"), file, self.folder / "receiver.log"], file)
        return warehouse.tables(file)


@contextlib.contextmanager
def running(
    folder: Path, origins: Sequence[str] = (), calls_per_second: int | None = None
) -> Iterator[ReceiverProcess]:
    """A receiver that takes calls, while the block lasts."""
    receiver = ReceiverProcess(folder, origins, calls_per_second)
    try:
        receiver.wait()
        yield receiver
    finally:
        receiver.kill()


def _require_each_id_once(file: Path) -> None:
    with duckdb.connect(str(file), read_only=True) as connection:
        for table in ("events", "identity_calls"):
            query = f"SELECT message_id FROM {table} GROUP BY message_id HAVING count(*) > 1"
            assert connection.execute(query).fetchall() == [], table


def _require_no_key(files: Sequence[Path], warehouse_file: Path) -> None:
    """Neither in the files' bytes nor in a row, which the warehouse's file may have compressed."""
    with duckdb.connect(str(warehouse_file), read_only=True) as connection:
        rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in BY_NAME}
    contents = {str(path): path.read_bytes() for path in files if path.is_file()}
    contents.update({table: repr(row).encode() for table, row in rows.items()})
    holding = [name for name, content in contents.items() if any(form in content for form in _FORMS)]
    assert not holding, f"the write key is in {', '.join(holding)}"
