"""The ring keeps the newest messages, and no more of them than it may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from receiver.debugger.ring import KeptMessage, Ring
from receiver.sink import Message
from schemas.tables import Timestamp

NOW = Timestamp(0)


def message(size: int = 10) -> Message:
    return Message(connection="default", payload=b"x" * size)


def numbers(kept: list[KeptMessage]) -> list[int]:
    return [message.number for message in kept]


def test_the_newest_messages_are_kept() -> None:
    ring = Ring(3, 1_000_000)
    for _ in range(5):
        ring.add(message(), NOW)
    assert numbers(ring.newest_first(0)) == [5, 4, 3]
    assert numbers(ring.newest_first(4)) == [5]
    assert ring.newest_first(5) == []


def test_calls_that_were_read_count_each() -> None:
    ring = Ring(10, 1_000_000)
    for _ in range(10):
        ring.add(message(), NOW)
    newest = ring.newest_first(0)[0]
    ring.read(newest, [b"call"] * 8)
    assert numbers(ring.newest_first(0)) == [10, 9, 8]


def test_a_message_that_is_gone_when_it_was_read_changes_nothing() -> None:
    ring = Ring(1, 1_000_000)
    ring.add(message(), NOW)
    (gone,) = ring.newest_first(0)
    ring.add(message(), NOW)
    size = ring.size
    ring.read(gone, [b"call"] * 8)
    assert (gone.calls, ring.size, len(ring)) == ([b"call"] * 8, size, 1)


STEPS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 12) | st.none()), max_size=60)


@given(STEPS, st.integers(1, 20), st.integers(0, 8000))
def test_it_is_bounded_in_bytes_and_calls_whatever_comes(
    steps: list[tuple[int, int | None]], most_calls: int, most_bytes: int
) -> None:
    ring = Ring(most_calls, most_bytes)
    for size, calls in steps:
        ring.add(message(size), NOW)
        if calls is not None:
            ring.read(ring.newest_first(0)[0], [b"c" * 50] * calls)
        kept = ring.newest_first(0)
        assert kept[0].number == ring.newest
        assert numbers(kept) == list(range(ring.newest, ring.newest - len(kept), -1))
        assert ring.size == sum(message.size for message in kept)
        assert ring.size <= most_bytes or len(ring) == 1
        assert sum(message.count for message in kept[:-1]) < most_calls
