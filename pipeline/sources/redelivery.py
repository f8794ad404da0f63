"""The dead letters of the warehouse as a source: what was refused is read again, as it was received."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from pipeline.errors import UsageError
from pipeline.job_kind import JobKind
from pipeline.sources.base import BoundedSource
from pipeline.warehouses import JobRun, Warehouse
from schemas.tables import DeadLetter
from transforms import metrics
from transforms.core import redelivery
from transforms.core.dead_letters import Reason
from transforms.core.reader import Received
from transforms.core.redelivery import UnreadableError

_ALL: Final = "all"


class RedeliveryKind:
    """`--redeliver`: dead letters, by their reasons."""

    option: Final = "redeliver"
    usage: Final = "--redeliver=REASON"
    bounded: Final = True
    is_local: Final = False

    def add_option(self, group: argparse._ArgumentGroup) -> None:
        group.add_argument(
            "--redeliver",
            metavar="REASON[,REASON...]|all",
            help="Instead of an input: reads the dead letters of those reasons again as they were received, for "
            "example after a change of the connections file; those that become rows leave dead_letters. "
            "Default: none. Example: --redeliver=unknown_connection",
        )

    def check(self, value: str) -> None:
        _reasons(value)

    def source(self, value: str, kind: JobKind, connections: Collection[str]) -> Redelivery:
        return Redelivery(_reasons(value))


def _reasons(value: str) -> tuple[str, ...] | None:
    """The reasons that are named; None for all. Raises UsageError."""
    names = [name.strip() for name in value.split(",")]
    if names == [_ALL]:
        return None
    known = [reason.value for reason in Reason]
    for name in names:
        if name not in known:
            problem = f"{name!r} is not a reason of a dead letter" if name else "a reason is empty"
            remedy = f"choose from {', '.join(known)}, or {_ALL} alone"
            raise UsageError(problem, remedy, option="--redeliver", value=value)
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Redelivery(BoundedSource):
    """The dead letters of these reasons, or of all (None), that the warehouse holds. They go to Reread, not to Parse: a
    letter leaves the table with the rows that it has become."""

    reasons: tuple[str, ...] | None

    label: ClassVar[str] = "DeadLetters"
    reads_warehouse: ClassVar[bool] = True

    def read(self, warehouse: Warehouse, job: JobRun) -> beam.PTransform:
        return _ReadMessages(warehouse, self.reasons)


class _ReadMessages(beam.PTransform):
    """PBegin → `Received` of each dead letter that can be read again."""

    def __init__(self, warehouse: Warehouse, reasons: tuple[str, ...] | None) -> None:
        super().__init__()
        self.letters = warehouse.read_dead_letters(reasons)

    def expand(self, begin: PBegin) -> PCollection[Received]:
        return begin | "Table" >> self.letters | "Message" >> beam.ParDo(_MessageFn()).with_output_types(Received)


class _MessageFn(metrics.CountingFn):
    def process(self, letter: DeadLetter) -> Iterator[Received]:
        try:
            received = redelivery.received(letter)
        except UnreadableError as error:
            self.tally[metrics.UNREADABLE_LETTERS.of(error.cause.value)] += 1
            return
        self.tally[metrics.REREAD.name] += 1
        self.tally.received()
        yield received
