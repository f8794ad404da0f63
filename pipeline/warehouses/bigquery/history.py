"""The log of earlier jobs, read from BigQuery's `identity_calls` in parallel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import TimestampedValue

from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery import read_session, statements
from pipeline.warehouses.bigquery.catalog import Dataset, connect
from pipeline.warehouses.bigquery.clients import read_client
from pipeline.warehouses.bigquery.queries import query
from schemas.tables import IDENTITY_CALLS, Timestamp
from transforms import metrics
from transforms.core import times
from transforms.core.reader import Received
from transforms.core.rules_version import RULES_VERSION


class ReadLog(beam.PTransform):
    """PBegin → `Received`: what the log held when the job started, with the minimum timestamp, so that it holds the
    watermark, and with it every window, until all of it is read.

    A job that was updated under newer rules (`rereads_log`) reads all that the log holds when this step runs, since the
    job before the update may have logged calls until then. Its watermark has long passed the minimum, and elements from
    there would be dropped as late; so these have the time at which they are read, which is never behind the watermark.
    When the reading begins, the entry in `jobs` gets the version of the rules: an update that Dataflow refuses leaves
    it as it is, and the next one reads the log.
    """

    def __init__(self, dataset: Dataset, job: JobRun) -> None:
        super().__init__()
        self.dataset = dataset
        self.job = job

    def expand(self, begin: PBegin) -> PCollection[Received]:
        return (
            begin
            | "Job" >> beam.Create([self.job])
            | "Streams" >> beam.ParDo(_StreamsFn(self.dataset)).with_output_types(str)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadFn(present=self.job.rereads_log)).with_output_types(Received)
        )


def written_until(log_until: Timestamp) -> str:
    """What a row must meet to have been in the log by then."""
    return f"written_at <= CAST('{times.iso(log_until)}' AS TIMESTAMP)"


class _StreamsFn(beam.DoFn):
    """Gives the names of the log's streams."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def setup(self) -> None:
        self.client = read_client()

    def process(self, job: JobRun) -> Iterator[str]:
        if job.rereads_log:
            self._enter_rules_version(job)
        elif job.log_until is None:
            return
        restriction = "" if job.rereads_log or job.log_until is None else written_until(job.log_until)
        yield from read_session.streams(
            self.client, self.dataset, IDENTITY_CALLS, ["payload", "connection"], restriction
        )

    def _enter_rules_version(self, job: JobRun) -> None:
        parameters = {"generation": job.generation, "rules_version": RULES_VERSION}
        with closing(connect(self.dataset.project)) as client:
            query(client, statements.enter_rules_version(str(self.dataset)), parameters)

    def teardown(self) -> None:
        self.client.transport.close()


class _ReadFn(metrics.CountingFn):
    """Reads a stream; with `present` each element has the time at which it is read."""

    def __init__(self, *, present: bool) -> None:
        super().__init__()
        self.present = present

    def setup(self) -> None:
        self.client = read_client()

    def process(self, stream: str) -> Iterator[Received | TimestampedValue]:
        for batch in read_session.record_batches(self.client, stream):
            payloads = batch.column("payload").cast(pa.binary()).to_pylist()
            for payload, connection in zip(payloads, batch.column("connection").to_pylist(), strict=True):
                self.tally.received()
                received = Received(payload, connection=connection)
                yield TimestampedValue(received, time.time()) if self.present else received

    def teardown(self) -> None:
        self.client.transport.close()
