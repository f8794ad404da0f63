"""ReadBlocks: Parse and Classify in one step, for sources whose messages come many at a time.

Calls go on in blocks of columns, which a warehouse can write as they are; dead letters go on one by one, as they come
out of `Parse` and `Classify`. What becomes of a message is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms import metrics
from transforms.call_blocks import CallBlock, IdentityBlock, Unread
from transforms.classify import Classify, ClassifyFn
from transforms.core.reader import Reader, Received, may_any_have_items, may_have_items
from transforms.core.rows import Append, LogEntry
from transforms.ordinary_calls import TOGETHER, Message, payload, payloads, received
from transforms.parse import ParseFn

Messages: TypeAlias = list[bytes] | list[Received]
"""Messages without attributes and time of publication, each as its bytes; or those that are more than their bytes."""
_BLOCK_BYTES: Final = 16_000_000
"""Calls of so many bytes go on together at most, but for the last message: a batch may be many times its size."""


class ReadBlocks(beam.PTransform):
    """`Messages` → on `EVENTS` a `CallBlock` of the pages, screens and tracks among them; on `IDENTITY_CALLS` an
    `IdentityBlock` of the rows of the log; on `DEAD_LETTERS` what `Parse` and `Classify` give there."""

    EVENTS, IDENTITY_CALLS, DEAD_LETTERS = OUTPUTS = Classify.OUTPUTS

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.fn = _ReadBlockFn(reader)

    def expand(self, messages: PCollection[Messages]) -> dict[str, PCollection]:
        others: Any = {self.IDENTITY_CALLS: IdentityBlock, self.DEAD_LETTERS: Append}
        read = beam.ParDo(self.fn).with_output_types(CallBlock, **others)
        outputs = messages | "Read" >> read.with_outputs(*others, main=self.EVENTS)
        return {name: outputs[name] for name in self.OUTPUTS}


class _Others:
    """What the messages that are no ordinary calls become, since the last block; of each the index of its message."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.size = 0
        self.events: list[tuple[int, Append]] = []
        self.identity_calls: list[tuple[int, LogEntry]] = []
        self.engage: list[LogEntry] = []

    def add(self, index: int, made: Append | LogEntry) -> None:
        if isinstance(made, Append):
            self.events.append((index, made))
            self.size += made.size
            return
        if made.append.outcome is None:
            self.engage.append(made)
        else:
            self.identity_calls.append((index, made))
        self.size += made.append.size

    def blocks(self, unread: Unread, end: int) -> Iterator[CallBlock | TaggedOutput]:
        """These and the ordinary calls of the messages up to `end`."""
        events = unread.event_block(self.start, end, self.events)
        identity_calls = unread.identity_block(self.start, end, self.identity_calls)
        if len(events):
            yield events
        if identity_calls.calls:
            yield TaggedOutput(ReadBlocks.IDENTITY_CALLS, identity_calls)
        if self.engage:
            yield TaggedOutput(ReadBlocks.IDENTITY_CALLS, unread.engage_block(self.engage))


class _ReadBlockFn(metrics.CountingFn):
    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader
        self.parse, self.classify = ParseFn(reader), ClassifyFn()
        self.parse.tally = self.classify.tally = self.tally

    def process(self, messages: Messages) -> Iterator[CallBlock | TaggedOutput]:
        unread = Unread.of(self.reader, [*self._unfolded(messages)])
        self._count(unread)
        others = _Others(0)
        for index in unread.others():
            for output in self._outputs(unread.messages[index]):
                if isinstance(output, TaggedOutput) and output.tag == ReadBlocks.DEAD_LETTERS:
                    yield output
                    continue
                others.add(index, output.value if isinstance(output, TaggedOutput) else output)
                if others.size >= _BLOCK_BYTES:
                    yield from others.blocks(unread, index)
                    others = _Others(index)
        yield from others.blocks(unread, len(unread.messages))

    def _unfolded(self, messages: Messages) -> Iterator[Message]:
        """The messages, and in the place of an array or a batch its items."""
        for start in range(0, len(messages), TOGETHER):
            some = messages[start : start + TOGETHER]
            if not may_any_have_items(payloads(some)):
                yield from some
                continue
            for message in some:
                items = self.reader.items(received(message)) if may_have_items(payload(message)) else []
                yield from items or (message,)

    def _outputs(self, message: Message) -> Iterator[Append | TaggedOutput]:
        for read in self.parse.process(received(message)):
            if isinstance(read, TaggedOutput):
                yield read
            else:
                yield from self.classify.process(read)

    def _count(self, unread: Unread) -> None:
        self.tally[metrics.READ.name] += len(unread.events.indexes) + len(unread.identity_calls.indexes)
        for types in (unread.events.types(), unread.identity_calls.types()):
            for type_, count in types.items():
                self.tally[metrics.TYPES.of(type_)] += count
