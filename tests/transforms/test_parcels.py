"""Parcels: every message once, with the others of its shard and of its window."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import registry
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import BeamAssertException, assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from transforms import parcels
from transforms.core.accounts import Way
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.protocol import Deep, Label, Member, Pointer, Token
from transforms.parcels import (
    SHARDS,
    AccountKnownParcel,
    KnownParcel,
    MessageParcel,
    OpenParcels,
    Parcel,
    ParcelCoder,
    Parcels,
    SendInParcels,
    Sharded,
    shard_of,
)
from transforms.windows import Arrival

STAMP = (1, "m")
MESSAGES: list[tuple[str, Member | Label | Pointer | Token | Deep]] = [
    ("a", Member("u", (1, 2), Known(named=True))),
    ("b", Label(3, None)),
    ("", Deep("u", 1, 2, True, {"v": STAMP})),
    ("é", Pointer(1, "v", {"v": STAMP})),
    ("\x00", Token("1:u", (1, 2), None)),
]


@pytest.mark.parametrize(
    "parcel",
    [
        MessageParcel(MESSAGES),
        KnownParcel([("a", Known(seen=(STAMP, STAMP))), ("a", Known())]),
        AccountKnownParcel([("acme", AccountKnown({}, (STAMP, "Acme"), {Way.GROUP: (STAMP, STAMP)}))]),
    ],
)
def test_a_parcel_comes_back_from_its_coder(parcel: Parcel) -> None:
    coder = registry.get_coder(type(parcel))
    assert coder == pickle.loads(pickle.dumps(coder)) == ParcelCoder(type(parcel))
    assert type(coder) is type(pickle.loads(pickle.dumps(coder))) is ParcelCoder
    assert coder.decode(coder.encode(parcel)) == parcel
    assert len(coder.encode(parcel)) / 5 < coder.estimate_size(parcel) < len(coder.encode(parcel)) * 20


@given(st.lists(st.text(max_size=3)), st.integers(1, 4))
def test_every_message_is_given_once_in_its_shard(keys: list[str], most: int) -> None:
    gathering = Parcels(MessageParcel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcels, "MOST_MESSAGES", most)
        full = [filled for number, key in enumerate(keys) if (filled := gathering.add((key, Label(number, None))))]
        rest = list(gathering.rest())
    assert all(len(parcel.messages) == most for _, parcel in full)
    assert all(0 < len(parcel.messages) < most for _, parcel in rest)
    given = [(shard, key, message.version) for shard, parcel in (*full, *rest) for key, message in labels(parcel)]
    assert sorted(given) == sorted((shard_of(key), key, number) for number, key in enumerate(keys))
    assert not list(gathering.rest())


def labels(parcel: Parcel) -> Iterator[tuple[str, Label]]:
    for key, message in parcel.messages:
        assert isinstance(message, Label)
        yield key, message


def test_keys_are_in_all_shards() -> None:
    assert len({shard_of(f"user-{number}") for number in range(1000)}) == SHARDS


class _SeenFn(beam.DoFn):
    """A parcel, and when it is."""

    def process(self, sharded: Sharded, timestamp: Any = beam.DoFn.TimestampParam) -> Iterator[tuple[Timestamp, Any]]:
        yield timestamp, sharded[1]


def test_what_goes_together_is_of_one_window_and_comes_in_it() -> None:
    seconds = [1, 2, 59.999999, 60, 61, 119, -1, -60, -61, float(MIN_TIMESTAMP)]
    facts = [(f"id{number}", Known(seen=((number, "m"), (number, "m")))) for number in range(200)]
    at = {key: Timestamp(seconds[number % len(seconds)]) for number, (key, _) in enumerate(facts)}
    with TestPipeline(runner="FnApiRunner") as pipeline:
        timed = pipeline | beam.Create([TimestampedValue((at[fact[0]], fact), 0) for fact in facts])
        known = timed | "Time" >> beam.MapTuple(_timed).with_output_types(tuple[str, Known])
        sent = known | SendInParcels(KnownParcel, Arrival(60)) | "See" >> beam.ParDo(_SeenFn())

        def check(seen: list[tuple[Timestamp, KnownParcel]]) -> None:
            windows: dict[int, set[str]] = defaultdict(set)
            for timestamp, parcel in seen:
                windows[timestamp.micros // 60_000_000] |= {key for key, _ in parcel.messages}
            expected: dict[int, set[str]] = defaultdict(set)
            for key, timestamp in at.items():
                expected[timestamp.micros // 60_000_000].add(key)
            if windows != expected or sum(len(parcel.messages) for _, parcel in seen) != len(facts):
                raise BeamAssertException(f"{windows} != {expected}")
            if len(seen) == len(facts):
                raise BeamAssertException("nothing goes together")

        assert_that(sent, check)


def _timed(at: Timestamp, fact: tuple[str, Known]) -> TimestampedValue:
    return TimestampedValue(fact, at)


def test_parcels_are_opened_again() -> None:
    with TestPipeline(runner="FnApiRunner") as pipeline:
        sharded = [("00", MessageParcel(MESSAGES)), ("01", MessageParcel(MESSAGES[:1]))]
        given = pipeline | beam.Create(sharded).with_output_types(tuple[str, MessageParcel])
        assert_that(given | OpenParcels(), equal_to([*MESSAGES, *MESSAGES[:1]]))
