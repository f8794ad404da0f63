"""Classify: calls to events and entries of the identity log."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms import metrics
from transforms.core import call_rows
from transforms.core.dead_letters import Refused
from transforms.core.reader import Call
from transforms.core.rows import Append


class Classify(beam.PTransform):
    """`Call` → on `EVENTS` an `Append` of each page, screen and track; on `IDENTITY_CALLS` a `LogEntry` of each
    identify, group, alias, delete and Engage track; on `DEAD_LETTERS` an `Append` for what the log cannot hold."""

    EVENTS = "events"
    IDENTITY_CALLS = "identity_calls"
    DEAD_LETTERS = "dead_letters"
    OUTPUTS = (EVENTS, IDENTITY_CALLS, DEAD_LETTERS)

    def __init__(self) -> None:
        super().__init__()
        self.fn = ClassifyFn()

    def expand(self, calls: PCollection[Call]) -> dict[str, PCollection]:
        outputs = calls | "Sort" >> beam.ParDo(self.fn).with_outputs(*self.OUTPUTS[1:], main=self.EVENTS)
        return {name: outputs[name] for name in self.OUTPUTS}


class ClassifyFn(metrics.CountingFn):
    """`Classify` of one call; `ReadBlocks` runs it, too."""

    def process(self, call: Call) -> Sequence[Append | TaggedOutput]:
        try:
            event, entry = call_rows.rows(call)
        except Refused as refused:
            self.tally.refused(refused.reason.value)
            return (TaggedOutput(Classify.DEAD_LETTERS, Append(call_rows.refused_call(call, refused))),)
        if entry is None:
            return () if event is None else (event,)
        logged = TaggedOutput(Classify.IDENTITY_CALLS, entry)
        return (logged,) if event is None else (event, logged)
