"""What the stages send each other. The encoding (msgpack arrays, tagged) is part of the contract between versions."""

from __future__ import annotations

from typing import Final

import msgspec

from transforms.core.facts import Known
from transforms.core.stamps import Stamp

CHAINS: Final = ""
"""The one key of the stage chains; no id is empty."""

Version = tuple[int, int]
"""(times the id moved, messages its person sent): the order of the messages about one member."""

UNSENT: Final[Version] = (0, 0)
"""The version before the first message about an id."""


class ProtocolMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The base of what stages send each other."""


class Member(ProtocolMessage, frozen=True, array_like=True, tag="member", gc=False):
    """An *arrival*: the id is here, with these facts. Or, where they are None, a *departure*: it is not here. The facts
    carry no edges.

    From a household to a contact the version goes on with that of the household's label, and, where older rules wrote
    the household's state, with how often it has written. `handed_over` is for the household of the id's own key: the
    facts that gave the rows which the person has written and leaves to it.
    """

    id: str
    version: tuple[int, ...]
    facts: Known | None
    handed_over: Known | None = None


class Label(ProtocolMessage, frozen=True, array_like=True, tag="label", gc=False):
    """The contact of this id answers to `label`."""

    version: int
    label: str


class Edge(ProtocolMessage, frozen=True, array_like=True, tag="edge", gc=False):
    """A call said that `previous` is `user`. The set of edges only grows, so an edge needs no version."""

    stamp: Stamp
    previous: str
    user: str


Members = dict[str, tuple[tuple[int, ...], Known | None]]
"""Of each id the version and the facts of its newest message. A departure's None stays: a tombstone, so that an older
arrival that comes late changes nothing."""


def keep_newest(members: Members, message: Member) -> bool:
    """Puts a message in the place of an older one about the same id. Returns whether it was newer."""
    newest = members.get(message.id)
    if newest is not None and newest[0] >= message.version:
        return False
    members[message.id] = (message.version, message.facts)
    return True
