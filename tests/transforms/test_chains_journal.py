"""Chains as a streaming job keeps it: right whatever runs twice and wherever, and as dear as what is new."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue

from tests.transforms import kept_chains
from tests.transforms.kept_chains import Key, Outcome
from transforms import chains_journal
from transforms.chains_journal import OneIndex, chains_fn
from transforms.core.identity import chains
from transforms.core.identity.chains import ChainsHead
from transforms.core.identity.chains_index import ChainsIndex
from transforms.core.identity.protocol import CHAINS, Deep, Label, ProtocolMessage
from transforms.keyed_step import KeyedStep
from transforms.windows import Arrival

HISTORIES = 400
COMMIT_BYTES = 100_000
"""What a window with a hundred new edges writes at most, with what it copies."""


def test_labels_are_those_of_the_replay_whatever_runs_twice_and_wherever() -> None:
    assert [seed for seed in range(HISTORIES) if not kept_chains.is_right(seed)] == []


_take, _advance = OneIndex.take, chains.advance


def _whatever_the_digest(self: OneIndex, head: ChainsHead, journal: Callable[[int], Iterable[bytes]]) -> Any:
    held = self._held
    return _take(self, head, journal) if held is None else held


def _one_journal(head: ChainsHead, journal: Callable[[int], Iterable[bytes]]) -> ChainsIndex:
    index = ChainsIndex()
    index.add(journal(head.journal), head.digest)
    return index


def _added_at_once(index: ChainsIndex, head: ChainsHead, inbox: Iterable[Deep]) -> Any:
    commit, outbox = _advance(index, head, inbox)
    if commit is not None:
        index.add(commit.added, head.digest)
    return commit, outbox


def _these_pages_alone(outbox: Any, sending: Any, before: Any) -> Any:
    return _first_page(outbox, sending, None)


_first_page = chains_journal._first_page

LEFT_OUT: dict[str, tuple[object, str, Callable[..., Any]]] = {
    "the look at the digest": (OneIndex, "take", _whatever_the_digest),
    "the journal that is being made of the other": (chains, "index_of", _one_journal),
    "the wait for what counts": (chains, "advance", _added_at_once),
    "the pages of a window before": (chains_journal, "_first_page", _these_pages_alone),
}


@pytest.mark.parametrize("part", LEFT_OUT)
def test_no_part_can_be_left_out(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, name, instead = LEFT_OUT[part]
    monkeypatch.setattr(target, name, instead)
    assert not all(map(kept_chains.is_right, range(HISTORIES))), part


def cycles(first: int, count: int) -> list[Deep]:
    """So many edges, in cycles of two, as a faulty library makes one for every user."""
    return [
        Deep(previous, 1, 1, True, {user: (1_700_000_000_000_000 + number, f"message-{number:07}-{previous:>25}")})
        for number in range(first, first + count // 2)
        for previous, user in [(f"{number}@x.example", f"user-{number}"), (f"user-{number}", f"{number}@x.example")]
    ]


@pytest.fixture(autouse=True)
def _own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains_journal, "_INDEX", OneIndex())


def grown(edges: int) -> Key:
    key = Key(None)
    key.commit(key.window(cycles(0, edges)))
    return key


def committed(key: Key, outcome: Outcome) -> Outcome:
    key.commit(outcome)
    return outcome


def test_a_window_reads_and_writes_what_is_new() -> None:
    """Not the journal, of megabytes; and as much among ten times the edges."""
    moved = []
    for edges in (2_000, 20_000):
        key = grown(edges)
        news = [committed(key, key.window(cycles(edges + 50 * number, 100))) for number in range(5)]
        assert [outcome.bags["journal_0"].read_bytes for outcome in news] == [0] * 5
        assert max(outcome.written_bytes for outcome in news) <= COMMIT_BYTES
        moved.append(statistics.median(outcome.read_bytes + outcome.written_bytes for outcome in news))
    assert moved[1] <= 1.1 * moved[0]
    assert len(b"".join(key.cells["journal_0"])) > 1_000_000


def test_a_window_that_brings_nothing_new_writes_nothing() -> None:
    key = grown(200)
    cells = key.cells
    assert committed(key, key.window(cycles(0, 200))).sent == []
    assert key.cells == cells


def test_another_process_reads_the_tail_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    key = grown(20_000)
    one = chains_journal._INDEX
    monkeypatch.setattr(chains_journal, "_INDEX", OneIndex())
    assert committed(key, key.window(cycles(10_000, 10))).bags["journal_0"].read_bytes > 1_000_000
    monkeypatch.setattr(chains_journal, "_INDEX", one)
    outcome = key.window(cycles(10_005, 10))
    assert outcome.bags["journal_0"].read_bytes == 0
    assert len(outcome.sent) == 10


def test_a_window_that_is_larger_than_the_tail_is_not_read_again_where_it_ran() -> None:
    key = grown(20_000)
    assert key.head().tail == []
    assert key.window(cycles(10_000, 10)).bags["journal_0"].read_bytes == 0


def flipped(version: int, count: int = 200) -> list[Deep]:
    """A hundred ids are deep, or no more."""
    return [Deep(message.id, 1, version, version % 2 == 1, {}) for message in cycles(0, count)]


def test_a_log_that_is_mostly_out_of_date_is_copied_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    key = grown(2_000)
    journals, written = set(), []
    for version in range(2, 200):
        outcome = committed(key, key.window(flipped(version)))
        assert len(outcome.sent) == 200
        written.append(outcome.written_bytes)
        journals.add(key.head().journal)
        assert sum(map(len, key.cells["journal_0"] + key.cells["journal_1"])) < 1_000_000
    assert journals == {0, 1}
    assert max(written) <= COMMIT_BYTES
    monkeypatch.setattr(chains_journal, "_INDEX", OneIndex())
    assert len(key.window(flipped(200)).sent) == 200


def keyed(window: Arrival, page_bytes: int | None) -> KeyedStep:
    return KeyedStep(
        chains.step, chains.ChainsState, chains.ChainsOutbox, window=window, page_bytes=page_bytes, stateful=chains_fn
    )


def sent(*inboxes: list[Deep]) -> Iterator[tuple[str, Label]]:
    """What windows send one after the other."""
    state = None
    for inbox in inboxes:
        state, outbox = chains.step(CHAINS, state, inbox)
        yield from outbox.labels  # type: ignore[misc]


@pytest.mark.parametrize("page_bytes", [None, 300])
def test_messages_of_two_windows_on_a_runner(page_bytes: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes between the pages of the first."""
    monkeypatch.setattr(chains_journal, "FEW", 0)
    stream = TestStream().add_elements([TimestampedValue((CHAINS, edge), 1) for edge in cycles(0, 30)])
    stream = stream.advance_watermark_to(100)
    stream = stream.add_elements([TimestampedValue((CHAINS, edge), 101) for edge in cycles(15, 6)])
    with beam.Pipeline(options=PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"])) as pipeline:
        events = pipeline | stream.advance_watermark_to(300).advance_watermark_to_infinity()
        messages = events | beam.Map(lambda edge: edge).with_output_types(tuple[str, ProtocolMessage])
        put_out = (messages | "Chains" >> keyed(Arrival(60), page_bytes))["labels"]
        assert_that(put_out, _are(sent(cycles(0, 30), cycles(15, 6))))


def _are(expected: Iterable[Any]) -> Callable[[Iterable[Any]], None]:
    distinct = sorted(expected, key=repr)

    def check(actual: Iterable[Any]) -> None:
        assert sorted(set(actual), key=repr) == distinct

    return check
