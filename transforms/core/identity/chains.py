"""Stage 3, one key: the edges out of deep ids, replayed.

Invariant: the newest label that was sent to an id is the one that a replay of all edges in state gives it, by the rules
of `state.rules`, where the id is deep or the label of one that is; None where it is neither, and was. "Newest" is by
version: each label has a greater one than those that were sent to the id before.

Rare by nature: ordinary traffic (an anonymous id becomes an e-mail address, and that a user) never comes here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from transforms.core.identity.protocol import Deep, Edge, Label, ProtocolMessage
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED
from transforms.core.stamps import Stamp


class ChainsState(msgspec.Struct, array_like=True, gc=False):
    """The edges by previous id and user, each at its earliest stamp; of each id, by hop, the newest message on whether
    it is deep; the labels that were sent and stand; the version of those last sent, and that of the rules they were
    made by."""

    edges: dict[str, dict[str, Stamp]] = {}
    deep: dict[str, dict[int, tuple[int, bool]]] = {}
    labels: dict[str, str] = {}
    version: int = 0
    rules: int = UNVERSIONED


class ChainsOutbox(msgspec.Struct, gc=False):
    """Messages to the households of every hop by id."""

    labels: list[tuple[str, ProtocolMessage]] = []


def size(state: ChainsState) -> int:
    """Edges out of deep ids."""
    return sum(map(len, state.edges.values()))


def step(key: str, state: ChainsState | None, inbox: Iterable[Deep]) -> tuple[ChainsState, ChainsOutbox]:
    """Adds edges, and sends each id its label where it is new or has changed. Only components that are touched are
    replayed; where older rules made the labels, everything is, and every label is sent again."""
    state = state or ChainsState(rules=RULES_VERSION)
    by_other_rules = state.rules != RULES_VERSION
    edges, deep = dict(state.edges), dict(state.deep)
    touched = set(edges).union(deep) if by_other_rules else set()
    for message in inbox:
        was_deep = _is_deep(deep.get(message.id, {}))
        _learn_deep(deep, message)
        if _learn(edges, state.edges, message) or was_deep != _is_deep(deep[message.id]):
            touched.update((message.id, *message.edges))
    if not touched:
        return (state if deep == state.deep else replace(state, deep=deep)), ChainsOutbox()
    component = _component(edges, touched)
    labels = dict(state.labels)
    wanted = _labels(component, edges, deep)
    version = state.version + 1
    outbox = ChainsOutbox()
    for id in sorted(component):
        label, label_before = wanted.get(id), labels.pop(id, None)
        if label is not None:
            labels[id] = label
        if label != label_before or (by_other_rules and label is not None):
            outbox.labels.append((id, Label(version, label)))
    return ChainsState(edges, deep, labels, version, RULES_VERSION), outbox


def _learn(edges: dict[str, dict[str, Stamp]], before: Mapping[str, Mapping[str, Stamp]], message: Deep) -> bool:
    """Adds the edges that are new. Returns whether any is."""
    known = before.get(message.id, {})
    new = {user: stamp for user, stamp in message.edges.items() if user not in known or stamp < known[user]}
    for user, stamp in new.items():
        users = edges[message.id] = dict(edges.get(message.id, {}))
        users[user] = min(users.get(user, stamp), stamp)
    return bool(new)


def _learn_deep(deep: dict[str, dict[int, tuple[int, bool]]], message: Deep) -> None:
    """Keeps the newest message of each hop."""
    hops = deep.get(message.id, {})
    newest = max(hops.get(message.hop, (0, False)), (message.version, message.is_deep))
    deep[message.id] = {**hops, message.hop: newest}


def _is_deep(hops: Mapping[int, tuple[int, bool]]) -> bool:
    return any(is_deep for _, is_deep in hops.values())


def _labels(
    ids: set[str], edges: Mapping[str, Mapping[str, Stamp]], deep: Mapping[str, Mapping[int, tuple[int, bool]]]
) -> dict[str, str]:
    """The labels of a component's deep ids, and of those that are such a label."""
    resolved = resolve(_within(edges, ids))
    labels = {id: resolved.get(id, id) for id in ids if id in deep and _is_deep(deep[id])}
    return {**{label: label for label in labels.values()}, **labels}


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
