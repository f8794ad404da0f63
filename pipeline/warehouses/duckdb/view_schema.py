"""A schema of views in a DuckDB file, beside its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from duckdb import DuckDBPyConnection

from pipeline.warehouses.duckdb.sql import literal, quoted
from pipeline.warehouses.duckdb.transpile import transpiled
from schemas.views import View

_TRACKS: Final = "\nFROM tracks AS "
"""No constant of a text holds a line feed as it is."""


class DuckDbViewSchema:
    """The views of a schema, which is made where it is missing."""

    def __init__(self, connection: DuckDBPyConnection, name: str) -> None:
        self._connection = connection
        self._name = name
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}")

    def rows(self, statement: str) -> Iterator[tuple[Any, ...]]:
        return iter(self._connection.execute(transpiled(statement)).fetchall())

    def existing(self) -> Mapping[str, str]:
        query = (
            "SELECT view_name, coalesce(comment, '') FROM duckdb_views()"
            f" WHERE database_name = current_database() AND schema_name = {literal(self._name)}"
        )
        return dict(self._connection.execute(query).fetchall())

    def make(self, view: View) -> None:
        sql = transpiled(view.sql.replace(_TRACKS, _TRACKS.replace("tracks", "main.tracks")), pretty=True)
        self._connection.execute(f"CREATE OR REPLACE VIEW {self._path(view.name)} AS\n{sql}")
        self._connection.execute(f"COMMENT ON VIEW {self._path(view.name)} IS {literal(view.description)}")

    def drop(self, name: str) -> None:
        self._connection.execute(f"DROP VIEW {self._path(name)}")

    def _path(self, name: str) -> str:
        return f"{quoted(self._name)}.{quoted(name)}"
