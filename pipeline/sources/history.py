"""The history as a source: the calls that earlier jobs have logged in the warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import apache_beam as beam

from pipeline.warehouses import JobRun, Warehouse
from transforms.core.rules_version import RULES_VERSION


@dataclass(frozen=True)
class History:
    """The log as it was when the job started.

    Its elements have the minimum timestamp, so that every window of live messages waits until they are read. A job that
    was updated under newer rules reads the log again: under a label of its own, since a runner does not run a step
    again that it has run before the update.
    """

    warehouse: Warehouse
    job: JobRun

    bounded: ClassVar[bool] = True
    lateness: ClassVar[float | None] = None

    @property
    def label(self) -> str:
        return f"HistoryForRules{RULES_VERSION}" if self.job.rereads_log else "History"

    def check(self) -> None:
        """The warehouse was checked when the job was entered in it."""

    def read(self) -> beam.PTransform:
        return self.warehouse.read_log(self.job)

    def stop(self) -> None:
        """It ends by itself."""

    def close(self) -> int:
        return 0

    def explain(self) -> Exception | None:
        return None
