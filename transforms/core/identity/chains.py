"""Stage 2, one key: the edges out of chain ids, replayed.

Invariant: each id has been sent the label that a replay of all edges heard so far gives it, under a version greater
than that of any other label it was sent; an id never spoken of answers to itself.

Rare by nature: ordinary traffic (an anonymous id becomes a user) never comes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from transforms.core.facts import Stamp
from transforms.core.identity.messages import Edge, Label, Message


class Chains(msgspec.Struct, array_like=True, gc=False):
    """The edges by previous id and user, each at its earliest stamp."""

    edges: dict[str, dict[str, Stamp]] = {}
    version: int = 0


class Outbox(msgspec.Struct, gc=False):
    """Messages to households by id."""

    labels: list[tuple[str, Message]] = []


def step(key: str, state: Chains | None, inbox: Iterable[Edge]) -> tuple[Chains, Outbox]:
    """Adds edges, and tells each id whose label changed. Only components that a new edge touches are replayed."""
    state = state or Chains()
    fresh = [edge for edge in inbox if _is_news(state.edges, edge)]
    if not fresh:
        return state, Outbox()
    edges = {previous: dict(users) for previous, users in state.edges.items()}
    for edge in fresh:
        users = edges.setdefault(edge.previous, {})
        users[edge.user] = min(users.get(edge.user, edge.stamp), edge.stamp)
    touched = _component(edges, {id for edge in fresh for id in (edge.previous, edge.user)})
    before = resolve(_within(state.edges, touched))
    after = resolve(_within(edges, touched))
    version = state.version + 1
    changed = [(id, label) for id, label in sorted(after.items()) if before.get(id, id) != label]
    return Chains(edges, version), Outbox([(id, Label(version, label)) for id, label in changed])


def resolve(edges: Iterable[Edge]) -> dict[str, str]:
    """Replays edges in order of their stamps, from contacts of one id each; returns the label of every id that they
    name (`docs/semantics.md`, section 3)."""
    parent: dict[str, str] = {}
    label: dict[str, str] = {}

    def contact(id: str) -> str:
        if id not in parent:
            parent[id] = label[id] = id
        while parent[id] != id:
            parent[id] = id = parent[parent[id]]
        return id

    for edge in sorted(edges, key=_order):
        absorbed, into = contact(edge.previous), contact(edge.user)
        if label[absorbed] != edge.previous:
            continue  # it was absorbed before: the first merge of an id stands
        if absorbed == into:
            label[absorbed] = edge.user
        else:
            parent[absorbed] = into
    return {id: label[contact(id)] for id in parent}


def _order(edge: Edge) -> tuple[object, ...]:
    return edge.stamp, edge.previous, edge.user


def _is_news(edges: Mapping[str, Mapping[str, Stamp]], edge: Edge) -> bool:
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
    found, frontier = set(start), list(start)
    while frontier:
        for neighbour in neighbours.get(frontier.pop(), ()):
            if neighbour not in found:
                found.add(neighbour)
                frontier.append(neighbour)
    return found
