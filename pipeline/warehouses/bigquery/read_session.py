"""Tables read by BigQuery's Storage Read API.

https://cloud.google.com/bigquery/docs/reference/storage
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import pyarrow as pa
from google.api_core.exceptions import FailedPrecondition, NotFound
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.types import DataFormat, ReadSession

from pipeline.warehouses.bigquery.catalog import usable
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.news import NEWS
from schemas.tables import Table

_BATCH_ROWS: Final = 1_000
GONE: Final = (FailedPrecondition, NotFound)
"""What reading a stream fails with whose session has expired, six hours after it was opened: it answers `session
expired at …`, and later no longer knows the stream.
https://github.com/GoogleCloudDataproc/spark-bigquery-connector/issues/684"""


def open_stream(
    client: BigQueryReadClient, dataset: Dataset, table: Table, columns: Sequence[str], restriction: str
) -> str:
    """Opens a session, a view of the table as it is now, with one stream; returns the stream's name, empty where there
    are no rows. `restriction` is what a row must meet. Raises UnusableDatasetError where the table is missing, or not
    to be read, and is no news."""
    project, name = dataset
    wanted = ReadSession(
        table=f"projects/{project}/datasets/{name}/tables/{table.name}",
        data_format=DataFormat.ARROW,
        read_options=ReadSession.TableReadOptions(selected_fields=columns, row_restriction=restriction),
    )
    open_session = partial(
        client.create_read_session, parent=f"projects/{project}", read_session=wanted, max_stream_count=1
    )
    with usable():
        session = NEWS.once_known(open_session)
    return session.streams[0].name if session.streams else ""


def record_batches(client: BigQueryReadClient, stream: str, offset: int) -> Iterator[pa.RecordBatch]:
    """The rows of a stream from this one on, a thousand at a time at most. Google's client continues at the row where a
    broken stream ended. Raises one of `GONE` where the session has expired."""
    schema = None
    responses = client.read_rows(stream, offset)
    try:
        for response in responses:
            if schema is None:  # only the first of a stream must have it
                schema = pa.ipc.read_schema(pa.py_buffer(response.arrow_schema.serialized_schema))
            rows = pa.ipc.read_record_batch(pa.py_buffer(response.arrow_record_batch.serialized_record_batch), schema)
            for first in range(0, rows.num_rows, _BATCH_ROWS):  # an answer may have 10 MB
                yield rows.slice(first, _BATCH_ROWS)
    finally:
        responses.cancel()  # where the rest is read later
