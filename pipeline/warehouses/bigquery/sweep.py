"""The end of a job's history: keyed rows that only older jobs wrote are removed, and `jobs` gets `history_done`.

A job that has read the whole log has written every row that is still true, at versions of its own generation. What it
did not write since is no longer true. Such rows are found by `updated_at`, and removed by deletes at the lowest version
of the generation: under whatever this job writes, over everything before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection

from pipeline import work_items
from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery import statements
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.queries import query, query_freshest
from pipeline.warehouses.bigquery.query_step import QueryFn
from pipeline.warehouses.bigquery.sink import UpsertRows
from pipeline.work_items import Remainders
from schemas.tables import KEYED, Table
from transforms import windows
from transforms.core.rows import Upsert

_MARGIN_US: Final = 5 * 60 * 1_000_000
"""How far clocks of workers may be ahead of BigQuery's, and an older job's last writes may come after this one's start.
Rows that this job wrote meanwhile get a delete, too, which cannot remove them."""
_PAGE: Final = 50_000
"""So many keys one query gives: each query reads the keys of the whole table."""
_DELETE_BYTES: Final = 50
"""What a delete has besides its key, at most."""


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
        before = written | "Before" >> beam.Map(_before).with_output_types(int)
        removed = [
            before | f"Sweep{table.name.title()}" >> _SweepTable(self.dataset, table, self.job) for table in KEYED
        ]
        swept = tuple(removed) | "Swept" >> windows.AfterHistory(self.job, bounded=self.job.bounded)
        return swept | "HistoryDone" >> beam.ParDo(_HistoryDoneFn(self.dataset))


def _before(job: JobRun) -> int:
    """When a row that the job has written was last written, at the earliest, in microseconds."""
    return job.generation + _MARGIN_US


class _SweepTable(beam.PTransform):
    """A time in microseconds → the numbers of deletes that were accepted, of the rows of a keyed table that were last
    written before it."""

    def __init__(self, dataset: Dataset, table: Table, job: JobRun) -> None:
        super().__init__()
        self.obsolete = _ObsoleteKeysFn(dataset, table)
        self.deletes = UpsertRows(dataset, table, job)

    def expand(self, before: PCollection[int]) -> PCollection[int]:
        deletes = before | "ObsoleteKeys" >> beam.ParDo(self.obsolete).with_output_types(Upsert)
        return (deletes | "Remove" >> self.deletes)[UpsertRows.ACCEPTED]


class UnreadKeys(msgspec.Struct, frozen=True, array_like=True):
    """The keys of a table after this one; all where it is empty."""

    after: tuple[str, ...] = ()
    is_done: bool = False


class _Unread(Remainders[UnreadKeys]):
    nothing = UnreadKeys(is_done=True)

    def initial_restriction(self, before: int) -> UnreadKeys:
        return UnreadKeys()


class _ObsoleteKeysFn(QueryFn):
    """A time in microseconds → the deletes of the rows that were last written before it, in the order of their keys, a
    page of them at a time. A page that is asked for again has the same keys, but for those that were deleted."""

    def __init__(self, dataset: Dataset, table: Table) -> None:
        super().__init__(dataset)
        self.table = table

    def process(
        self,
        before: int,
        tracker: Any = beam.DoFn.RestrictionParam(_Unread()),  # noqa: B008
    ) -> Iterator[Upsert]:
        size = 0
        while not (unread := tracker.current_restriction()).is_done:
            keys = self._page(before, unread.after)
            for key in keys:
                if size >= work_items.BYTES:
                    tracker.defer_remainder()
                    return
                if not tracker.try_claim(UnreadKeys(key)):
                    return
                size += sum(map(len, key)) + _DELETE_BYTES
                yield Upsert(key, (), None)
            if len(keys) < _PAGE:
                tracker.try_claim(_Unread.nothing)

    def _page(self, before: int, after: tuple[str, ...]) -> list[tuple[str, ...]]:
        statement = statements.keys_written_before(self.table, str(self.dataset), _PAGE, is_first=not after)
        key: dict[str, int | str] = {f"after_{number}": value for number, value in enumerate(after)}
        parameters = {"before": before, **key}
        return [row.values() for row in query_freshest(self.client, statement, self.table, self.dataset, parameters)]


class _HistoryDoneFn(QueryFn):
    def process(self, job: JobRun) -> None:
        query(self.client, statements.enter_history_done(str(self.dataset)), {"generation": job.generation})
