"""Stage 2, one key: the edges out of chain ids, replayed.

Invariant: the newest label that was sent to an id is the one that a replay of all edges in state gives it, by the rules
of `state.rules`. "Newest" is by version: each label has a greater one than those that were sent to the id before.

Rare by nature: ordinary traffic (an anonymous id becomes a user) never comes here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import msgspec

from transforms.core.identity.protocol import Edge, Label, ProtocolMessage
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED
from transforms.core.stamps import Stamp


class ChainsState(msgspec.Struct, array_like=True, gc=False):
    """The edges by previous id and user, each at its earliest stamp; the version of the labels last sent, and that of
    the rules they were made by."""

    edges: dict[str, dict[str, Stamp]] = {}
    version: int = 0
    rules: int = UNVERSIONED


class ChainsOutbox(msgspec.Struct, gc=False):
    """Messages to households by id."""

    labels: list[tuple[str, ProtocolMessage]] = []


def size(state: ChainsState) -> int:
    """Edges between chain ids."""
    return sum(map(len, state.edges.values()))


def step(key: str, state: ChainsState | None, inbox: Iterable[Edge]) -> tuple[ChainsState, ChainsOutbox]:
    """Adds edges, and sends each id its label where it is new or has changed. Only components that a new edge touches
    are replayed; where older rules made the labels, everything is, and every label is sent again."""
    state = state or ChainsState(rules=RULES_VERSION)
    by_other_rules = state.rules != RULES_VERSION
    new = [edge for edge in inbox if _is_new(state.edges, edge)]
    if not new and not by_other_rules:
        return state, ChainsOutbox()
    edges = {previous: dict(users) for previous, users in state.edges.items()}
    for edge in new:
        users = edges.setdefault(edge.previous, {})
        users[edge.user] = min(users.get(edge.user, edge.stamp), edge.stamp)
    if by_other_rules:
        before, after = {}, resolve(_within(edges, edges))
    else:
        touched = _component(edges, {id for edge in new for id in (edge.previous, edge.user)})
        before, after = resolve(_within(state.edges, touched)), resolve(_within(edges, touched))
    version = state.version + 1
    changed = [(id, label) for id, label in sorted(after.items()) if before.get(id) != label]
    labels: list[tuple[str, ProtocolMessage]] = [(id, Label(version, label)) for id, label in changed]
    return ChainsState(edges, version, RULES_VERSION), ChainsOutbox(labels)


def resolve(edges: Iterable[Edge]) -> dict[str, str]:
    """The label of every id that edges name, once they are replayed; each pair of ids comes once."""
    replay = Replay()
    for edge in in_order(edges):
        replay.take(edge)
    return replay.labels()


def in_order(edges: Iterable[Edge]) -> list[Edge]:
    """Edges as a replay takes them: by their stamps."""
    return sorted(edges, key=_order)


class EdgeOutcome(enum.Enum):
    """What an edge does to the contacts."""

    IGNORED = "ignored"
    RELABELLED = "relabelled"
    MERGED = "merged"


class Replay:
    """Contacts while edges are taken, from contacts of one id each (`docs/semantics.md`, section 3)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._label: dict[str, str] = {}

    def take(self, edge: Edge) -> EdgeOutcome:
        """Takes the next edge."""
        previous, user = edge.previous, edge.user
        absorbed, into = self._contact(previous), self._contact(user)
        if previous == user or self._label[absorbed] != previous:
            return EdgeOutcome.IGNORED  # one id, or it was absorbed before: the first merge of an id stands
        if absorbed == into:
            self._label[absorbed] = user
            return EdgeOutcome.RELABELLED
        self._parent[absorbed] = into
        return EdgeOutcome.MERGED

    def label(self, id: str) -> str:
        """What the contact of an id answers to now."""
        return self._label[self._contact(id)]

    def labels(self) -> dict[str, str]:
        """What the contact of each id that was named answers to now."""
        return {id: self._label[self._contact(id)] for id in self._parent}

    def _contact(self, id: str) -> str:
        parent = self._parent
        if id not in parent:
            parent[id] = self._label[id] = id
        while parent[id] != id:
            parent[id] = id = parent[parent[id]]
        return id


def _order(edge: Edge) -> tuple[object, ...]:
    return edge.stamp, edge.previous, edge.user


def _is_new(edges: Mapping[str, Mapping[str, Stamp]], edge: Edge) -> bool:
    known = edges.get(edge.previous, {}).get(edge.user)
    return known is None or edge.stamp < known


def _within(edges: Mapping[str, Mapping[str, Stamp]], ids: Iterable[str]) -> Iterable[Edge]:
    return (Edge(stamp, id, user) for id in ids for user, stamp in edges.get(id, {}).items())


def _component(edges: Mapping[str, Mapping[str, Stamp]], start: set[str]) -> set[str]:
    """Every id that is connected to one of `start`, whichever way its edges point."""
    neighbours: dict[str, list[str]] = {}
    for previous, users in edges.items():
        for user in users:
            neighbours.setdefault(previous, []).append(user)
            neighbours.setdefault(user, []).append(previous)
    reached, frontier = set(start), list(start)
    while frontier:
        for neighbour in neighbours.get(frontier.pop(), ()):
            if neighbour not in reached:
                reached.add(neighbour)
                frontier.append(neighbour)
    return reached
