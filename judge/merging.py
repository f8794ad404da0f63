"""Section 3: identity."""

from __future__ import annotations

from collections.abc import Iterable

from judge.values import Stamp


def resolve(edges: Iterable[tuple[Stamp, str, str]]) -> dict[str, str]:
    """Replays `(stamp, previous, user)` by stamp; returns {id: its contact's label} for every id that an edge names."""
    earliest: dict[tuple[str, str], Stamp] = {}
    for stamp, previous, user in edges:
        earliest[previous, user] = min(stamp, earliest.get((previous, user), stamp))

    label: dict[str, str] = {}
    contact: dict[str, list[str]] = {}  # by label: the ids that answer to it
    for _, previous, user in sorted((stamp, previous, user) for (previous, user), stamp in earliest.items()):
        for id_ in (previous, user):
            if id_ not in label:
                label[id_], contact[id_] = id_, [id_]
        if previous == user:
            continue  # ignored
        if label[previous] != previous:
            continue  # ignored: absorbed before
        target = user if label[user] == previous else label[user]  # relabelled, or merged
        moving = contact.pop(previous)
        contact.setdefault(target, []).extend(moving)
        for id_ in moving:
            label[id_] = target
    return label
