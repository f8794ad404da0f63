"""The journal of chains and its index: the same whoever makes it, in whatever order messages come."""

from __future__ import annotations

from random import Random

import pytest

from tests.transforms.core.identity.dense import edges
from transforms.core.identity import chains, chains_index
from transforms.core.identity.chains import ChainsHead, ChainsState
from transforms.core.identity.chains_index import ChainsIndex
from transforms.core.identity.protocol import Deep, Label

HISTORIES = 100


def messages(rng: Random) -> list[Deep]:
    return [
        Deep(previous, rng.randint(1, 2), version, rng.random() < 0.8, {user: stamp})
        for version, (stamp, previous, user) in enumerate(edges(rng))
    ]


def components(index: ChainsIndex) -> list[list[tuple[str, dict[str, object], object, str | None, int]]]:
    """What an index knows, by ids."""
    return sorted(
        sorted(
            (
                index.id(node.number),
                {index.id(user): stamp for user, stamp in node.edges.items()},
                node.deep,
                None if node.label == chains_index.NONE else index.id(node.label),
                node.version,
            )
            for node in nodes
        )
        for _, nodes in index.components()
    )


def test_an_index_that_was_brought_up_to_date_is_that_of_the_whole_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "OUT_OF_DATE_BYTES", -10_000)
    monkeypatch.setattr(chains, "COPIED_BYTES", 20)
    for seed in range(HISTORIES):
        rng = Random(seed)
        state, index = ChainsState(), ChainsIndex()
        was_copied = False
        for message in messages(rng):
            state, _ = chains.step("", state, [message])
            assert chains.catch_up(index, state.head)
            made = chains.index_of(state.head, state.journals.__getitem__)
            assert components(index) == components(made), f"seed {seed}"
            assert (len(index), index.size) == (len(made), made.size)
            was_copied |= state.head.journal == 1
        assert was_copied or len(index) < 3


def test_the_digest_does_not_depend_on_the_order_of_messages() -> None:
    for seed in range(HISTORIES):
        rng = Random(seed)
        inbox = messages(rng)
        one, _ = chains.step("", None, inbox)
        shuffled = rng.sample(inbox, len(inbox))
        other, _ = chains.step("", None, [*shuffled, *shuffled[:2]])
        assert one == other, f"seed {seed}"


def test_another_journal_has_another_digest() -> None:
    heads = [chains.step("", None, messages(Random(seed)))[0].head for seed in range(HISTORIES)]
    assert len({head.digest for head in heads}) == len({tuple(head.tail[0].entries) for head in heads}) > HISTORIES / 2


def test_a_window_leaves_the_index_as_it_is() -> None:
    index = ChainsIndex()
    head = ChainsState().head
    for message in messages(Random(1)):
        before = components(index)
        commit, _ = chains.advance(index, head, [message])
        assert (components(index), index.digest) == (before, head.digest)
        if commit is not None:
            head = commit.head
            assert chains.catch_up(index, head)


def test_an_index_that_the_tail_does_not_reach_is_not_caught_up() -> None:
    state, _ = chains.step("", None, messages(Random(1)))
    index = ChainsIndex()
    index.digest = b"of another journal"
    assert not chains.catch_up(index, state.head)
    assert len(index) == 0


def test_the_numbers_of_many_ids() -> None:
    ids = [f"id-{number}" for number in range(5_000)]
    index = ChainsIndex()
    index.add(chains_index.entries(0, ids, [], len(ids)), b"digest")
    assert [index.number(id) for id in ids] == [*range(5_000)]
    assert index.number("other") is None
    assert [index.id(number) for number in (0, 4_999)] == ["id-0", "id-4999"]


def test_edges_are_counted_once() -> None:
    state = None
    for stamp in ((2, "m"), (1, "m"), (3, "m")):
        state, _ = chains.step("", state, [Deep("a", 1, 1, True, {"b": stamp})])
    assert state is not None
    assert chains.size(state) == 1


def test_labels_above_a_version_are_the_newest() -> None:
    first = [Deep("a", 1, 1, True, {"b": (1, "m")}), Deep("b", 1, 1, True, {"a": (2, "m")})]
    state, _ = chains.step("", None, first)
    state, _ = chains.step("", state, [Deep("c", 1, 1, True, {"d": (3, "m")})])
    state, _ = chains.step("", state, [Deep("c", 1, 2, False)])
    index = chains.index_of(state.head, state.journals.__getitem__)
    assert dict(chains.labels_above(index, 1)) == {"c": Label(3, None), "d": Label(3, None)}
    assert set(dict(chains.labels_above(index, 0))) == {"a", "b", "c", "d"}


def test_a_head_is_small_whatever_a_window_adds() -> None:
    many = [Deep(f"a{number}", 1, 1, True, {f"b{number}": (number, "m")}) for number in range(5_000)]
    state, _ = chains.step("", None, many)
    assert state.head.tail == []
    assert state.head == ChainsHead(
        state.head.digest, 1, state.head.rules, 5_000, 0, sum(map(len, state.journals[0])), None, 0, [], None
    )
