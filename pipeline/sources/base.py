"""What every source can do."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any, ClassVar, Protocol

import apache_beam as beam

from pipeline.job_kind import JobKind
from pipeline.warehouses import JobRun, Warehouse


class Source(Protocol):
    """Where messages come from: a value that is made from checked options, and that a job reads once.

    It can be pickled, since its transform goes to workers. What it holds open belongs to the process, not to the value.
    """

    @property
    def label(self) -> str:
        """The name of the source in the labels of its steps (`ReadFiles`, `ParseFiles`): a job may have several."""

    @property
    def bounded(self) -> bool:
        """Whether it ends by itself."""

    @property
    def may_be_late(self) -> bool:
        """Whether a message may come behind the watermark: its calls are then stamped with the time at which they
        arrive."""

    @property
    def reads_warehouse(self) -> bool:
        """Whether its messages are in the warehouse: a job on them alone needs one that was written."""

    @property
    def bytes(self) -> int:
        """How many bytes it has to read, as they are stored; 0 where it has no files, or no end."""
        return 0

    def check(self) -> None:
        """Raises UsageError where the source cannot be read. It is called once, before the job writes anything."""

    def read(self, warehouse: Warehouse, job: JobRun) -> beam.PTransform:
        """PBegin → `Received`. The job runs on the warehouse, from which some sources read."""

    def read_blocks(self, job: JobRun) -> beam.PTransform | None:
        """PBegin → `Messages`, as `ReadBlocks` takes them; None where messages come one by one."""

    def stop(self) -> None:
        """Has an unbounded source read no more. What it has read is still written, and then its output ends. Any
        thread, and a signal's handler, may call it."""

    def close(self) -> int:
        """Lets go of what this process holds of the source, whatever became of the job. Returns how many messages were
        written and could not be acknowledged: they come again, and count once."""

    def explain(self) -> Exception | None:
        """Why the source could not go on, in words for the user; None where it has not failed. It is asked when a job
        has failed, before `close`."""

    def likely_mistake(self) -> str:
        """What its messages look like that is not one JSON object each, in words for the user; empty where they look
        right. It is asked when most of them were refused."""
        return ""


class BoundedSource:
    """What the sources share that end by themselves, whose process holds nothing of them: each is checked when it is
    made."""

    bounded: ClassVar[bool] = True
    may_be_late: ClassVar[bool] = False
    reads_warehouse: ClassVar[bool] = False

    @property
    def bytes(self) -> int:
        return 0

    def check(self) -> None:
        pass

    def read_blocks(self, job: JobRun) -> beam.PTransform | None:
        return None

    def stop(self) -> None:
        """It ends by itself."""

    def close(self) -> int:
        return 0

    def explain(self) -> Exception | None:
        return None

    def likely_mistake(self) -> str:
        return ""


class SourceKind(Protocol):
    """A kind of source, by the option that gives one."""

    @property
    def option(self) -> str:
        """The option's name, without its dashes."""

    @property
    def usage(self) -> str:
        """The option as the usage line shows it."""

    @property
    def bounded(self) -> bool:
        """Whether its sources end by themselves."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can read its sources: Dataflow then cannot, and its template has no such option."""

    def add_option(self, group: argparse._ArgumentGroup) -> None:
        """Declares the option, whose default is None."""

    def check(self, value: Any) -> None:
        """Raises UsageError where the option's value is wrong by itself, without a look at anything outside."""

    def source(self, value: Any, kind: JobKind, connections: Collection[str]) -> Source:
        """The source that the option's value asks for, in a job of that kind. `connections` are the names of the
        configured ones. Raises UsageError where a job of that kind cannot read it."""
