"""What the stages send each other. The encoding (msgpack arrays, tagged) is part of the contract between versions."""

from __future__ import annotations

from typing import Final

import msgspec

from transforms.core.facts import Known, Stamp

CHAINS: Final = ""
"""The one key of the stage chains; no id is empty."""

Version = tuple[int, int]
"""(times the id moved, messages its person sent): the order of what is said about one member."""

UNHEARD: Final[Version] = (0, 0)
"""The version before the first message about an id."""


class ProtocolMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The base of what stages send each other."""


class Member(ProtocolMessage, frozen=True, array_like=True, tag="member", gc=False):
    """An id is here with these facts, or with None: it is not here. The facts carry no edges.

    From a household to a contact the version goes on with that of the household's label. `alone` is for the household
    of the id's own key: the facts that gave the rows which the person has written and leaves to it.
    """

    id: str
    version: tuple[int, ...]
    facts: Known | None
    alone: Known | None = None


class Label(ProtocolMessage, frozen=True, array_like=True, tag="label", gc=False):
    """The contact of this id answers to `label`."""

    version: int
    label: str


class Edge(ProtocolMessage, frozen=True, array_like=True, tag="edge", gc=False):
    """`previous` was told to be `user`. The set of edges only grows, so an edge needs no version."""

    stamp: Stamp
    previous: str
    user: str


Members = dict[str, tuple[tuple[int, ...], Known | None]]
"""Of each id the newest version that was heard, and its facts; None stays, as a tombstone for what comes late."""


def hear(members: Members, said: Member) -> bool:
    """Takes what is said of a member where it is newer; tells whether it was."""
    known = members.get(said.id)
    if known is not None and known[0] >= said.version:
        return False
    members[said.id] = (said.version, said.facts)
    return True
