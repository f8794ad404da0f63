"""The end of a job's history: keyed rows that only older jobs believed are removed, and `jobs` says that it is through.

A job that has read the whole log has written every row that is still true, at versions of its own generation. What it
did not write since is no longer true. Such rows are found by `updated_at`, and removed by deletes at the lowest version
of the generation: under whatever this job writes, over everything before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from pipeline.warehouses.base import Job
from pipeline.warehouses.bigquery import statements
from pipeline.warehouses.bigquery.queries import freshest, query
from pipeline.warehouses.bigquery.sink import UpsertRows
from schemas import bigquery
from schemas.bigquery import Dataset
from schemas.tables import BY_NAME, KEYED
from transforms.core.rows import Upsert

_MARGIN_US: Final = 5 * 60 * 1_000_000
"""How far clocks of workers may be ahead of BigQuery's, and an older job's last writes may come after this one's start.
Rows that this job wrote meanwhile get a delete, too, which cannot remove them."""

_END_OF_HISTORY_S: Final = 0
"""History has the minimum timestamp, and what is made of it those of the windows thereabouts, 290,000 years ago; live
messages have those of today. Any time between the two separates them: the epoch."""


class Sweep(beam.PTransform):
    """The numbers of keyed rows that were taken → nothing: once all rows that the history gives are written, removes
    those that only older jobs wrote, and then enters that the history is through.

    That moment is the watermark's. History holds it at the minimum timestamp until it is read, each window that gathers
    its facts holds it until it has fired, and so does every row until its bundle has written it. So a mark at the epoch
    comes through a grouping when, and only when, all of that is done; in a bounded job that is its end. The mark is one
    element, grouped once: what live messages write later meets no second one, nor does an update of the job on
    Dataflow, which makes no new one. If a bundle is tried again, the same deletes are written again.
    """

    def __init__(self, dataset: Dataset, job: Job) -> None:
        super().__init__()
        self.dataset = dataset
        self.job = job

    def expand(self, taken: PCollection[int]) -> PCollection:
        mark = taken.pipeline | "Job" >> beam.Create([self.job]) | "Mark" >> beam.Map(_mark)
        written = (mark, taken) | "Written" >> _Behind()
        names = [table.name for table in KEYED]
        keys = written | "FindKeys" >> beam.ParDo(_FindKeysFn(self.dataset)).with_outputs(*names)
        removed = [
            keys[name]
            | f"Spread{name.title()}" >> beam.Reshuffle()
            | f"Remove{name.title()}" >> UpsertRows(self.dataset, BY_NAME[name], self.job)
            for name in names
        ]
        swept = (written, *(outputs[UpsertRows.TAKEN] for outputs in removed)) | "Swept" >> _Behind()
        return swept | "HistoryDone" >> beam.ParDo(_HistoryDoneFn(self.dataset))


class _Behind(beam.PTransform):
    """(mark, *others) → the mark, once the watermark of all the others is past it."""

    def expand(self, pcollections: Iterable[PCollection]) -> PCollection[tuple[str, Job]]:
        mark, *others = pcollections
        mark |= "Window" >> beam.WindowInto(FixedWindows(1))
        held = [
            other
            | f"Hold{number}" >> beam.ParDo(_HoldFn()).with_output_types(tuple[str, Job])
            | f"HeldWindow{number}" >> beam.WindowInto(FixedWindows(1))
            for number, other in enumerate(others)
        ]
        return (
            (mark, *held)
            | "Both" >> beam.Flatten()
            | "Wait" >> beam.GroupByKey()
            | "Mark" >> beam.FlatMapTuple(_marks).with_output_types(tuple[str, Job])
        )


def _mark(job: Job) -> TimestampedValue[tuple[str, Job]]:
    return TimestampedValue(("", job), _END_OF_HISTORY_S)


def _marks(key: str, jobs: Iterable[Job]) -> Iterator[tuple[str, Job]]:
    return ((key, job) for job in jobs)


class _HoldFn(beam.DoFn):
    """Lets nothing through but the watermark."""

    def process(self, _: Any) -> None: ...


class _QueryFn(beam.DoFn):
    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def setup(self) -> None:
        self.client = bigquery.connect(self.dataset.project)

    def teardown(self) -> None:
        self.client.close()


class _FindKeysFn(_QueryFn):
    """On each keyed table's name, what removes the rows that the job has not written."""

    def process(self, mark: tuple[str, Job]) -> Iterator[TaggedOutput]:
        before = mark[1].generation + _MARGIN_US
        for table in KEYED:
            statement = statements.keys_written_before(table, str(self.dataset))
            with freshest(self.client, table, self.dataset):
                keys = query(self.client, statement, {"before": before})
            for key in keys:
                yield TaggedOutput(table.name, Upsert(key.values(), (), None))


class _HistoryDoneFn(_QueryFn):
    def process(self, mark: tuple[str, Job]) -> None:
        query(self.client, statements.enter_history_done(str(self.dataset)), {"generation": mark[1].generation})
