"""The end of a job's history: keyed rows that only older jobs wrote are removed, and `jobs` gets `history_done`.

A job that has read the whole log has written every row that is still true, at versions of its own generation. What it
did not write since is no longer true. Such rows are found by `updated_at`, and removed by deletes at the lowest version
of the generation: under whatever this job writes, over everything before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery import statements
from pipeline.warehouses.bigquery.catalog import Dataset
from pipeline.warehouses.bigquery.queries import query, query_freshest
from pipeline.warehouses.bigquery.query_step import QueryFn
from pipeline.warehouses.bigquery.sink import UpsertRows
from schemas.tables import BY_NAME, KEYED
from transforms import windows
from transforms.core.rows import Upsert

_MARGIN_US: Final = 5 * 60 * 1_000_000
"""How far clocks of workers may be ahead of BigQuery's, and an older job's last writes may come after this one's start.
Rows that this job wrote meanwhile get a delete, too, which cannot remove them."""


class Sweep(beam.PTransform):
    """The numbers of keyed rows that were accepted → nothing: once all rows that the history gives are written, removes
    those that only older jobs wrote, and then enters that the history is through.

    If a bundle is tried again, the same deletes are written again.
    """

    def __init__(self, dataset: Dataset, job: JobRun) -> None:
        super().__init__()
        self.dataset = dataset
        self.job = job

    def expand(self, accepted: PCollection[int]) -> PCollection:
        written = accepted | "Written" >> windows.AfterHistory(self.job, bounded=self.job.bounded)
        names = [table.name for table in KEYED]
        find = beam.ParDo(_ObsoleteKeysFn(self.dataset)).with_output_types(Upsert, **dict.fromkeys(names, Upsert))
        deletes = written | "ObsoleteKeys" >> find.with_outputs(*names)
        removed = [
            deletes[name]
            | f"Spread{name.title()}" >> beam.Reshuffle()
            | f"Remove{name.title()}" >> UpsertRows(self.dataset, BY_NAME[name], self.job)
            for name in names
        ]
        deleted = tuple(outputs[UpsertRows.ACCEPTED] for outputs in removed)
        swept = deleted | "Swept" >> windows.AfterHistory(self.job, bounded=self.job.bounded)
        return swept | "HistoryDone" >> beam.ParDo(_HistoryDoneFn(self.dataset))


class _ObsoleteKeysFn(QueryFn):
    """`JobRun` → on each keyed table's name, the deletes of the rows that the job has not written."""

    def process(self, job: JobRun) -> Iterator[TaggedOutput]:
        before = job.generation + _MARGIN_US
        for table in KEYED:
            statement = statements.keys_written_before(table, str(self.dataset))
            for key in query_freshest(self.client, statement, table, self.dataset, {"before": before}):
                yield TaggedOutput(table.name, Upsert(key.values(), (), None))


class _HistoryDoneFn(QueryFn):
    def process(self, job: JobRun) -> None:
        query(self.client, statements.enter_history_done(str(self.dataset)), {"generation": job.generation})
