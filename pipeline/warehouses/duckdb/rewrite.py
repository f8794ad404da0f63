"""Rewrites a DuckDB file, so that nothing is left of what was removed from it.

DuckDB keeps the blocks of removed rows in the file until others are written over them: CHECKPOINT does not clear them.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from duckdb import DuckDBPyConnection

from pipeline.warehouses.duckdb.file import STORAGE, to_disk
from pipeline.warehouses.duckdb.sql import literal, quoted, scalar

_SUFFIX = ".rewritten"


def rewrite(connection: DuckDBPyConnection, file: str) -> None:
    """Puts a copy of a file that is open in its place, in one step: where the process dies, the file is the old one or
    the new one. The connection keeps other processes away until then, and sees the old one. Raises duckdb.Error and
    OSError, with the file as it was."""
    file = os.path.realpath(file)
    copy = file + _SUFFIX
    _remove(copy)  # of a process that died
    try:
        _copy(connection, copy)
        shutil.copymode(file, copy)
        to_disk(copy)
        os.replace(copy, file)
        to_disk(os.path.dirname(file))
    finally:
        _remove(copy)


def _copy(connection: DuckDBPyConnection, copy: str) -> None:
    connection.execute("CHECKPOINT")
    name = scalar(connection, "SELECT current_database()")
    source, target = _escaped(name), _escaped(f"copy of {name}")
    connection.execute(f"ATTACH {literal(copy)} AS {target} (TYPE duckdb, STORAGE_VERSION '{STORAGE}')")
    try:
        connection.execute(f"COPY FROM DATABASE {source} TO {target}")
    finally:
        connection.execute(f"DETACH {target}")  # which writes its log file into it


def _escaped(name: str) -> str:
    return quoted(name.replace('"', '""'))


def _remove(copy: str) -> None:
    for path in (copy, f"{copy}.wal"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
