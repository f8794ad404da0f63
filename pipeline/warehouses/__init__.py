"""Warehouses: where rows go, and where the log of earlier jobs is read from. A new one is a module, and a line here."""

from __future__ import annotations

from pipeline.errors import UsageError
from pipeline.warehouses.base import Contents, Job, Warehouse
from pipeline.warehouses.duckdb import DuckDbWarehouse

__all__ = ["Contents", "Job", "Warehouse", "open_warehouse"]


def open_warehouse(url: str) -> Warehouse:
    """The warehouse of a URL. Raises UsageError where there is no such kind of warehouse."""
    scheme = url.partition(":")[0]
    if scheme == "duckdb":
        return DuckDbWarehouse.of(url)
    raise UsageError(
        f"this version writes no {scheme} warehouse", "give duckdb:///FILE", option="--warehouse", value=url
    )
