"""The history as a source: the calls that earlier jobs have logged in the warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import apache_beam as beam

from pipeline.sources.base import BoundedSource
from pipeline.warehouses import JobRun, Warehouse
from transforms.core.rules_version import RULES_VERSION


@dataclass(frozen=True)
class History(BoundedSource):
    """The log as it was when the job started; the warehouse was checked when the job was entered in it.

    Its elements have the minimum timestamp, so that every window of live messages waits until they are read.

    The label has the version of the rules. A runner does not run a step again that an updated job has run before: under
    the same rules the label is the same, and the log is not read a second time; under newer rules it is another, and
    the log is read again.
    """

    label: ClassVar[str] = f"HistoryForRules{RULES_VERSION}"

    def read(self, warehouse: Warehouse, job: JobRun) -> beam.PTransform:
        return warehouse.read_log(job)
