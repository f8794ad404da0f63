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

    Its elements have the minimum timestamp, so that every window of live messages waits until they are read.

    The label has the version of the rules. A runner does not run a step again that an updated job has run before: under
    the same rules the label is the same, and the log is not read a second time; under newer rules it is another, and
    the log is read again.
    """

    warehouse: Warehouse
    job: JobRun

    label: ClassVar[str] = f"HistoryForRules{RULES_VERSION}"
    bounded: ClassVar[bool] = True
    lateness: ClassVar[float | None] = None

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
