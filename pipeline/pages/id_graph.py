"""The ids of a contact as a drawing: each hangs under the id that a call said it is, in the order of the replay.

An id joins another's contact by one edge at last, so that these edges are a tree whose root is the label. Every other
edge is a bracket at the right: what was refused, and what a later edge has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

from pipeline.errors import printable
from pipeline.pages.markup import Markup, element, joined
from pipeline.pages.tables import cut
from transforms.core.identity.chains import EdgeOutcome

MOST_NODES: Final = 400
MOST_BRACKETS: Final = 80
"""How many ids and brackets are drawn; tables have all of them."""

_ROW: Final = 26
_LEFT: Final = 14
_INDENT: Final = 30
_WIDEST_INDENT: Final = 720
_CELL: Final = 7.6
"""How wide a character of the labels is, in pixels, with some room."""
_LONGEST_ID: Final = 40
_LANE: Final = 24
_BADGE: Final = 9


@dataclass(frozen=True, kw_only=True)
class NumberedEdge:
    """An edge in the order of the replay, from 1, with what it did and why."""

    number: int
    previous: str
    user: str
    outcome: EdgeOutcome
    reason: str


@dataclass(frozen=True, kw_only=True)
class Node:
    """An id in its row; `parent` is the row of the id that it hangs under, by `edge`. The root has neither, nor has an
    id that is not of the contact."""

    id: str
    depth: int
    parent: int | None = None
    edge: NumberedEdge | None = None
    is_outside: bool = False


@dataclass(frozen=True, kw_only=True)
class Bracket:
    """An edge beside the tree, from row to row, in its lane: none crosses another's vertical line in the same lane."""

    edge: NumberedEdge
    start: int
    end: int
    lane: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where everything is."""

    nodes: tuple[Node, ...]
    brackets: tuple[Bracket, ...]


def layout(label: str, ids: Sequence[str], edges: Sequence[NumberedEdge]) -> Layout:
    """The rows of a contact's ids, the label first, then the ids of others that edges name; and the brackets."""
    joining = _joining(label, set(ids), edges)
    nodes = [*_rows(label, ids, joining)]
    members = set(ids)
    outside = dict.fromkeys(id for edge in edges for id in (edge.previous, edge.user) if id not in members)
    nodes += [Node(id=id, depth=0, is_outside=True) for id in outside]
    rows = {node.id: row for row, node in enumerate(nodes)}
    in_tree = {edge.number for edge in joining.values()}
    spans = [(edge, rows[edge.previous], rows[edge.user]) for edge in edges if edge.number not in in_tree]
    return Layout(nodes=tuple(nodes), brackets=tuple(_brackets(spans)))


def _joining(label: str, members: set[str], edges: Iterable[NumberedEdge]) -> Mapping[str, NumberedEdge]:
    """Of each id but the label the edge by which it joined last."""
    joining = {}
    for edge in edges:
        if edge.outcome is not EdgeOutcome.IGNORED and edge.previous != label and {edge.previous, edge.user} <= members:
            joining[edge.previous] = edge
    return joining


def _rows(label: str, ids: Sequence[str], joining: Mapping[str, NumberedEdge]) -> Iterable[Node]:
    """The tree from its root, children in the order in which they joined."""
    children: dict[str, list[str]] = {}
    for id, edge in sorted(joining.items(), key=lambda item: item[1].number):
        children.setdefault(edge.user, []).append(id)
    roots = [label, *(id for id in ids if id != label and id not in joining)]
    stack: list[tuple[str, int, int | None]] = [(id, 0, None) for id in reversed(roots)]
    row = 0
    while stack:
        id, depth, parent = stack.pop()
        yield Node(id=id, depth=depth, parent=parent, edge=joining.get(id))
        stack += [(child, depth + 1, row) for child in reversed(children.get(id, ()))]
        row += 1


def _brackets(spans: Iterable[tuple[NumberedEdge, int, int]]) -> Iterable[Bracket]:
    """Each in the first lane that is free over its rows, short ones first; in the order of the edges."""
    lanes: list[list[tuple[int, int]]] = []
    placed = []
    for edge, start, end in sorted(spans, key=lambda span: (abs(span[1] - span[2]), span[0].number)):
        top, bottom = sorted((start, end))
        lane = next((n for n, held in enumerate(lanes) if all(bottom < t or b < top for t, b in held)), len(lanes))
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append((top, bottom))
        placed.append(Bracket(edge=edge, start=start, end=end, lane=lane))
    return sorted(placed, key=lambda bracket: bracket.edge.number)


