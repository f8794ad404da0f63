"""The log of earlier jobs, read from a DuckDB file."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from pipeline.warehouses.base import JobRun
from pipeline.warehouses.duckdb.database import Database
from transforms import metrics
from transforms.core.reader import Received


class ReadLogTable(beam.PTransform):
    """PBegin → `Received`: what the log held when the job started."""

    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.file, self.job = file, job

    def expand(self, begin: PBegin) -> PCollection[Received]:
        return begin | "Job" >> beam.Create([self.job]) | "Log" >> beam.ParDo(_ReadLogFn(self.file))


class _ReadLogFn(metrics.CountingFn):
    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def process(self, job: JobRun) -> Iterator[Received]:
        if job.log_until is None:
            return
        for payload, connection in Database.of(self.file).log(job.log_until):
            self.tally.received(metrics.LOG_ROWS)
            yield Received(payload.encode(), connection=connection)
