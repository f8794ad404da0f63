"""What the stages send each other. The encoding (msgpack arrays, tagged) is part of the contract between versions."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import msgspec

from transforms.core.facts import Known
from transforms.core.stamps import Stamp

HOPS: Final = 3
"""How many users an id's path of earliest edges is followed by. A path with so many chain ids is replayed by chains: an
anonymous id → an e-mail address → an id → a CRM's id has two of them."""


class Hop(NamedTuple):
    """Which of the hops a stage is used for, counted from 1."""

    number: int
    is_last: bool


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

    A person's version grows by one number at each household that passes the member on. `handed_over` is for the
    household of the id's own key: the facts that gave the rows which the person has written and leaves to it.
    `is_chain` tells the id's home that others may come by way of the id.
    """

    id: str
    version: tuple[int, ...]
    facts: Known | None
    handed_over: Known | None = None
    is_chain: bool = False


class Edge(msgspec.Struct, frozen=True, gc=False):
    """A call made `previous` the same person as `user`."""

    stamp: Stamp
    previous: str
    user: str


class Pointer(ProtocolMessage, frozen=True, array_like=True, tag="pointer", gc=False):
    """A chain id's earliest edge leads to `target`. `edges` are those out of the id that are new; a household, which
    follows the earliest alone, gets none."""

    version: int
    target: str
    edges: dict[str, Stamp] = {}


class Token(ProtocolMessage, frozen=True, array_like=True, tag="token", gc=False):
    """A chain id's edge leads here, or has led here and does no more: `is_later` is None then, and otherwise tells
    whether it is another than the id's earliest."""

    id: str
    version: tuple[int, ...]
    is_later: bool | None


class Deep(ProtocolMessage, frozen=True, array_like=True, tag="deep", gc=False):
    """Whether only a replay can follow the path through a chain id, by the stage of this hop; and edges out of the id
    that chains has not got from there."""

    id: str
    hop: int
    version: int
    is_deep: bool
    edges: dict[str, Stamp] = {}


class Label(ProtocolMessage, frozen=True, array_like=True, tag="label", gc=False):
    """The contact of this id answers to `label`; where that is None, it is the path of earliest edges that tells."""

    version: int
    label: str | None


P = TypeVar("P")

Newest = dict[str, tuple[tuple[int, ...], P | None]]
"""Of each id the version and the payload of the newest message about it. The None of one that is gone stays: a
tombstone, so that an older arrival that comes late changes nothing."""

Members = Newest[Known]


def is_newer(version: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """The order of versions; a number that is absent is zero."""
    if len(version) == len(other):
        return version > other
    length = max(len(version), len(other))
    return version + (0,) * (length - len(version)) > other + (0,) * (length - len(other))


def keep_newest(newest: Newest[P], id: str, version: tuple[int, ...], payload: P | None) -> bool:
    """Puts a message in the place of an older one about the same id. Returns whether it was newer."""
    known = newest.get(id)
    if known is not None and not is_newer(version, known[0]):
        return False
    newest[id] = (version, payload)
    return True
