"""Exactly once: a worker that may die anywhere, do its work twice, or go on long after another took over."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.warehouses.bigquery.answers import RequestTooLarge, RowsRefused, StreamUnusable
from pipeline.warehouses.bigquery.append_stream import Delivery
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.event_rows import EventRows
from pipeline.warehouses.bigquery.event_streams import AppendEventsFn
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from pipeline.warehouses.bigquery.sealed_rows import Position, flush
from schemas.tables import EVENTS
from tests.rows import event
from transforms.core.packed_event import PackedEvent, pack
from transforms.core.rows import Append

SHARD = b"\0\0"


class Died(Exception):
    """The worker is gone."""


@dataclass
class Table:
    """What BigQuery holds: streams, by their names, of message ids."""

    rows: dict[str, list[str]] = field(default_factory=dict)
    finalized: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    """Ids whose rows strict servers refuse."""

    @property
    def ids(self) -> list[str]:
        return [id for ids in self.rows.values() for id in ids]


class Server(NamedTuple):
    """How the server behaves that one bundle meets: after how many calls the worker dies, and whether the last of them
    was still done; whether it refuses bad rows; how many rows a request holds."""

    dies_after: int = 1_000
    done: bool = False
    strict: bool = True
    most_rows: int = 3
    too_large: bool = False


class FakeStreams:
    """The streams as one bundle sees them."""

    def __init__(self, table: Table, server: Server) -> None:
        self.table, self.server = table, server
        self.calls = 0
        self.most_rows = server.most_rows
        self.message = RowEncoder(EVENTS)._message

    def call(self, effect: Any) -> Any:
        self.calls += 1
        if self.calls <= self.server.dies_after:
            return effect()
        if self.server.done and self.calls == self.server.dies_after + 1:
            effect()
        raise Died

    def create(self) -> str:
        return self.call(self._create)

    def fit(self, rows: Sequence[bytes]) -> int:
        return min(len(rows), self.most_rows)

    def append(self, stream: str, offset: int, rows: Sequence[bytes]) -> None:
        self.call(lambda: self._append(stream, offset, [self.message.FromString(row).message_id for row in rows]))

    def finalize(self, stream: str) -> int | None:
        return self.call(lambda: self._finalize(stream))

    def _create(self) -> str:
        name = f"stream {len(self.table.rows)}"
        self.table.rows[name] = []
        return name

    def _append(self, stream: str, offset: int, ids: Sequence[str]) -> None:
        if self.server.too_large and len(ids) > 1:
            self.most_rows = 1
            raise RequestTooLarge(grpc.StatusCode.INVALID_ARGUMENT, "request too large")
        written = self.table.rows[stream]
        if stream in self.table.finalized | self.table.gone or offset != len(written):
            raise StreamUnusable(grpc.StatusCode.ALREADY_EXISTS, "the offset is within stream")
        refused = {index: "bad" for index, id in enumerate(ids) if self.server.strict and id in self.table.bad}
        if refused:
            raise RowsRefused(grpc.StatusCode.INVALID_ARGUMENT, "bad rows", refused)
        written += ids

    def _finalize(self, stream: str) -> int | None:
        self.table.finalized.add(stream)
        return None if stream in self.table.gone else len(self.table.rows[stream])


class Cell:
    """A bag of state, which gives its elements in any order."""

    def __init__(self) -> None:
        self.elements: list[Any] = []

    def read(self) -> list[Any]:
        return self.elements[::-1]

    def add(self, element: Any) -> None:
        self.elements.append(element)

    def clear(self) -> None:
        self.elements.clear()


@dataclass
class State:
    """What a shard has committed."""

    position: Cell = field(default_factory=Cell)
    rows_0: Cell = field(default_factory=Cell)
    rows_1: Cell = field(default_factory=Cell)
    is_set: bool = False

    def set(self, _: Any) -> None:
        """Sets the timer."""
        self.is_set = True


def packed(id: str) -> PackedEvent:
    return pack(Append(event(id), "event", id.encode()))


@dataclass
class Shard:
    """One key of the step, and the bundles that are run on it."""

    table: Table = field(default_factory=Table)
    state: State = field(default_factory=State)
    letters: list[str] = field(default_factory=list)
    fn: AppendEventsFn = field(init=False)

    def __post_init__(self) -> None:
        self.fn = AppendEventsFn(Dataset("p", "d"), EVENTS, Delivery(), gathered_for_s=2)
        self.fn.rows = EventRows(EVENTS, Delivery(), self.fn.tally)

    def run(self, state: State, inputs: Sequence[str | None], server: Server) -> list[str]:
        """Runs a bundle of message ids, and of None where the timer fires; returns the ids of dead letters. Raises
        Died."""
        self.fn.streams = FakeStreams(self.table, server)
        self.fn.start_bundle()
        cells = (state.position, state.rows_0, state.rows_1, state)
        letters = []
        for id in inputs:
            if id is None:
                state.is_set = False
            outputs = self.fn.flush(SHARD, *cells) if id is None else self.fn.process((SHARD, packed(id)), *cells)
            letters += [str(getattr(output.row, "message_id", "")) for output in outputs]
        return letters

    def commit(self, *inputs: str | None, server: Server = Server()) -> None:  # noqa: B008
        """Runs a bundle and commits it."""
        state = copy.deepcopy(self.state)
        self.letters += self.run(state, inputs, server)
        self.state = state

    def settle(self) -> None:
        """Fires the timer until it is not set any more."""
        for _ in range(1_000):
            if not self.state.is_set:
                return
            self.commit(None)
        raise AssertionError("the timer is set again and again")


SERVERS = st.builds(
    Server,
    dies_after=st.integers(0, 4) | st.just(1_000),
    done=st.booleans(),
    strict=st.booleans(),
    most_rows=st.integers(1, 4),
    too_large=st.booleans(),
)
FIRINGS = st.lists(st.booleans(), max_size=6)
"""What is in a bundle: an element, or where this is True a firing of the timer."""


class Worker(RuleBasedStateMachine):
    """Bundles that are committed, die, are thrown away, or are run once more at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.shard = Shard()
        self.waiting: list[str] = []
        self.earlier: list[tuple[State, list[str | None]]] = []
        self.count = 0

    @initialize(bad=st.sets(st.integers(0, 15), max_size=4))
    def names_bad_rows(self, bad: set[int]) -> None:
        self.shard.table.bad = {f"m{number:03}" for number in bad}

    @rule(count=st.integers(1, 4))
    def receives(self, count: int) -> None:
        self.waiting += [f"m{(self.count + number) * 7 % 1_000:03}" for number in range(count)]
        self.count += count

    @rule(firings=FIRINGS, server=SERVERS, is_committed=st.booleans())
    def runs(self, firings: Sequence[bool], server: Server, is_committed: bool) -> None:
        inputs: list[str | None] = []
        left = list(self.waiting)
        for fires in firings:
            if fires and (self.shard.state.is_set or None in inputs or any(inputs)):
                inputs.append(None)
            elif left and not fires:
                inputs.append(left.pop(0))
        state = copy.deepcopy(self.shard.state)
        self.earlier.append((self.shard.state, inputs))
        try:
            letters = self.shard.run(state, inputs, server)
        except Died:
            return
        if is_committed:
            self.shard.state, self.waiting = state, left
            self.shard.letters += letters

    @rule(which=st.integers(0, 1_000), server=SERVERS)
    def runs_an_earlier_bundle_once_more(self, which: int, server: Server) -> None:
        if not self.earlier:
            return
        state, inputs = self.earlier[which % len(self.earlier)]
        try:
            self.shard.run(copy.deepcopy(state), inputs, server)
        except Died:
            return

    @invariant()
    def holds_no_row_twice(self) -> None:
        assert [id for id, times in Counter(self.shard.table.ids).items() if times > 1] == []

    def teardown(self) -> None:
        self.shard.commit(*self.waiting)
        self.shard.settle()
        received = {f"m{number * 7 % 1_000:03}" for number in range(self.count)}
        outcomes = Counter(self.shard.table.ids + self.shard.letters)
        assert outcomes == dict.fromkeys(received, 1)
        assert set(self.shard.letters) <= self.shard.table.bad


