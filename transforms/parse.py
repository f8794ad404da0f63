"""Parse: messages to calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from schemas.segment import CALL_TYPES
from schemas.tables import DeadLetter, Timestamp
from transforms import metrics
from transforms.core.dead_letters import Stage
from transforms.core.reader import ID_FIELDS, TIME_FIELDS, Call, Disabled, Reader, ReadOutcome, Received
from transforms.core.rows import Append

_TYPES = {name: metrics.TYPES.of(name) for name in CALL_TYPES}
_UNUSABLE = {
    **{field: metrics.UNREADABLE_TIMES.of(field) for field in TIME_FIELDS},
    **{field: metrics.UNUSABLE_IDS.of(field) for field in ID_FIELDS},
}


class Parse(beam.PTransform):
    """`Received` → `Call`, and on `DEAD_LETTERS` an `Append` for each message, or item of a batch, that cannot be read.
    Every call gets its first outcome here where it is refused or disabled, else at its write."""

    CALLS = "calls"
    DEAD_LETTERS = "dead_letters"

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.fn = ParseFn(reader)

    def expand(self, received: PCollection[Received]) -> dict[str, PCollection]:
        outputs = received | "Read" >> beam.ParDo(self.fn).with_outputs(self.DEAD_LETTERS, main=self.CALLS)
        return {self.CALLS: outputs[self.CALLS], self.DEAD_LETTERS: outputs[self.DEAD_LETTERS]}


class ParseHistory(beam.PTransform):
    """`Received` from the log of earlier jobs → `Call`; with `as_of`, of each that happened until then. What the rules
    refuse by now is counted, and has its row in the log already."""

    def __init__(self, reader: Reader, as_of: Timestamp | None = None) -> None:
        super().__init__()
        self.reader = reader
        self.as_of = as_of

    def expand(self, received: PCollection[Received]) -> PCollection[Call]:
        return received | "Read" >> beam.ParDo(_ParseHistoryFn(self.reader, self.as_of))


class ParseFn(metrics.CountingFn):
    """`Parse` of one message; `ReadBlocks` runs it, too."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def process(self, received: Received) -> Iterable[Call | TaggedOutput]:
        outcomes = self.reader.read(received)
        if not isinstance(outcomes, tuple):
            return self._outputs(outcomes)
        output = self._output(outcomes[0])  # the one call of an ordinary message
        return () if output is None else (output,)

    def _outputs(self, outcomes: Iterable[ReadOutcome]) -> Iterator[Call | TaggedOutput]:
        """One at a time: what a message becomes may be many times its size."""
        empty = True
        for outcome in outcomes:
            empty = False
            output = self._output(outcome)
            if output is not None:
                yield output
        if empty:
            self.tally[metrics.EMPTY.name] += 1

    def _output(self, outcome: ReadOutcome) -> Call | TaggedOutput | None:
        tally = self.tally
        tally[metrics.READ.name] += 1
        if isinstance(outcome, DeadLetter):
            tally.refused(outcome.reason)
            return TaggedOutput(Parse.DEAD_LETTERS, Append(outcome))
        tally[_TYPES[outcome.type]] += 1
        if isinstance(outcome, Disabled):
            tally[metrics.OUTCOMES.of("disabled")] += 1
            return None
        for field in outcome.unusable:
            tally[_UNUSABLE[field]] += 1
        return outcome


class _ParseHistoryFn(metrics.CountingFn):
    def __init__(self, reader: Reader, as_of: Timestamp | None) -> None:
        super().__init__()
        self.reader = reader
        self.as_of = as_of

    def process(self, received: Received) -> Iterator[Call]:
        for read in self.reader.read(received, Stage.HISTORY):
            self.tally[metrics.HISTORY.name] += 1
            if isinstance(read, Call):
                if self.as_of is not None and read.timestamp > self.as_of:
                    self.tally[metrics.LATER_HISTORY.name] += 1
                    continue
                if not self.reader.router.named(read.connection.name).configured:
                    self.tally[metrics.UNKNOWN_CONNECTIONS.name] += 1
                yield read
            else:
                reason = "disabled" if isinstance(read, Disabled) else read.reason
                self.tally[metrics.UNREADABLE_HISTORY.of(reason)] += 1
