"""A step whose outbox is too much for one bundle puts it out page by page, and in the end all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.userstate import get_dofn_specs
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from transforms import paged_step
from transforms.coders import Sending, SendingStateCoder, StructCoder
from transforms.core.identity import chains
from transforms.core.identity.protocol import CHAINS, Deep, Label, ProtocolMessage
from transforms.keyed_step import KeyedStep
from transforms.paged_step import PagedStep, paged_fn
from transforms.windows import AfterHistory, Arrival

PAGE_BYTES = 1_000
AT = Timestamp(60)
NOW_S = 1_700_000_000.0


def edges(count: int, first: int = 0) -> list[Deep]:
    """Deep ids that make one contact, each with an edge to the next."""
    return [
        Deep(f"id{number}", 1, 1, True, {f"id{number + 1}": (number, f"m{number}")})
        for number in range(first, first + count)
    ]


@dataclass
class Bag:
    """A bag as a runner keeps it, in the encoding of its state."""

    spec: Any
    content: list[bytes] = field(default_factory=list)

    def read(self) -> list[Any]:
        return [self.spec.coder.decode(content) for content in self.content]

    def add(self, value: Any) -> None:
        self.content.append(self.spec.coder.encode(value))

    def clear(self) -> None:
        self.content.clear()


@dataclass
class Timer:
    due: Timestamp | None = None

    def set(self, at: Timestamp) -> None:
        self.due = at


class Key:
    """One key of the step on a runner that has one key in a bundle."""

    def __init__(self, step: paged_step.Step = chains.step, page_bytes: int = PAGE_BYTES) -> None:
        paged = PagedStep(
            step, chains.ChainsState, chains.ChainsOutbox, ProtocolMessage, page_bytes, clock=lambda: NOW_S
        )
        self.observed: list[Any] = []
        self.fn: Any = paged_fn(paged, self.observed.append)
        bags, _ = get_dofn_specs(self.fn)
        self.cells = {bag.name: Bag(bag) for bag in bags}
        self.timer = Timer()
        self.fn.setup()

    @property
    def kept(self) -> tuple[Bag, Bag, Timer]:
        return self.cells["state"], self.cells["waiting"], self.timer

    def window(self, inbox: Iterable[Deep]) -> list[TaggedOutput]:
        self.fn.start_bundle()
        return list(self.fn.process((CHAINS, inbox), AT, *self.kept))

    def pages(self, updated: Key | None = None) -> Iterator[list[TaggedOutput]]:
        """What the timers put out, each in a bundle of its own, until none is set."""
        while self.timer.due is not None:
            self.fn.start_bundle()
            self.timer.due = None
            yield [TaggedOutput(output.tag, output.value.value) for output in self.fn.put_out(CHAINS, *self.kept)]

    def state(self) -> Any:
        (state,) = self.cells["state"].read()
        return state


def labels(outputs: Iterable[TaggedOutput]) -> list[tuple[str, int, str]]:
    """What is put out, in order."""
    return told(output.value for output in outputs)


def told(sent: Iterable[tuple[str, Any]]) -> list[tuple[str, int, str]]:
    return sorted((id, label.version, label.label) for id, label in sent)


def sent(state: Any, inbox: Iterable[Deep]) -> list[tuple[str, Any]]:
    """What the step gives at once."""
    outbox = chains.step(CHAINS, state, inbox)[1]
    return [*outbox.labels]


def size(outputs: Iterable[TaggedOutput]) -> int:
    return sum(len(output.value[0]) + len(StructCoder(ProtocolMessage).encode(output.value[1])) for output in outputs)


def test_pages_together_are_the_outbox_and_the_state_comes_with_the_last() -> None:
    after, _ = chains.step(CHAINS, None, edges(300))
    key = Key()
    first = key.window(edges(300))
    assert [type(value) for value in key.cells["state"].read()] == [Sending], "the state is as it was: there was none"
    pages = [first, *key.pages()]
    assert labels(output for page in pages for output in page) == told(sent(None, edges(300)))
    assert len(pages) >= 5
    assert max(map(size, pages)) <= 1.5 * PAGE_BYTES
    assert key.state() == after
    assert key.observed == [after]


@pytest.mark.parametrize(("at", "put_out"), [(AT, Timestamp(NOW_S)), (MIN_TIMESTAMP, MIN_TIMESTAMP)])
def test_a_later_page_arrives_when_it_is_put_out_and_that_of_the_history_is_history(
    at: Timestamp, put_out: Timestamp
) -> None:
    key = Key()
    key.fn.start_bundle()
    assert list(key.fn.process((CHAINS, edges(300)), at, *key.kept))
    assert key.timer.due == at, "it holds the watermark there"
    key.fn.start_bundle()
    assert {output.value.timestamp for output in key.fn.put_out(CHAINS, *key.kept)} == {put_out}


def test_what_comes_meanwhile_waits_and_is_put_out_after_it() -> None:
    key = Key()
    outputs = key.window(edges(300))
    pages = key.pages()
    outputs += next(pages)
    assert key.window(edges(3, first=300)) == []
    assert key.window(edges(2, first=303)) == []
    outputs += [output for page in pages for output in page]
    one, _ = chains.step(CHAINS, None, edges(300))
    two, _ = chains.step(CHAINS, one, edges(5, first=300))
    assert labels(outputs) == told([*sent(None, edges(300)), *sent(one, edges(5, first=300))])
    assert key.state() == two
    assert key.cells["waiting"].content == []


def test_what_fits_goes_out_at_once() -> None:
    key = Key(page_bytes=10**6)
    assert len(key.window(edges(300))) == 301
    assert key.timer.due is None
    assert key.window(edges(300)) == [], "nothing has changed"
    assert key.state() == chains.step(CHAINS, None, edges(300))[0]


def test_a_page_does_not_depend_on_the_order_in_which_a_process_gives_it() -> None:
    def shuffled(key: str, state: Any, inbox: Iterable[Any]) -> tuple[Any, msgspec.Struct]:
        after, outbox = chains.step(key, state, inbox)
        Random().shuffle(outbox.labels)
        return after, outbox

    key = Key(shuffled)
    pages = [key.window(edges(300)), *key.pages()]
    assert labels(output for page in pages for output in page) == told(sent(None, edges(300)))


def test_a_program_that_gives_another_outbox_begins_again() -> None:
    newer = False

    def step(key: str, state: Any, inbox: Iterable[Any]) -> tuple[Any, msgspec.Struct]:
        after, outbox = chains.step(key, state, inbox)
        if newer:
            outbox.labels = newer_labels(outbox.labels)
        return after, outbox

    key = Key(step)
    key.window(edges(300))
    next(key.pages())
    newer = True
    outputs = [output for page in key.pages() for output in page]
    assert labels(outputs) == told(newer_labels(sent(None, edges(300))))


def newer_labels(sent: Iterable[tuple[str, Any]]) -> list[tuple[str, ProtocolMessage]]:
    return [(id, Label(label.version, label.label + "!")) for id, label in sent]


def test_two_pages_are_never_put_out_in_one_bundle() -> None:
    """A runner may fire a timer that is due already in the bundle that sets it."""
    key = Key()
    key.window(edges(300))
    assert list(key.fn.put_out(CHAINS, *key.kept)) == []
    assert key.timer.due == Timestamp(NOW_S + 1)
    assert len(list(key.pages())) >= 4


def test_a_state_is_encoded_as_without_pages_and_sending_is_told_from_it() -> None:
    state, _ = chains.step(CHAINS, None, edges(3))
    coder = SendingStateCoder(chains.ChainsState)
    assert coder.encode(state) == StructCoder(chains.ChainsState).encode(state)
    sending = Sending([b"message"], 5, 1, 2, 3)
    assert [coder.decode(coder.encode(value)) for value in (state, sending)] == [state, sending]


def test_messages_that_come_between_pages_on_a_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paged_step, "FEW", 0)
    step = KeyedStep(chains.step, chains.ChainsState, chains.ChainsOutbox, window=Arrival(60), page_bytes=300)
    stream = TestStream().add_elements([TimestampedValue((CHAINS, edge), 1) for edge in edges(30)])
    stream = stream.advance_watermark_to(100)
    stream = stream.add_elements([TimestampedValue((CHAINS, edge), 101) for edge in edges(5, first=30)])
    with beam.Pipeline(options=PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"])) as pipeline:
        events = pipeline | stream.advance_watermark_to(300).advance_watermark_to_infinity()
        keyed = events | beam.Map(lambda edge: edge).with_output_types(tuple[str, ProtocolMessage])
        put_out = (keyed | "Chains" >> step)["labels"]
        one, _ = chains.step(CHAINS, None, edges(30))
        assert_that(put_out, equal_to([*sent(None, edges(30)), *sent(one, edges(5, first=30))]))


PUT_OUT: list[str] = []
"""What came through the next test's pipeline, in this process."""


class _SeeFn(beam.DoFn):
    def process(self, element: Any) -> Iterator[Any]:
        PUT_OUT.append(element if isinstance(element, str) else element[0])
        yield element


def test_the_end_of_the_history_waits_for_the_last_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paged_step, "FEW", 0)
    PUT_OUT.clear()
    step = KeyedStep(chains.step, chains.ChainsState, chains.ChainsOutbox, window=Arrival(60), page_bytes=300)
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        history = pipeline | beam.Create([(CHAINS, edge) for edge in edges(30)], reshuffle=False)
        keyed = history | beam.Map(lambda edge: edge).with_output_types(tuple[str, ProtocolMessage])
        put_out = (keyed | "Chains" >> step)["labels"] | "See" >> beam.ParDo(_SeeFn())
        _ = put_out | "Written" >> AfterHistory("end", bounded=False) | "SeeEnd" >> beam.ParDo(_SeeFn())
    assert sorted(PUT_OUT[:-1]) == sorted(id for id, _ in sent(None, edges(30)))
    assert PUT_OUT[-1] == "end"
