"""ShardStep: for each key of a shard the same as KeyedStep, in parcels, with its state in the process."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import msgspec
import pytest
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from tests.transforms.test_crowd_rooms import STAGES, Key, messages
from transforms import metrics, parcels
from transforms.core import contacts
from transforms.core.facts import Known
from transforms.core.identity import crowd
from transforms.core.identity.stages import IdentityStage, stages
from transforms.core.rows import Upsert
from transforms.parcels import KnownParcel, MessageParcel, Parcel, shard_of
from transforms.shard_step import ShardStep
from transforms.windows import Arrival

HISTORIES = 100
AT = Timestamp(60)
WINDOW = Arrival(60)


class Shard:
    """The keys of one shard of a stage; whoever sends them sends all of them there."""

    def __init__(self, stage: IdentityStage, window: Arrival | None = WINDOW) -> None:
        step = ShardStep(
            stage.step, stage.state, stage.outbox, window=window, needs_crowd=stage.needs_crowd, size=stage.size
        )
        self.fn: Any = step.fn

    def bundle(self, *shards: tuple[Timestamp, Sequence[Parcel]]) -> Iterator[tuple[Timestamp, str, Any]]:
        """What a bundle puts out: when, by which tag, and what."""
        self.fn.start_bundle()
        for at, given in shards:
            for output in self.fn.process(("00", given), timestamp=at):
                windowed = isinstance(output.value, WindowedValue)
                yield (
                    (output.value.timestamp, output.tag, output.value.value)
                    if windowed
                    else (at, output.tag, output.value)
                )
        for output in self.fn.finish_bundle():
            assert output.value.windows == (GlobalWindow(),)
            yield output.value.timestamp, output.tag, output.value.value

    def window(self, inboxes: dict[str, list[Any]], rng: Random) -> list[tuple[str, Any]]:
        """What a window puts out for these keys, whose messages come in several parcels: by tag a row, or a message."""
        sent = [(key, message) for key, inbox in inboxes.items() for message in inbox]
        cut = rng.randint(0, len(sent))
        outputs = []
        for _, tag, value in self.bundle((AT, [MessageParcel(sent[:cut]), MessageParcel(sent[cut:])])):
            if isinstance(value, Upsert):
                outputs.append((tag, value))
                continue
            shard, parcel = value
            assert {shard_of(key) for key, _ in parcel.messages} == {shard}
            outputs += [(tag, message) for message in parcel.messages]
        return outputs


@pytest.mark.parametrize("name", STAGES)
def test_each_key_gives_what_it_gives_by_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "MAX_PREVIOUS_IDS", 3)
    monkeypatch.setattr(crowd, "KEPT", 4)
    monkeypatch.setattr(crowd, "ROOM", 2)
    monkeypatch.setattr(parcels, "MOST_MESSAGES", 2)
    had_crowd = 0
    for seed in range(HISTORIES):
        rng = Random(seed)
        keys = {key: Key(STAGES[name], name=key) for key in ("u", "c")}
        histories = {key: list(messages(Random(seed + 1000 * number), name)) for number, key in enumerate(keys)}
        shard = Shard(STAGES[name])
        for window in range(max(map(len, histories.values()))):
            inboxes = {key: history[window] for key, history in histories.items() if window < len(history)}
            expected = [output for key, inbox in inboxes.items() for output in keys[key].window(inbox)]
            assert in_order(shard.window(inboxes, rng)) == in_order(expected), f"seed {seed}"
        had_crowd += any(key.cells["crowd"].content for key in keys.values())
    assert had_crowd


def in_order(outputs: Iterable[tuple[str, Any]]) -> list[bytes]:
    return sorted(msgspec.json.encode(output) for output in outputs)


def test_what_goes_together_is_of_one_time() -> None:
    first, later = Timestamp(60), Timestamp(120)
    came = {"a": first, "b": first, "c": later, "d": later}
    facts = [(at, KnownParcel([(id, Known(out={"home": (1, "m")}))])) for id, at in came.items()]
    shard = Shard(next(stage for stage in stages() if stage.name == "Person"))
    bundle = shard.bundle(*((at, [parcel]) for at, parcel in facts))
    members = [(at, parcel) for at, tag, (_, parcel) in bundle if tag == "members"]
    assert {message.id: at for at, parcel in members for _, message in parcel.messages} == came
    assert len(members) == 2


def test_two_steps_have_states_of_their_own() -> None:
    (_, inbox) = ("u", [MessageParcel([("u", message) for message in next(messages(Random(1), "Contact"))])])
    first, second = Shard(STAGES["Contact"]), Shard(STAGES["Contact"])
    assert list(first.bundle((AT, inbox))) == list(second.bundle((AT, inbox)))
    assert not list(first.bundle((AT, inbox))), "what comes twice changes nothing"


def test_bundles_of_one_shard_at_a_time_lose_nothing_of_each_other() -> None:
    """A runner that knows of no state runs them so."""
    stage = next(stage for stage in stages() if stage.name == "Person")

    def slow_step(key: str, state: Any, inbox: Iterable[Any]) -> Any:
        result = stage.step(key, state, inbox)
        time.sleep(0.001)  # another bundle's turn
        return result

    shard = Shard(stage._replace(step=slow_step))
    pickled = pickle.dumps(shard.fn.kept)

    def bundle(number: int) -> None:
        one = Shard(stage._replace(step=slow_step))
        one.fn.kept = pickle.loads(pickled)
        list(one.bundle((AT, [KnownParcel([("ann", Known(out={f"home{number}": (number, "m")}))])])))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(bundle, range(40)))
    state = shard.fn.kept.bag(shard.fn.state, "ann")
    assert [kept.known.out.keys() for kept in state.read()] == [{f"home{number}" for number in range(40)}]


@pytest.mark.parametrize("name", STAGES)
def test_in_a_bounded_job_each_key_gives_what_it_gives_by_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "MOST_MESSAGES", 2)
    stage = STAGES[name]
    for seed in range(HISTORIES):
        inboxes = {key: next(messages(Random(f"{seed}{key}"), name)) for key in ("u", "c")}
        expected = []
        for key, inbox in inboxes.items():
            _, outbox = stage.step(key, None, inbox)
            expected += [(tag, value) for tag in outbox.__struct_fields__ for value in getattr(outbox, tag)]
        assert in_order(Shard(stage, None).window(inboxes, Random(seed))) == in_order(expected), f"seed {seed}"


def test_a_bundle_reports_its_keys() -> None:
    class Watching:
        def __init__(self) -> None:
            self.values: list[tuple[str, int]] = []

        def counted(self, counts: Any) -> None: ...

        def observed(self, distribution: str, value: int) -> None:
            self.values.append((distribution, value))

    watching, shard = Watching(), Shard(STAGES["Contact"])
    inbox = [MessageParcel([(key, message) for key in "abc" for message in next(messages(Random(1), "Contact"))])]
    with metrics.observed_by(watching):
        list(shard.bundle((AT, inbox)))
    assert watching.values == [(metrics.WINDOW_KEYS.name, 3)]
