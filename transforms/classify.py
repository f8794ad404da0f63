"""Classify: calls to events and entries of the identity log."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms import metrics
from transforms.core import call_rows
from transforms.core.dead_letters import Refused, Stage, dead_letter
from transforms.core.reader import Call
from transforms.core.rows import Append, LogEntry


class Classify(beam.PTransform):
    """`Call` → on `EVENTS` an `Append` of each page, screen and track; on `IDENTITY_CALLS` a `LogEntry` of each
    identify, group, alias, delete and Engage track; on `DEAD_LETTERS` an `Append` for what the log cannot hold."""

    EVENTS = "events"
    IDENTITY_CALLS = "identity_calls"
    DEAD_LETTERS = "dead_letters"
    OUTPUTS = (EVENTS, IDENTITY_CALLS, DEAD_LETTERS)

    def __init__(self) -> None:
        super().__init__()
        self.fn = _ClassifyFn()

    def expand(self, calls: PCollection[Call]) -> dict[str, PCollection]:
        outputs = calls | "Sort" >> beam.ParDo(self.fn).with_outputs(*self.OUTPUTS[1:], main=self.EVENTS)
        return {name: outputs[name] for name in self.OUTPUTS}


class _ClassifyFn(metrics.CountingFn):
    def process(self, call: Call) -> Sequence[Append | TaggedOutput]:
        try:
            return self._rows(call)
        except Refused as refused:
            return (TaggedOutput(Classify.DEAD_LETTERS, self._refuse(call, refused)),)

    def _rows(self, call: Call) -> Sequence[Append | TaggedOutput]:
        size = call_rows.size(call)
        kept = call.message, call.attributes, call.published_at, call.inherited
        event = call_rows.event(call)
        appended: tuple[Append, ...] = ()
        if event is not None:
            call_rows.check_size(event, call, call_rows.EVENT_COPIES * size)
            appended = (Append(event, "event", *kept, size),)
        if not call_rows.is_identity_call(call):
            return appended
        row = call_rows.identity_call(call)
        most = call_rows.IDENTITY_CALL_COPIES * size
        call_rows.check_size(row, call, most)
        outcome = "identity_call" if event is None else None
        append = Append(row, outcome, *kept, most)
        return (*appended, TaggedOutput(Classify.IDENTITY_CALLS, LogEntry(call=call, append=append)))

    def _refuse(self, call: Call, refused: Refused) -> Append:
        self.tally.refused(refused.reason.value)
        return Append(
            dead_letter(
                Stage.PARSE,
                refused,
                call.message,
                call.attributes,
                message_id=call.message_id,
                connection=call.connection.name,
                published_at=call.published_at,
                inherited=call.inherited,
            )
        )
