"""Where the ids and edges of a contact are drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pages.id_graph import Layout, NumberedEdge, draw, layout
from schemas.tables import Timestamp
from transforms.core.identity.chains import EdgeOutcome, Replay
from transforms.core.identity.protocol import Edge

Pair = tuple[str, str]
IDS = st.sampled_from([f"i{number}" for number in range(12)])


def replayed(pairs: Sequence[Pair]) -> tuple[dict[str, str], list[NumberedEdge]]:
    """The label of every id, and the edges as they are replayed in this order; a pair counts once."""
    replay = Replay()
    edges = []
    for number, (previous, user) in enumerate(dict.fromkeys(pairs), 1):
        outcome = replay.take(Edge((Timestamp(number), ""), previous, user))
        edges.append(NumberedEdge(number=number, previous=previous, user=user, outcome=outcome, reason=""))
    return replay.labels(), edges


def laid_out(pairs: Sequence[Pair], id: str) -> tuple[str, list[str], list[NumberedEdge], Layout]:
    labels, edges = replayed(pairs)
    label = labels[id]
    ids = [label, *sorted(each for each in labels if labels[each] == label and each != label)]
    named = [edge for edge in edges if {edge.previous, edge.user} & {*ids}]
    return label, ids, named, layout(label, ids, named)


def pairs_of(text: str) -> list[Pair]:
    pairs = []
    for edge in text.split(", "):
        previous, user = edge.split("→")
        pairs.append((previous, user))
    return pairs


CASES = [
    # (what, the edges, the rows as `id` indented by its depth with the number of its edge, the brackets)
    ("a merge", "a→b", ["b", " a 1"], []),
    ("a chain hangs from its end", "a→b, b→c", ["c", " b 2", "  a 1"], []),
    ("children are in the order in which they joined", "z→b, a→b", ["b", " z 1", " a 2"], []),
    ("the user may have been absorbed itself", "a→b, c→a", ["b", " a 1", "  c 2"], []),
    ("a relabel turns the tree", "a→b, b→a", ["a", " b 2"], ["1 a→b"]),
    ("what is refused is a bracket, and its id outside", "a→b, a→d", ["b", " a 1", "d"], ["2 a→d"]),
    ("an id is itself already", "a→b, b→b", ["b", " a 1"], ["2 b→b"]),
    (
        "an id that joined again hangs where it is last",
        "a→c, b→c, c→a, a→d",
        ["d", " a 4", "  c 3", "   b 2"],
        ["1 a→c"],
    ),
]


@pytest.mark.parametrize(("what", "edges", "rows", "brackets"), CASES, ids=[what for what, *_ in CASES])
def test_the_tree(what: str, edges: str, rows: list[str], brackets: list[str]) -> None:
    *_, found = laid_out(pairs_of(edges), "a")
    shown = [f"{' ' * node.depth}{node.id}{f' {node.edge.number}' if node.edge else ''}" for node in found.nodes]
    assert shown == rows
    assert [f"{each.edge.number} {each.edge.previous}→{each.edge.user}" for each in found.brackets] == brackets


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=40))
def test_everything_is_drawn_once(pairs: list[Pair]) -> None:
    label, ids, edges, found = laid_out(pairs, pairs[0][0])
    members = [node.id for node in found.nodes if not node.is_outside]
    assert members[0] == label
    assert sorted(members) == sorted(ids)
    for row, node in enumerate(found.nodes):
        if node.parent is None:
            assert node.depth == 0
            assert node.is_outside or node.id == label
        else:
            parent = found.nodes[node.parent]
            assert node.parent < row
            assert parent.depth == node.depth - 1
            assert node.edge is not None
            assert (node.edge.previous, node.edge.user) == (node.id, parent.id)
            assert node.edge.outcome is not EdgeOutcome.IGNORED
    in_tree = [node.edge.number for node in found.nodes if node.edge is not None]
    beside = [bracket.edge.number for bracket in found.brackets]
    assert sorted(in_tree + beside) == [edge.number for edge in edges]


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=40))
def test_brackets_of_a_lane_do_not_meet(pairs: list[Pair]) -> None:
    *_, found = laid_out(pairs, pairs[0][0])
    rows = [
        (bracket.lane, row)
        for bracket in found.brackets
        for row in range(min(bracket.start, bracket.end), max(bracket.start, bracket.end) + 1)
    ]
    assert len(rows) == len(set(rows))
    for bracket in found.brackets:
        assert found.nodes[bracket.start].id == bracket.edge.previous
        assert found.nodes[bracket.end].id == bracket.edge.user


@pytest.mark.parametrize("count", [1, 2, 200, 1000])
def test_a_chain_and_a_star_of_any_size_are_drawn_within_bounds(count: int) -> None:
    chain = [(f"i{number}", f"i{number + 1}") for number in range(count)]
    star = [(f"i{number}", "hub") for number in range(count)]
    for pairs in (chain, star):
        label, _, _, found = laid_out(pairs, "i0")
        svg = draw(label, "i0", found)
        size = re.search(r'width="(\d+)" height="(\d+)"', svg)
        assert size is not None
        width, height = map(int, size.groups())
        assert width < 1200
        assert height <= 26 * 400 + 12
        assert svg.count("<circle") >= min(count, 400)
