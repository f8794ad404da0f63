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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
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
API_KEY = "APIKEY"
"""Its webhook's."""
_KEYS = {"SHOP_WRITE_KEY": WRITE_KEY, "SHOP_PAIR_KEY": PAIR_KEY}
_ENVIRONMENT = {**_KEYS, "SHOP_API_KEY": API_KEY}
_FORMS = (b"WRITEKEY", b"V1JJVEVLRVk")
"""The key as it is, and as Basic authentication has it."""
_LISTENING = re.compile(r"listening at http://([0-9.]+:[0-9]+)")
_STARTS_S = 60.0
_ANSWERS_S = 10.0
_ENDS_S = 30.0


class ReceiverProcess:
    """`python -m receiver` with one connection, into a directory of `folder`, or by `storing`, other options."""

    def __init__(
        self,
        folder: Path,
        origins: Sequence[str] = (),
        calls_per_second: int | None = None,
        storing: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.directory = folder / "calls"
        self.connections = folder / "connections.yaml"
        self._storing = storing or [f"--directory={self.directory}"]
        self._environment = {**os.environ, **_ENVIRONMENT, **(environment or {})}
        receive: dict[str, object] = {
            "write_keys": [f"${{{name}}}" for name in _KEYS],
            "api_key": "${SHOP_API_KEY}",
            "origins": list(origins),
        }
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
            *self._storing,
            f"--port={self.host.rpartition(':')[2]}",
        ]
        with (self.folder / "receiver.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment,
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
            return self.problem() is None
        except (URLError, TimeoutError):
            return False

    def problem(self) -> str | None:
        """Why it can take no call now, as `/ready` has it. Raises URLError, TimeoutError where it does not answer."""
        try:
            with urlopen(f"{self.url}/ready", timeout=_ANSWERS_S):
                return None
        except HTTPError as answer:
            with answer:
                if answer.code != 503:
                    raise
                return str(json.loads(answer.read())["problem"])

    @property
    def log(self) -> str:
        return (self.folder / "receiver.log").read_text()

    def stop(self) -> int:
        """Has it end in order: every file is complete then. Returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_ENDS_S)

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
        file = self.run_job(self.directory)
        _require_each_id_once(file)
        _require_no_key([*self.directory.rglob("*.*"), file, self.folder / "receiver.log"], file)
        return warehouse.tables(file)

    def run_job(self, directory: Path) -> Path:
        """Runs a job on what a directory holds of the connection; returns its warehouse's file."""
        file = self.folder / "warehouse.duckdb"
        options = (
            f"--input={directory / FOLDER}/*.jsonl",
            f"--connections={self.connections}",
            f"--connection={CONNECTION}",
            f"--warehouse=duckdb:///{file}",
        )
        run(*parse(options), "")
        return file


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
