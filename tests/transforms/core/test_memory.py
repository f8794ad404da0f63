"""What was read lately is known, for as long as was asked for at least, and not much longer."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from transforms.core.memory import CELLS, Memory, place, remembered

DAY_US = 86_400_000_000
DIGESTS = [b"a", b"b", b"c"]


def passed(events: Iterable[tuple[bytes, int, int]], memory: Memory | None = None) -> list[bytes]:
    """Of events, (digest, when it is read, when it was published), those that are not remembered."""
    memory = memory or Memory()
    passing = []
    for digest, now, published_at in events:
        after = remembered(memory, digest, published_at=published_at, now=now, remember_us=DAY_US)
        if after is not None:
            passing.append(digest)
            memory = after
    return passing


def test_what_comes_again_is_known() -> None:
    assert passed([(b"a", 0, 0), (b"b", 1, 1), (b"a", DAY_US, DAY_US)]) == [b"a", b"b"]


def test_what_is_old_is_forgotten_with_the_next_event() -> None:
    later = DAY_US * 5 // 4
    assert passed([(b"a", 0, 0), (b"a", later, later)]) == [b"a", b"a"]
    memory = remembered(Memory({0: {b"a"}}), b"b", published_at=later, now=later, remember_us=DAY_US)
    assert memory == Memory({later: {b"b"}})


def test_a_job_that_is_behind_forgets_nothing_sooner() -> None:
    """It was away for three days; what it reads then was published an hour after the first."""
    hour, now = DAY_US // 24, 3 * DAY_US
    assert passed([(b"a", 0, 0), (b"b", now, hour), (b"a", now, hour)]) == [b"a", b"b"]


def test_a_backlog_in_which_old_and_new_come_together_is_remembered() -> None:
    now = 3 * DAY_US
    assert passed([(b"a", now, 0), (b"b", now, now), (b"a", now, 0)]) == [b"a", b"b"]


def test_a_publication_in_the_future_has_nothing_forgotten() -> None:
    assert passed([(b"a", 0, 0), (b"b", 1, 100 * DAY_US), (b"a", 2, 2)]) == [b"a", b"b"]


def test_another_time_to_remember_is_kept_to_after_an_update() -> None:
    by_the_hour = remembered(Memory(), b"a", published_at=0, now=0, remember_us=DAY_US // 24)
    assert passed([(b"a", DAY_US // 2, DAY_US // 2)], by_the_hour) == []


@given(st.lists(st.tuples(st.sampled_from(DIGESTS), st.integers(0, DAY_US // 2), st.integers(-5, 5)), max_size=30))
def test_it_is_never_forgotten_too_soon_nor_kept_for_long(steps: list[tuple[bytes, int, int]]) -> None:
    now, last, memory = 0, dict[bytes, int](), Memory()
    for digest, later, behind in steps:
        now += later
        after = remembered(memory, digest, published_at=now + behind, now=now, remember_us=DAY_US)
        since = now - last[digest] if digest in last else None
        assert (after is None) >= (since is not None and since <= DAY_US)
        assert (after is not None) >= (since is None or since > DAY_US * 5 // 4 + 5)
        if after is not None:
            memory, last[digest] = after, now
            assert len(memory.digests) <= 6


def test_places_are_the_same_in_every_process_and_spread() -> None:
    assert place("m1") == (1928601, bytes.fromhex("2cb8aa02aae6fa7f")), "what a running job keeps is found by this"
    assert len({place(f"m{number}")[0] for number in range(1000)}) == 1000
    assert all(0 <= place(f"m{number}")[0] < CELLS for number in range(100))
