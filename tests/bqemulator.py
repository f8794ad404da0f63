"""A second opinion on BigQuery's REST API and its queries: PyPI's `bqemulator`, in an environment of its own.

It needs packages that the project does not, and a DuckDB of the version that its extension is packaged for; they are
installed once into the user's cache. What it lacks: primary keys, `max_staleness` and change data capture, tables made
by DDL that are then appended to, errors of single rows.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests import kept

_VERSION, _DUCKDB = "1.4.0", "1.5.5"
_PACKAGES = [f"bqemulator=={_VERSION}", f"duckdb=={_DUCKDB}", f"duckdb-extension-spatial=={_DUCKDB}", "numpy"]
_PLACE_EXTENSION = """
import duckdb, duckdb_extension_spatial, pathlib, shutil, sys
(platform,) = duckdb.sql("PRAGMA platform").fetchone()
(found,) = pathlib.Path(duckdb_extension_spatial.__file__).parent.rglob("spatial.duckdb_extension")
place = pathlib.Path(sys.argv[1], ".duckdb", "extensions", f"v{duckdb.__version__}", platform)
place.mkdir(parents=True, exist_ok=True)
shutil.copy(found, place)
"""
_STARTS_S = 60.0


class Emulator(NamedTuple):
    """What BIGQUERY_EMULATOR_HOST and BIGQUERY_STORAGE_EMULATOR_HOST are to hold."""

    rest_url: str
    storage_target: str


@contextmanager
def serve() -> Iterator[Emulator]:
    """Starts an empty emulator, and ends it. Skips the test where there is none; in CI its absence is a failure."""
    home = _installed()
    if home is None:
        problem = f"bqemulator is not there: it needs Python 3.11 or later, and PyPI's {' '.join(_PACKAGES)}"
        if os.environ.get("CI") and sys.version_info >= (3, 11):
            pytest.fail(problem)
        pytest.skip(problem)
    rest, storage = _free_port(), _free_port()
    program = str(home / "bin" / "bqemulator")
    command = [program, "start", f"--rest-port={rest}", f"--grpc-port={storage}", "--ephemeral"]
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(command, env={**os.environ, "HOME": str(home)}, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{rest}/bigquery/v2/projects/any-project/datasets", process)
        yield Emulator(f"http://127.0.0.1:{rest}", f"127.0.0.1:{storage}")
    finally:
        process.terminate()
        process.wait(30)


@cache
def _installed() -> Path | None:
    """The emulator's environment, made where it is not there yet; None where it cannot be."""
    with kept.alone(f"bqemulator-{_VERSION}-python{sys.version_info.major}.{sys.version_info.minor}") as home:
        if (home / "installed").exists():
            return home
        if sys.version_info < (3, 11):
            return None
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        python = str(home / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
        if subprocess.run(install, check=False).returncode:
            return None
        subprocess.run([python, "-c", _PLACE_EXTENSION, str(home)], check=True)
        (home / "installed").touch()
        return home


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers."""
    deadline = time.monotonic() + _STARTS_S
    while True:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
