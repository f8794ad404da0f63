"""DuckDB files as a kind of warehouse."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

from pipeline.errors import UsageError, is_encodable
from pipeline.warehouses.duckdb import ddl, file
from pipeline.warehouses.duckdb.database import Database
from pipeline.warehouses.duckdb.snapshot import SnapshotFile
from pipeline.warehouses.duckdb.view_schema import DuckDbViewSchema
from pipeline.warehouses.duckdb.warehouse import DuckDbWarehouse

_PARAMETERS: Final = re.compile(r"\?[^/]*=.*", re.DOTALL)


class DuckDbKind:
    """`duckdb:///relative.duckdb` or `duckdb:////absolute.duckdb`."""

    scheme: Final = "duckdb"
    url_form: Final = "duckdb:///FILE"
    dialect: Final = "duckdb"
    noun: Final = "file"
    is_local: Final = True

    def check(self, url: str) -> None:
        """Makes nothing, and does not wait for a job that has the file."""
        path = self._path(url)
        if Database.is_open(path):
            return
        try:
            file.check_content(path)
        except file.UnusableFileError as error:
            raise UsageError(error.problem, error.remedy, option="--warehouse", value=url) from None

    def place(self, url: str) -> str:
        return os.path.realpath(self._path(url))

    def open(self, url: str, *, create: bool, update: bool) -> DuckDbWarehouse:
        """A file's tables are always made, and no job takes over from another one that runs."""
        return DuckDbWarehouse(self._path(url))

    def ddl(self, dataset: str | None) -> Iterator[str]:
        if dataset is not None:
            raise UsageError("a file has no datasets", "leave it out", option="--dataset", value=dataset)
        return ddl.statements()

    def create(self, url: str, location: str | None) -> tuple[str, ...]:
        if location is not None:
            raise UsageError("a file has no location", "leave it out", option="--location", value=location)
        try:
            with file.connect(self._path(url)) as connection:
                return file.create(connection)
        except file.UnusableFileError as error:
            problem = error
        except file.FAILURES as error:
            problem = file.unusable(error)
        raise UsageError(problem.problem, problem.remedy, option="--warehouse", value=url)

    def compaction(self, url: str) -> str:
        raise UsageError("a file holds each message once", "leave it out", option="--print", value=None)

    def snapshot(self, url: str, path: str) -> SnapshotFile:
        return SnapshotFile(self._path(url), path)

    @contextmanager
    def view_schema(self, url: str, name: str) -> Iterator[DuckDbViewSchema]:
        try:
            with file.connect(self._path(url), new=False) as connection:
                connection.begin()
                yield DuckDbViewSchema(connection, name)
                connection.commit()
        except file.UnusableFileError as error:
            raise UsageError(error.problem, error.remedy, option="--warehouse", value=url) from None
        except duckdb.CatalogException:
            problem, remedy = "has no tables of this version", f"python -m schemas create --warehouse={url}"
            raise UsageError(problem, remedy, option="--warehouse", value=url) from None

    def _path(self, url: str) -> str:
        path = file.path(url)
        if path is None:
            rest = re.sub("^duckdb:/*", "", url)
            form = f"duckdb:///{rest}" if rest and "://" not in rest and "@" not in rest else self.url_form
            raise UsageError("is not the URL of a file", f"give {form}", option="--warehouse", value=url)
        if _PARAMETERS.search(path):
            remedy = f"give duckdb:///{_PARAMETERS.sub('', path)}"
            raise UsageError("has parameters, which a file does not take", remedy, option="--warehouse", value=url)
        path = os.path.abspath(path)
        if not is_encodable(path):
            problem, remedy = "is in a folder whose name is not UTF-8", "name a file in another one"
            raise UsageError(problem, remedy, option="--warehouse", value=path)
        return path
