"""`python -m schemas`: prints the DDL of a warehouse, or creates or upgrades one."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from schemas import ddl, tables, views
from schemas.ddl import IncompatibleSchemaError

_DATASET = re.compile(r"(?:[\w.:-]+\.)?\w+", re.ASCII)
_DUCKDB_URL = "duckdb:///relative.duckdb or duckdb:////absolute.duckdb"
_BIGQUERY_URL = "bigquery://PROJECT/DATASET"


class _Parser(argparse.ArgumentParser):
    """A parser that refuses a command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class _RefusalError(Exception):
    """Why a command cannot be done: its arguments are lines, one for each problem."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status: 2, with a line for each problem, where it cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "ddl":
            print("\n\n".join(_ddl(options.dialect, options.dataset)))
        else:
            print("\n".join(_create(options.warehouse, options.location)))
    except _RefusalError as refusal:
        for line in refusal.args:
            print(line if line.isprintable() else ascii(line)[1:-1], file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m schemas", description="The tables and views of a warehouse.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    told = "print the DDL of every table and view"
    command = commands.add_parser("ddl", help=told, description=told, allow_abbrev=False)
    command.add_argument("--dialect", choices=("bigquery", "duckdb"), default="bigquery", help="default: bigquery")
    command.add_argument("--dataset", metavar="[PROJECT.]DATASET", help="where BigQuery is to have them")

    told = "create the tables, columns and views that are missing; nothing is dropped"
    command = commands.add_parser("create", help=told, description=told, allow_abbrev=False)
    command.add_argument("--warehouse", required=True, metavar="URL", help=f"{_DUCKDB_URL}, or {_BIGQUERY_URL}")
    told = "where a new BigQuery dataset is to lie, such as EU or europe-west1; default: the multi-region US"
    command.add_argument("--location", metavar="LOCATION", help=told)
    return parser


def _ddl(dialect: str, dataset: str | None) -> Iterator[str]:
    if dialect == "duckdb":
        if dataset is not None:
            raise _RefusalError(
                f"--dataset={dataset}: DuckDB has no datasets; leave it out, or take --dialect=bigquery"
            )
        yield from map(ddl.duckdb, tables.ALL)
        yield from map(views.duckdb, views.ALL)
        return
    if dataset is not None and not _DATASET.fullmatch(dataset):
        raise _RefusalError(f"--dataset={dataset}: is no dataset; name it as DATASET or PROJECT.DATASET")
    for table in tables.ALL:
        yield f"{ddl.googlesql(table, dataset)};"
    for view in views.ALL:
        yield f"{views.googlesql(view, dataset)};"


def _create(url: str, location: str | None) -> Iterator[str]:
    option = f"--warehouse={url}"
    try:
        made = _created(url, location)
    except IncompatibleSchemaError as error:
        other = "dataset" if url.startswith("bigquery:") else "file"
        raise _RefusalError(
            *(f"{option}: {line}; name another {other}, or move this one away" for line in error.lines)
        ) from error
    yield from (f"created {each}" for each in made)
    yield f"{url} has {len(tables.ALL)} tables and {len(views.ALL)} views"


def _created(url: str, location: str | None) -> tuple[str, ...]:
    """What was made in a warehouse."""
    from schemas import bigquery, duckdb

    option = f"--warehouse={url}"
    dataset, file = bigquery.dataset(url), duckdb.path(url)
    if dataset is None and file is None:
        raise _RefusalError(f"{option}: is no warehouse; name {_DUCKDB_URL}, or {_BIGQUERY_URL}")
    try:
        if dataset is not None:
            return bigquery.create(bigquery.connect(dataset.project), dataset, location)
        if location is not None:
            raise _RefusalError(f"--location={location}: a file has no location; leave it out")
        assert file is not None
        with duckdb.connect(file) as connection:
            return duckdb.create(connection)
    except (bigquery.UnusableDatasetError, duckdb.UnusableFileError) as error:
        raise _RefusalError(f"{option}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
