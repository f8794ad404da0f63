"""A local DuckDB file as the warehouse."""

from __future__ import annotations

from pipeline.warehouses.duckdb.kind import DuckDbKind
from pipeline.warehouses.duckdb.warehouse import DuckDbWarehouse

__all__ = ["DuckDbKind", "DuckDbWarehouse"]
