"""The log of earlier jobs, read from BigQuery's `identity_calls`."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PBegin, PCollection

from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery import statements
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.queries import query
from pipeline.warehouses.bigquery.query_step import QueryFn
from pipeline.warehouses.bigquery.read_rows import ReadRows, ReadRowsFn
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
            | "Restriction" >> beam.ParDo(_RestrictionFn(self.dataset)).with_output_types(str)
            | "Rows" >> ReadRows(_ReadFn(self.dataset, present=self.job.rereads_log)).with_output_types(Received)
        )


def written_until(log_until: Timestamp) -> str:
    """What a row must meet to have been in the log by then."""
    return f"written_at <= CAST('{times.iso(log_until)}' AS TIMESTAMP)"


class _RestrictionFn(QueryFn):
    """Gives what a row must meet to be read; nothing where there is none."""

    def process(self, job: JobRun) -> Iterator[str]:
        log_until = job.log_until
        if job.rereads_log:
            parameters = {"generation": job.generation, "rules_version": RULES_VERSION}
            query(self.client, statements.enter_rules_version(str(self.dataset)), parameters)
            (end,) = query(self.client, statements.end_of_log(str(self.dataset)))
            log_until = end.log_until
        if log_until is not None:
            yield written_until(log_until)


class _ReadFn(ReadRowsFn):
    """Gives the calls of the log."""

    def __init__(self, dataset: Dataset, *, present: bool) -> None:
        super().__init__(dataset, IDENTITY_CALLS, ["payload", "connection"], present=present)

    def values(self, rows: pa.RecordBatch) -> Iterator[Received]:
        payloads = rows.column("payload").cast(pa.binary()).to_pylist()
        for payload, connection in zip(payloads, rows.column("connection").to_pylist(), strict=True):
            self.tally.received(metrics.LOG_ROWS)
            yield Received(payload, connection=connection)
