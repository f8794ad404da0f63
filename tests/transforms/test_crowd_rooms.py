"""A heavy contact whose crowd is kept apart: the same rows, and a window that costs what is new."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from apache_beam.transforms.userstate import get_dofn_specs
from apache_beam.utils.timestamp import Timestamp

from tests.transforms.kept_chains import Bag
from transforms.core import contacts
from transforms.core.facts import Known
from transforms.core.identity import crowd
from transforms.core.identity.protocol import Label, Member, Members, Pointer
from transforms.core.identity.stages import stages
from transforms.core.keyed_stage import KeyedStage
from transforms.keyed_step import KeyedStep
from transforms.windows import Arrival

NOW_S = 1_700_000_000.0
HISTORIES = 100
STAGES = {stage.name: stage for stage in stages() if stage.needs_crowd is not None}
IDENTIFIED = Known(seen=((1, "m"), (1, "m")))


class Key:
    """One key of a stage with its cells, on a runner that takes any size, or pages."""

    def __init__(self, stage: KeyedStage, page_bytes: int | None = None, *, name: str = "u") -> None:
        self.name = name
        step = KeyedStep(
            stage.step,
            stage.state,
            stage.outbox,
            window=Arrival(60, clock=lambda: NOW_S),
            page_bytes=page_bytes,
            needs_crowd=stage.needs_crowd,
        )
        self.fn: Any = step._stateful(step.window)  # type: ignore[arg-type]
        bags, timers = get_dofn_specs(self.fn)
        self.cells = {bag.name: Bag(bag.coder, ()) for bag in bags}
        self.pages = bool(timers)
        self.due: Timestamp | None = None
        if self.pages:
            self.fn.setup()

    def set(self, at: Timestamp) -> None:
        """Sets the timer."""
        self.due = at

    def window(self, inbox: list[Any]) -> list[tuple[str, Any]]:
        """What a window puts out, with all of its pages."""
        for bag in self.cells.values():
            bag.read_bytes = bag.written_bytes = 0
        outputs = self._bundle(
            self.fn.process, gathered=(self.name, inbox), **({"timestamp": Timestamp(60)} if self.pages else {})
        )
        while self.due is not None:
            self.due = None
            outputs += self._bundle(self.fn.put_out, key=self.name)
        return outputs

    def _bundle(self, process: Any, **given: Any) -> list[tuple[str, Any]]:
        self.fn.start_bundle()
        names = {"state": "cell", "waiting": "later", "crowd": "crowd"}
        cells = {names[name]: bag for name, bag in self.cells.items()}
        timer = {"timer": self} if self.pages else {}
        return [
            (output.tag, getattr(output.value, "value", output.value)) for output in process(**given, **cells, **timer)
        ]

    @property
    def moved(self) -> int:
        """Bytes that the last window has read and written."""
        return sum(bag.read_bytes + bag.written_bytes for bag in self.cells.values())


def messages(rng: Random, stage: str) -> Iterator[list[Any]]:
    """Windows of arrivals and departures of many ids, most of which have no facts; of labels and pointers now and
    then."""
    versions: dict[str, tuple[int, int]] = {}
    sent: list[Member] = []
    for _ in range(rng.randint(2, 8)):
        inbox: list[Any] = []
        for _ in range(rng.choice((1, 2, 20))):
            id = rng.choice(("u", *(f"d{number:02}" for number in range(40))))
            moves, count = versions.get(id, (0, 0))
            is_gone = count > 0 and rng.random() < 0.1
            version = versions[id] = moves + is_gone, count + 1
            knows = rng.random() < 0.15 or any(it.id == id and it.facts == IDENTIFIED for it in sent)
            facts = None if is_gone else IDENTIFIED if knows else Known()
            sent.append(Member(id, version if stage != "Contact" else (*version, 1), facts))
            inbox.append(sent[-1])
        inbox += rng.sample(sent, min(len(sent), rng.randint(0, 2)))
        if stage != "Contact" and rng.random() < 0.15:
            inbox.append(Label(rng.randint(1, 5), rng.choice(("a", "b", None))))
        if stage != "Contact" and rng.random() < 0.1:
            inbox.append(Pointer(rng.randint(1, 5), "c"))
        rng.shuffle(inbox)
        yield inbox


class Newest:
    """What stands: rows by table and key, and messages by where they go and whom they are about."""

    def __init__(self) -> None:
        self.standing: dict[Any, Any] = {}

    def take(self, outputs: list[tuple[str, Any]]) -> None:
        for tag, element in outputs:
            if isinstance(element, tuple):
                to, message = element
                place, version, value = (tag, to, message.id), message.version, message.facts
            else:
                place, version, value = (tag, *element.key), element.version, element.row
            if place not in self.standing or version > self.standing[place][0]:
                self.standing[place] = version, value

    def values(self) -> dict[Any, Any]:
        return {place: value for place, (_, value) in self.standing.items() if value is not None}


@pytest.mark.parametrize("page_bytes", [None, 200])
@pytest.mark.parametrize("name", STAGES)
def test_what_is_kept_apart_changes_nothing(name: str, page_bytes: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is written and sent, against a step that never packs anybody."""
    monkeypatch.setattr(contacts, "MAX_PREVIOUS_IDS", 3)
    stage = STAGES[name]
    was_packed = 0
    for seed in range(HISTORIES):
        rng = Random(seed)
        key, apart, together = Key(stage, page_bytes), Newest(), Newest()
        state: Any = None
        for inbox in messages(rng, name):
            with monkeypatch.context() as patched:
                patched.setattr(crowd, "KEPT", 4)
                patched.setattr(crowd, "ROOM", 2)
                apart.take(key.window(inbox))
            was_packed += bool(key.cells["crowd"].content)
            state, outbox = stage.step("u", state, inbox)
            tags = stage.outbox.__struct_fields__
            together.take([(tag, element) for tag in tags for element in getattr(outbox, tag)])
            assert apart.values() == together.values(), f"seed {seed}"
            assert not state.rooms
        assert _members(key) == state.members, f"seed {seed}"
    assert was_packed > HISTORIES


