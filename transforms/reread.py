"""Reread: dead letters that are read again to what they have become, each in one piece, so that it can leave the table
together with its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms.classify import Classify
from transforms.core.reader import Reader, Received
from transforms.core.redelivery import Redelivered
from transforms.core.rows import Append, LogEntry
from transforms.parse import Parse


class Reread(beam.PTransform):
    """`Received` with a `dead_letter_id` → `Redelivered`. Counts and refuses what Parse and Classify do."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def expand(self, received: PCollection[Received]) -> PCollection[Redelivered]:
        return received | "Read" >> beam.ParDo(_RereadFn(self.reader)).with_output_types(Redelivered)


class _RereadFn(beam.DoFn):
    def __init__(self, reader: Reader) -> None:
        self.parse, self.classify = Parse(reader).fn, Classify().fn

    def process(self, received: Received) -> Iterator[Redelivered]:
        assert received.dead_letter_id is not None
        events: list[Append] = []
        identity_calls: list[LogEntry] = []
        dead_letters: list[Append] = []
        for output in self.parse.process(received):
            if isinstance(output, TaggedOutput):
                dead_letters.append(output.value)
                continue
            for row in self.classify.process(output):
                if not isinstance(row, TaggedOutput):
                    events.append(row)
                elif row.tag == Classify.IDENTITY_CALLS:
                    identity_calls.append(row.value)
                else:
                    dead_letters.append(row.value)
        yield Redelivered(received.dead_letter_id, events, identity_calls, dead_letters)

    def finish_bundle(self) -> Any:
        self.parse.finish_bundle()
        self.classify.finish_bundle()
