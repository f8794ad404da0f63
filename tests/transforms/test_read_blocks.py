"""ReadBlocks: in blocks, every message becomes what Parse and Classify make of it one by one, and is counted alike."""

from __future__ import annotations

import hashlib
import itertools
from random import Random
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from schemas.tables import Timestamp
from tests.histories import line, odd_line
from tests.transforms.core.calls import IDENTIFY, PAGE, TRACK
from tests.transforms.core.hostile import hostile
from transforms import metrics, read_blocks
from transforms.call_blocks import CallBlock, CallBlocks, IdentityBlock
from transforms.classify import Classify
from transforms.core.connections import Connection, Connections
from transforms.core.reader import OversizedMessage, Reader, Received
from transforms.core.rows import Append, LogEntry
from transforms.parse import Parse
from transforms.read_blocks import ReadBlocks

READER = Reader.of(Connections(connections=(Connection("site", ("s1",)), Connection("rest"))))
ENGAGE = {**TRACK, "context": {"personas": {"computation_class": "audience", "computation_key": "k"}}}


def messages() -> list[bytes]:
    rng = Random(3)
    calls = [{**PAGE, "messageId": str(number)} for number in range(50)]
    device = {"context": {"ip": "203.0.113.9"}, "receivedAt": "2023-11-14T22:15:00.000Z"}
    batches = [{"batch": calls}, {"batch": [*calls, IDENTIFY, {}, 5, {**TRACK, "context": []}], **device}]
    batches += [{"batch": []}, {"batch": 5}, {"batch": [TRACK], "context": {"page": {"path": "x" * 5_000}}}]
    plain = [line(call) for call in (PAGE, TRACK, IDENTIFY, ENGAGE, *batches)]
    plain += [line(calls), line([]), b'{"batch":[{"type":"track","event":"\\ud800"},' + line(PAGE) + b"]}"]
    return [*plain, *(hostile(rng) for _ in range(300)), *(odd_line(rng) for _ in range(300)), *plain]


def described(element: Append | LogEntry) -> str:
    """Short, and another for every other row and call."""
    append, call = (element.append, element.call) if isinstance(element, LogEntry) else (element, None)
    row = msgspec.json.encode((append.row, call))
    return f"{append.outcome} {hashlib.sha256(row + append.message).hexdigest()} {row[:40]!r}"


def results(received: list[Any], transform: beam.PTransform | None) -> dict[str, int]:
    """What the counters say once both ways have given the same rows."""
    one_by_one = [message if isinstance(message, Received) else Received(message) for message in received]
    expected: dict[str, list[str]] = {name: [] for name in Classify.OUTPUTS}
    for name, element in itertools.chain.from_iterable(map(_outputs, one_by_one)):
        expected[name].append(described(element))
    pipeline = TestPipeline(runner="FnApiRunner")
    if transform is None:
        parsed = pipeline | beam.Create(one_by_one) | Parse(READER)
        _ = parsed[Parse.CALLS] | Classify()
    else:
        outputs = pipeline | beam.Create([received]) | transform
        events = outputs[ReadBlocks.EVENTS] | "Events" >> beam.FlatMap(_events).with_output_types(Append)
        calls = outputs[ReadBlocks.IDENTITY_CALLS] | "Entries" >> beam.FlatMap(_entries).with_output_types(LogEntry)
        for name, elements in {**outputs, ReadBlocks.EVENTS: events, ReadBlocks.IDENTITY_CALLS: calls}.items():
            rows = elements | f"Describe {name}" >> beam.Map(described)
            assert_that(rows, equal_to(expected[name]), name)
    return metrics.counts(pipeline.run().metrics())


def _outputs(received: Received) -> list[tuple[str, Any]]:
    parse, classify = Parse(READER).fn, Classify().fn
    outputs: list[tuple[str, Any]] = []
    for read in parse.process(received):
        made = [read] if isinstance(read, beam.pvalue.TaggedOutput) else classify.process(read)
        outputs += [
            (each.tag, each.value) if isinstance(each, beam.pvalue.TaggedOutput) else (Classify.EVENTS, each)
            for each in made
        ]
    return outputs


def _events(block: CallBlock) -> list[Append]:
    assert len(block) > 0
    return list(CallBlocks([block]))


def _entries(block: IdentityBlock) -> list[LogEntry]:
    assert len(block.calls) > 0
    return [
        LogEntry(call=call, append=append)
        for call, append in zip(block.calls, CallBlocks([block.rows]), strict=True)
        if append.outcome == block.outcome
    ]


@pytest.mark.parametrize("block_bytes", [16_000_000, 2_000])
def test_a_block_becomes_what_its_messages_become(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_blocks, "_BLOCK_BYTES", block_bytes)
    counts = results(messages(), ReadBlocks(READER))
    assert counts == results(messages(), None)
    assert counts[metrics.READ.name] > 600


def test_messages_of_a_source_become_what_they_become_one_by_one() -> None:
    """With attributes and a time of publication, as a directory delivers them."""
    published_at = Timestamp(1_700_000_100_000_000)
    received = [Received(message, {"connection": "site"}, published_at) for message in messages()]
    counts = results(received, ReadBlocks(READER))
    assert counts == results(received, None)
    assert counts[metrics.READ.name] > 600


def test_a_line_beyond_the_limit_is_refused() -> None:
    cut = Received(b'{"type":"page"', too_large=OversizedMessage(9_000_000, "00"))
    assert results([cut], ReadBlocks(READER))[metrics.DEAD_LETTERS.of("too_large")] == 1