TestWorker = Worker.TestCase
TestWorker.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_a_row_is_appended_by_a_bundle_after_the_one_that_sealed_it() -> None:
    shard = Shard()
    shard.commit("m1", "m2")
    assert (shard.state.is_set, shard.table.rows) == (True, {})
    shard.commit("m3", None, None, "m4", None)  # all that was received up to the firing is sealed
    assert shard.table.rows == {"stream 0": []}
    shard.commit(None)
    assert shard.table.rows == {"stream 0": ["m1", "m2", "m3"]}
    shard.settle()
    assert shard.table.rows == {"stream 0": ["m1", "m2", "m3", "m4"]}
    assert shard.state.rows_0.elements == shard.state.rows_1.elements == []


def test_a_bundle_that_has_written_and_is_run_again_writes_nothing_twice() -> None:
    shard = Shard()
    shard.commit("m1", "m2", "m3", "m4")
    shard.commit(None)
    before = copy.deepcopy(shard.state)
    shard.run(before, [None], Server())
    shard.settle()
    assert shard.table.rows == {"stream 0": ["m1", "m2", "m3", "m4"]}
    shard.commit("m5")
    shard.settle()
    assert shard.table.rows == {"stream 0": ["m1", "m2", "m3", "m4"], "stream 1": ["m5"]}


def test_a_row_that_is_refused_leaves_the_seal_and_the_others_go_to_a_new_stream() -> None:
    shard = Shard()
    shard.table.bad = {"m2", "m5"}
    shard.commit("m1", "m2", "m3", "m4", "m5")
    shard.settle()
    assert shard.letters == ["m2", "m5"]
    assert sorted(shard.table.ids) == ["m1", "m3", "m4"]


def test_an_idle_shard_keeps_no_rows_and_no_timer() -> None:
    shard = Shard()
    shard.commit("m1")
    shard.settle()
    assert not shard.state.is_set
    assert shard.state.position.elements == [Position("stream 0", 1, 1)]


def test_rows_for_a_stream_that_is_gone_are_appended_to_another() -> None:
    shard = Shard()
    shard.commit("m1")
    shard.settle()
    shard.table.gone.add("stream 0")
    shard.commit("m2")
    shard.settle()
    assert shard.table.rows == {"stream 0": ["m1"], "stream 1": ["m2"]}


def test_a_row_that_no_server_takes_alone_is_refused() -> None:
    class Full(FakeStreams):
        def _append(self, stream: str, offset: int, ids: Sequence[str]) -> None:
            raise RequestTooLarge(grpc.StatusCode.INVALID_ARGUMENT, "request too large")

    table = Table({"s": []})
    flushed = flush(Position("s", sealed=True), [b"", b""], Full(table, Server(most_rows=1)))
    assert flushed.refused == {0: "the row of 0 bytes: request too large"}
    assert (flushed.position, flushed.written) == (Position(sealed=True), range(0))
