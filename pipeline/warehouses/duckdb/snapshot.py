"""Copies of a DuckDB file that a job has open, for others to look at: DuckDB locks a file for the process that has it.

A copy is of one moment, between two transactions, and holds all of it: DuckDB's log file is written into the file
first. It is written beside its place, and takes it in one step. Copying blocks takes a fiftieth of the time that
`COPY FROM DATABASE` takes, which writes rows and indexes anew.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from pipeline.errors import UsageError
from pipeline.warehouses.duckdb import file
from pipeline.warehouses.duckdb.database import Database

OPTION: Final = "--snapshot"
_UNFINISHED: Final = ".part"
_LOG: Final = ".wal"


class SnapshotFile:
    """The place of the copies of one warehouse's file. Raises UsageError where there can be none."""

    def __init__(self, warehouse: str, path: str) -> None:
        self._warehouse = warehouse
        self._path = os.path.abspath(path)
        self._unfinished = f"{self._path}{_UNFINISHED}"
        own = {f"{os.path.realpath(warehouse)}{ending}" for ending in ("", _LOG)}
        is_linked = os.path.exists(self._path) and os.path.exists(warehouse) and os.path.samefile(self._path, warehouse)
        if is_linked or own.intersection(map(os.path.realpath, (self._path, self._unfinished))):
            raise UsageError("is the warehouse itself", "name another file", option=OPTION, value=path)
        try:
            file.check_content(self._path)
        except file.UnusableFileError as error:
            raise UsageError(error.problem, error.remedy, option=OPTION, value=path) from None
        if not os.access(os.path.dirname(self._path), os.W_OK | os.X_OK):
            problem = "is in a folder that cannot be written"
            raise UsageError(problem, "name a file in another one", option=OPTION, value=path)

    def renew(self) -> bool:
        """Puts a copy of the warehouse as it is now in its place; returns False, and leaves it, where nothing was
        written since the last. Raises OSError, with the copy before still in its place, and FileFailedError where the
        warehouse's file has failed."""
        try:
            if not Database.of(self._warehouse).copy(self._unfinished).result():
                return False
            file.to_disk(self._unfinished)
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"{self._path}{_LOG}")  # of somebody who wrote into the last copy
            os.replace(self._unfinished, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.remove(self._unfinished)
            raise
        return True
