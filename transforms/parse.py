"""Parse: messages to calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from schemas.segment import CALL_TYPES
from schemas.tables import DeadLetter
from transforms import metrics
from transforms.core.dead_letters import Stage
from transforms.core.reader import Call, Disabled, Reader, ReadOutcome, Received
from transforms.core.rows import Append

_TYPES = {name: metrics.TYPES.of(name) for name in CALL_TYPES}


class Parse(beam.PTransform):
    """`Received` → `Call`, and on `DEAD_LETTERS` an `Append` for each message, or item of a batch, that cannot be read.
    Every call gets its first outcome here where it is refused or disabled, else at its write."""

    CALLS = "calls"
    DEAD_LETTERS = "dead_letters"

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def expand(self, received: PCollection[Received]) -> dict[str, PCollection]:
        outputs = received | "Read" >> beam.ParDo(_ParseFn(self.reader)).with_outputs(
            self.DEAD_LETTERS, main=self.CALLS
        )
        return {self.CALLS: outputs[self.CALLS], self.DEAD_LETTERS: outputs[self.DEAD_LETTERS]}


class ParseHistory(beam.PTransform):
    """`Received` from the log of earlier jobs → `Call`. What the rules refuse by now is counted, and has its row in the
    log already."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def expand(self, received: PCollection[Received]) -> PCollection[Call]:
        return received | "Read" >> beam.ParDo(_ParseHistoryFn(self.reader))


class _ParseFn(metrics.CountingFn):
    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def process(self, received: Received) -> Sequence[Call | TaggedOutput]:
        outcomes = self.reader.read(received)
        tally = self.tally
        tally[metrics.READ.name] += len(outcomes)
        if len(outcomes) == 1 and isinstance(outcomes[0], Call):
            tally[_TYPES[outcomes[0].type]] += 1
            return outcomes  # type: ignore[return-value]  # the one call of an ordinary message
        if not outcomes:
            tally[metrics.EMPTY.name] += 1
        return [output for outcome in outcomes for output in self._outputs(outcome)]

    def _outputs(self, outcome: ReadOutcome) -> Iterator[Call | TaggedOutput]:
        tally = self.tally
        if isinstance(outcome, DeadLetter):
            tally.refused(outcome.reason)
            yield TaggedOutput(Parse.DEAD_LETTERS, Append(outcome))
            return
        tally[_TYPES[outcome.type]] += 1
        if isinstance(outcome, Call):
            yield outcome
        else:
            tally[metrics.OUTCOMES.of("disabled")] += 1


class _ParseHistoryFn(metrics.CountingFn):
    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def process(self, received: Received) -> Iterator[Call]:
        for read in self.reader.read(received, Stage.HISTORY):
            self.tally[metrics.HISTORY.name] += 1
            if isinstance(read, Call):
                if not self.reader.router.named(read.connection.name).configured:
                    self.tally[metrics.UNKNOWN_CONNECTIONS.name] += 1
                yield read
            else:
                reason = "disabled" if isinstance(read, Disabled) else read.reason
                self.tally[metrics.UNREADABLE_HISTORY.of(reason)] += 1
