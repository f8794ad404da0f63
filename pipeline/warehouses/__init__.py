"""Warehouses: where rows go, and where the log of earlier jobs is read. A new one is a package, and a line here."""

from __future__ import annotations

from typing import Final

from pipeline.errors import UsageError
from pipeline.warehouses.base import (
    DEAD_LETTERS,
    LOGGED,
    REMOVED,
    Contents,
    JobRun,
    LogNotEmptyError,
    Warehouse,
    WarehouseKind,
)
from pipeline.warehouses.bigquery import BigQueryKind
from pipeline.warehouses.duckdb import DuckDbKind

__all__ = [
    "DEAD_LETTERS",
    "DEFAULT_DIALECT",
    "KINDS",
    "LOGGED",
    "REMOVED",
    "Contents",
    "JobRun",
    "LogNotEmptyError",
    "Warehouse",
    "WarehouseKind",
    "is_same",
    "kind_of",
    "open_warehouse",
    "url_forms",
]

KINDS: Final[tuple[WarehouseKind, ...]] = (DuckDbKind(), BigQueryKind())
"""In the order of help and errors."""
DEFAULT_DIALECT: Final = BigQueryKind.dialect
"""What `python -m schemas ddl` prints without --dialect."""


def url_forms() -> str:
    """The forms of a warehouse's URL, for help and errors."""
    return " or ".join(kind.url_form for kind in KINDS)


def kind_of(url: str) -> WarehouseKind:
    """The kind of warehouse that a URL names. Raises UsageError where there is none, or the URL is not of its form."""
    scheme = url.partition(":")[0]
    for kind in KINDS:
        if kind.scheme == scheme:
            kind.check(url)
            return kind
    first = KINDS[0]
    is_path = ":" not in url and url
    remedy = f"{first.scheme}:///{url}" if is_path else url_forms()
    raise UsageError("is not a warehouse's URL", f"give {remedy}", option="--warehouse", value=url)


def is_same(url: str, other: str) -> bool:
    """Whether two URLs name one warehouse. Raises UsageError where one names none."""
    kind = kind_of(url)
    return kind is kind_of(other) and kind.place(url) == kind.place(other)


def open_warehouse(url: str, *, create: bool = True, update: bool = False) -> Warehouse:
    """The warehouse of a URL; `create` and `update` as in `WarehouseKind.open`. Raises UsageError."""
    return kind_of(url).open(url, create=create, update=update)
