"""Tables read in parallel, by BigQuery's Storage Read API.

https://cloud.google.com/bigquery/docs/reference/storage
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.types import DataFormat, ReadSession

from pipeline.warehouses.bigquery.catalog import Dataset, usable
from pipeline.warehouses.bigquery.news import NEWS
from schemas.tables import Table


def streams(
    client: BigQueryReadClient, dataset: Dataset, table: Table, columns: Sequence[str], restriction: str
) -> Iterator[str]:
    """Opens a session, a view of the table as it is now, and gives the names of its streams; BigQuery chooses their
    number by the table's size. `restriction` is what a row must meet; empty for all. Raises UnusableDatasetError where
    the table is missing, or not to be read, and is no news."""
    project, name = dataset
    wanted = ReadSession(
        table=f"projects/{project}/datasets/{name}/tables/{table.name}",
        data_format=DataFormat.ARROW,
        read_options=ReadSession.TableReadOptions(selected_fields=columns, row_restriction=restriction),
    )
    with usable():
        session = NEWS.once_known(lambda: client.create_read_session(parent=f"projects/{project}", read_session=wanted))
    for stream in session.streams:
        yield stream.name


def record_batches(client: BigQueryReadClient, stream: str) -> Iterator[pa.RecordBatch]:
    """The rows of a stream. Google's client continues at the row where a broken stream ended."""
    schema = None
    for response in client.read_rows(stream):
        if schema is None:  # only the first of a stream must have it
            schema = pa.ipc.read_schema(pa.py_buffer(response.arrow_schema.serialized_schema))
        rows = pa.py_buffer(response.arrow_record_batch.serialized_record_batch)
        yield pa.ipc.read_record_batch(rows, schema)