def _members(key: Key) -> Members:
    (state,) = key.cells["state"].read()
    assert len(key.cells["crowd"].content) == state.rooms
    assert state.crowd == ()
    return crowd.unpacked(state.members, tuple(key.cells["crowd"].read()))


@pytest.mark.parametrize("page_bytes", [None, 20_000_000])
@pytest.mark.parametrize("name", ["Household1", "Contact"])
def test_a_window_that_brings_one_id_reads_and_writes_what_is_new(name: str, page_bytes: int | None) -> None:
    """Among 100,000 ids as among 2,000, and never the crowd."""
    moved = []
    version = (0, 1) if name == "Household1" else (0, 1, 1)
    for count in (2_100, 100_100):
        key = Key(STAGES[name], page_bytes)
        key.window([Member("u", version, IDENTIFIED), *(Member(f"d{n:06}", version, Known()) for n in range(count))])
        key.window([Member("new", version, Known())])
        assert key.cells["crowd"].read_bytes == key.cells["crowd"].written_bytes == 0
        moved.append(key.moved)
        assert len(_members(key)) == count + 2
    assert max(moved) <= 100_000
    assert moved[1] <= 1.5 * moved[0]


def test_a_full_room_is_added_alone() -> None:
    key = Key(STAGES["Household1"])
    key.window([Member(f"d{number:06}", (0, 1), Known()) for number in range(100_000)])
    written = []
    for number in range(crowd.ROOM):
        key.window([Member(f"e{number:06}", (0, 1), Known())])
        assert key.cells["crowd"].read_bytes == 0
        written.append(key.cells["crowd"].written_bytes)
    assert len([size for size in written if size]) == 1
    assert max(written) <= 10_000