def draw(label: str, asked: str, drawn: Layout) -> Markup:
    """The drawing as SVG. `asked` is the id that the user has asked for."""
    nodes = drawn.nodes[:MOST_NODES]
    deepest = max(node.depth for node in nodes)
    indent = min(_INDENT, _WIDEST_INDENT / max(deepest, 1))
    brackets = [bracket for bracket in drawn.brackets if max(bracket.start, bracket.end) < len(nodes)][:MOST_BRACKETS]
    ends = [_text_left(node, indent) + cell_len(_shown(node.id)) * _CELL + 6 for node in nodes]
    lanes_left = max(ends) + 18
    width = lanes_left + _LANE * (max((bracket.lane for bracket in brackets), default=-1) + 1) + 12
    height = _ROW * len(nodes) + 12
    parts = [
        *(_link(node, row, indent) for row, node in enumerate(nodes) if node.parent is not None),
        *(_bracket(bracket, ends, lanes_left) for bracket in brackets),
        *(_node(node, row, indent, label, asked) for row, node in enumerate(nodes)),
    ]
    arrow = element("marker", element("path", d="M0 0L7 3.5L0 7z"), id="arrow", viewBox="0 0 7 7", refX=6, refY=3.5,
                    markerWidth=7, markerHeight=7, orient="auto")  # fmt: skip
    return element(
        "svg",
        element("defs", arrow),
        *parts,
        viewBox=f"0 0 {width:.0f} {height}",
        width=f"{width:.0f}",
        height=height,
        class_="graph",
        role="img",
        aria_label=f"The ids of the contact {label}",
    )


def _node(node: Node, row: int, indent: float, label: str, asked: str) -> Markup:
    x, y = _x(node, indent), _y(row)
    kinds = ["id", *["label"] * (node.id == label), *["asked"] * (node.id == asked), *["outside"] * node.is_outside]
    return element(
        "g",
        element("title", node.id),
        element("circle", cx=f"{x:.1f}", cy=y, r=5),
        _badge(node.edge, x + 18, y) if node.edge is not None else None,
        element("text", _shown(node.id), x=f"{_text_left(node, indent):.1f}", y=y + 4),
        class_=" ".join(kinds),
    )


def _link(node: Node, row: int, indent: float) -> Markup:
    assert node.parent is not None
    assert node.edge is not None
    x, y = _x(node, indent), _y(row)
    parent_x = _LEFT + (node.depth - 1) * indent
    path = f"M{x - 5:.1f} {y}H{parent_x:.1f}V{_y(node.parent) + 5}"
    return element("path", element("title", _sentence(node.edge)), d=path, class_=f"edge {node.edge.outcome.value}")


def _bracket(bracket: Bracket, ends: Sequence[float], left: float) -> Markup:
    x = left + _LANE * bracket.lane
    apart = 3 + 2 * (bracket.lane % 3)  # an edge out leaves above where one comes in, and not where another does
    top, bottom = _y(bracket.start) - apart, _y(bracket.end) + apart
    start, end = ends[bracket.start], ends[bracket.end]
    path = f"M{start:.1f} {top}H{x:.1f}V{bottom}H{end:.1f}"
    return element(
        "g",
        element("title", _sentence(bracket.edge)),
        element("path", d=path, class_=f"edge {bracket.edge.outcome.value}", marker_end="url(#arrow)"),
        _badge(bracket.edge, x, _number_place(top, bottom)),
    )


def _number_place(start: int, end: int) -> float:
    """Where on a bracket its number is: in the middle of a short one, else near its start."""
    if abs(end - start) <= 2 * _ROW:
        return (start + end) / 2
    return start + (_ROW if end > start else -_ROW) * 0.7


def _badge(edge: NumberedEdge, x: float, y: float) -> Markup:
    """The number of an edge, in the colour of what it did."""
    return element(
        "g",
        element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=_BADGE),
        element("text", str(edge.number), x=f"{x:.1f}", y=f"{y + 3.5:.1f}"),
        class_=f"badge {edge.outcome.value}",
    )


def _sentence(edge: NumberedEdge) -> str:
    return f"{edge.number}. {edge.outcome.value}: {edge.previous} → {edge.user}: {edge.reason}"


def _shown(id: str) -> str:
    return cut(printable(id), _LONGEST_ID)


def _x(node: Node, indent: float) -> float:
    return _LEFT + node.depth * indent


def _text_left(node: Node, indent: float) -> float:
    return _x(node, indent) + (32 if node.edge is not None else 12)


def _y(row: int) -> int:
    return 18 + _ROW * row


def legend() -> Markup:
    """What the lines mean."""
    meanings = {
        EdgeOutcome.MERGED: "the id's contact was absorbed",
        EdgeOutcome.RELABELLED: "the contact answers to another of its ids",
        EdgeOutcome.IGNORED: "refused",
    }
    keys = (
        joined(element("span", outcome.value, class_=f"key {outcome.value}"), f" {meaning}. ")
        for outcome, meaning in meanings.items()
    )
    return element("p", *keys, class_="note")
