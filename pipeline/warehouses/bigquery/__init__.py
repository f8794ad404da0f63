"""BigQuery as the warehouse: its Storage Write and Read APIs, change data capture, and queries.

Only `warehouse`, and what it imports, needs Google's clients: a kind of warehouse is there without them.
"""

from __future__ import annotations

from pipeline.warehouses.bigquery.kind import BigQueryKind

__all__ = ["BigQueryKind"]
