"""ReadBlocks: Parse and Classify in one step, for sources whose messages come many at a time.

Events go on in blocks of columns, which a warehouse can write as they are; everything else goes on one by one, as it
comes out of `Parse` and `Classify`. What becomes of a message is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms import metrics
from transforms.classify import Classify, ClassifyFn
from transforms.core.reader import Reader, Received, may_have_items
from transforms.core.rows import Append
from transforms.event_blocks import EventBlock, Unread
from transforms.ordinary_events import Message, OrdinaryEvents, payload, received
from transforms.parse import ParseFn

Messages: TypeAlias = list[bytes] | list[Received]
"""Messages without attributes and time of publication, each as its bytes; or those that are more than their bytes."""
_BLOCK_BYTES: Final = 16_000_000
"""Events of so many bytes go on together at most, but for the last message: a batch may be many times its size."""


class ReadBlocks(beam.PTransform):
    """`Messages` → on `EVENTS` an `EventBlock` of the pages, screens and tracks among them; on `IDENTITY_CALLS` and
    `DEAD_LETTERS` what `Classify` and `Parse` give there."""

    EVENTS, IDENTITY_CALLS, DEAD_LETTERS = OUTPUTS = Classify.OUTPUTS

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.fn = _ReadBlockFn(reader)

    def expand(self, messages: PCollection[Messages]) -> dict[str, PCollection]:
        outputs = messages | "Read" >> beam.ParDo(self.fn).with_outputs(*self.OUTPUTS[1:], main=self.EVENTS)
        return {name: outputs[name] for name in self.OUTPUTS}


class _ReadBlockFn(metrics.CountingFn):
    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader
        self.parse, self.classify = ParseFn(reader), ClassifyFn()
        self.parse.tally = self.classify.tally = self.tally

    def process(self, messages: Messages) -> Iterator[EventBlock | TaggedOutput]:
        unread = Unread.of(self.reader, [*self._unfolded(messages)])
        self._count(unread.ordinary)
        start = size = 0
        events: list[tuple[int, Append]] = []
        for index in unread.others():
            for output in self._outputs(unread.messages[index]):
                if isinstance(output, TaggedOutput):
                    yield output
                    continue
                events.append((index, output))
                size += output.size
                if size >= _BLOCK_BYTES:
                    yield unread.block(start, index, events)
                    start, size, events = index, 0, []
        rest = unread.block(start, len(unread.messages), events)
        if len(rest):
            yield rest

    def _unfolded(self, messages: Messages) -> Iterator[Message]:
        """The messages, and in the place of an array or a batch its items."""
        for message in messages:
            items: list[Received] = []
            if may_have_items(payload(message)):
                items = self.reader.items(received(message))
            if items:
                yield from items
            else:
                yield message

    def _outputs(self, message: Message) -> Iterator[Append | TaggedOutput]:
        for read in self.parse.process(received(message)):
            if isinstance(read, TaggedOutput):
                yield read
            else:
                yield from self.classify.process(read)

    def _count(self, ordinary: OrdinaryEvents) -> None:
        self.tally[metrics.READ.name] += len(ordinary.indexes)
        for type_, count in ordinary.types().items():
            self.tally[metrics.TYPES.of(type_)] += count
