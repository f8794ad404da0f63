"""BigQuery as the warehouse: its Storage Write and Read APIs, change data capture, and queries."""

from __future__ import annotations

from pipeline.warehouses.bigquery.kind import BigQueryKind
from pipeline.warehouses.bigquery.warehouse import BigQueryWarehouse

__all__ = ["BigQueryKind", "BigQueryWarehouse"]
