"""Warehouses: where rows go, and where the log of earlier jobs is read from. A new one is a module, and a line here."""

from __future__ import annotations

from pipeline.errors import UsageError
from pipeline.warehouses.base import Contents, JobRun, Warehouse
from pipeline.warehouses.bigquery import BigQueryWarehouse
from pipeline.warehouses.duckdb import DuckDbWarehouse

__all__ = ["Contents", "JobRun", "Warehouse", "open_warehouse"]


def open_warehouse(url: str, *, create: bool = True, update: bool = False) -> Warehouse:
    """The warehouse of a URL; `create` and `update` are those of `BigQueryWarehouse`. Raises UsageError where there is
    no such kind of warehouse."""
    scheme = url.partition(":")[0]
    if scheme == "duckdb":
        return DuckDbWarehouse.of(url)
    if scheme == "bigquery":
        return BigQueryWarehouse.of(url, create=create, update=update)
    remedy = "give duckdb:///FILE or bigquery://PROJECT/DATASET"
    raise UsageError(f"there is no {scheme} warehouse", remedy, option="--warehouse", value=url)
