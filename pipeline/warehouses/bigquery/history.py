"""The log of earlier jobs, read from BigQuery's `identity_calls` in parallel, by its Storage Read API.

https://cloud.google.com/bigquery/docs/reference/storage
"""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PBegin, PCollection
from google.cloud.bigquery_storage_v1.types import DataFormat, ReadSession

from pipeline.progress import TALLY
from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery.clients import read_client
from schemas.bigquery import Dataset
from schemas.tables import IDENTITY_CALLS, Timestamp
from transforms.core import times
from transforms.core.reader import Received


class ReadLog(beam.PTransform):
    """PBegin → `Received`: what the log held when the job started, with the minimum timestamp, so that it holds the
    watermark, and with it every window, until all of it is read."""

    def __init__(self, dataset: Dataset, job: JobRun) -> None:
        super().__init__()
        self.dataset = dataset
        self.job = job

    def expand(self, begin: PBegin) -> PCollection[Received]:
        return (
            begin
            | "Job" >> beam.Create([self.job])
            | "Streams" >> beam.ParDo(_StreamsFn(self.dataset))
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadFn())
        )


def written_until(log_until: Timestamp) -> str:
    """What a row must meet to have been in the log by then."""
    return f"written_at <= CAST('{times.iso(log_until)}' AS TIMESTAMP)"


class _StreamsFn(beam.DoFn):
    """Opens a session, a view of the table as it is now, and gives the names of its streams, which BigQuery chooses as
    many as the table's size asks for."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def setup(self) -> None:
        self.client = read_client()

    def process(self, job: JobRun) -> Iterator[str]:
        if job.log_until is None:
            return
        project, name = self.dataset
        wanted = ReadSession(
            table=f"projects/{project}/datasets/{name}/tables/{IDENTITY_CALLS.name}",
            data_format=DataFormat.ARROW,
            read_options=ReadSession.TableReadOptions(
                selected_fields=["payload", "connection"], row_restriction=written_until(job.log_until)
            ),
        )
        session = self.client.create_read_session(parent=f"projects/{project}", read_session=wanted)
        for stream in session.streams:
            yield stream.name

    def teardown(self) -> None:
        self.client.transport.close()


class _ReadFn(beam.DoFn):
    """Reads a stream. Google's client goes on at the row where a broken stream ended."""

    def setup(self) -> None:
        self.client = read_client()

    def process(self, stream: str) -> Iterator[Received]:
        schema = None
        for response in self.client.read_rows(stream):
            if schema is None:  # only the first of a stream must have it
                schema = pa.ipc.read_schema(pa.py_buffer(response.arrow_schema.serialized_schema))
            rows = pa.py_buffer(response.arrow_record_batch.serialized_record_batch)
            batch = pa.ipc.read_record_batch(rows, schema)
            payloads = batch.column("payload").cast(pa.binary()).to_pylist()
            for payload, connection in zip(payloads, batch.column("connection").to_pylist(), strict=True):
                TALLY.add(messages=1)
                yield Received(payload, connection=connection)

    def teardown(self) -> None:
        self.client.transport.close()
