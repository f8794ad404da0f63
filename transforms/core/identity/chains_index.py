"""What chains knows: a journal that grows by what is new, and in memory an index of it, for what a window touches.

The journal is what counts: entries of nodes, in the order of their windows. The index is made of it, and of nothing
else: so it never holds what was not committed, however often a window is computed and thrown away. An id is a number in
both, its place among those that were named.

    journal    entries: [the ids that are new, the nodes that have changed], …
    index      id → number → its component's record → the nodes of that
    digest     of the journal so far: of the same content in every process, and of no other
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from transforms.core.stamps import Stamp

NONE: Final = -1
"""No number of an id."""
EMPTY: Final = b""
"""The digest of an empty journal."""
NODES: Final = 500
"""An entry has at most so many nodes, and so many new ids."""
_DIGEST_BYTES: Final = 16
_BITS: Final = 32
_LOW: Final = (1 << _BITS) - 1


class ChainNode(msgspec.Struct, array_like=True, gc=False):
    """What is known of one id: the edges out of it, by the user's number; by hop the newest message on whether it is
    deep; the number of the label that was sent last, NONE where it has none, and the version of that. In the journal
    the edges are those that are new."""

    number: int
    edges: dict[int, Stamp] = {}
    deep: dict[int, tuple[int, bool]] = {}
    label: int = NONE
    version: int = 0

    @property
    def is_deep(self) -> bool:
        """Whether the stage of any hop finds the id deep."""
        return any(is_deep for _, is_deep in self.deep.values())


class ChainsEntry(msgspec.Struct, array_like=True, gc=False):
    """A part of the journal: ids, of which the first has a number; nodes; and how many ids there are with these."""

    first: int
    ids: list[str]
    nodes: list[ChainNode]
    total: int


_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(ChainsEntry).decode
_decode_record = msgspec.msgpack.Decoder(list[ChainNode]).decode


def entries(first: int, ids: Sequence[str], nodes: Sequence[ChainNode], total: int) -> list[bytes]:
    """Ids, numbered from `first`, and nodes as entries of the journal."""
    return [
        _encode(ChainsEntry(first + at, [*ids[at : at + NODES]], [*nodes[at : at + NODES]], total))
        for at in range(0, max(len(ids), len(nodes)), NODES)
    ]


def size_in_journal(node: ChainNode, id: str) -> int:
    """About how many bytes an id and its node have in the journal."""
    return len(_encode(node)) + len(id)


def digest_of(before: bytes, added: Iterable[bytes]) -> bytes:
    """The digest of a journal with these entries added."""
    digest = hashlib.blake2b(before, digest_size=_DIGEST_BYTES)
    for entry in added:
        digest.update(len(entry).to_bytes(8, "big"))
        digest.update(entry)
    return digest.digest()


class ChainsIndex:
    """The ids and components of a journal. A component is kept as a record, its nodes as bytes. `digest` tells which
    journal it is of; `size` is about how many bytes that would have if nothing in it were out of date."""

    def __init__(self) -> None:
        self.digest = EMPTY
        self.size = 0
        self._ids: list[str] = []
        self._numbers = _Numbers(self._ids)
        self._record_of = array("I")
        self._records: list[bytes | None] = []

    def __len__(self) -> int:
        return len(self._ids)

    def draft(self) -> ChainsDraft:
        """What a window may change without a change of the index."""
        return ChainsDraft(self)

    def add(self, added: Iterable[bytes], digest: bytes) -> None:
        """Adds entries of the journal, of which it has the digest then."""
        for entry in added:
            self._add(_decode_entry(entry))
        self.digest = digest

    def id(self, number: int) -> str:
        """The id of a number."""
        return self._ids[number]

    def number(self, id: str) -> int | None:
        """The number of an id, None where it was never named."""
        return self._numbers.get(id)

    def components(self) -> Iterator[tuple[int, list[ChainNode]]]:
        """The nodes of each component, which is named by the number of one."""
        for number, record in enumerate(self._records):
            if record is not None:
                yield number, _decode_record(record)

    def component(self, number: int) -> tuple[int, list[ChainNode]]:
        """The component of an id, and its nodes."""
        if number >= len(self._records):
            return number, [ChainNode(number)]
        name = self._record_of[number]
        record = self._records[name]
        return name, [ChainNode(number)] if record is None else _decode_record(record)

    def put(self, name: int, nodes: Sequence[ChainNode]) -> None:
        """Takes over the nodes of a component that has changed."""
        for node in nodes:
            before = self._record_of[node.number]
            if before != name:
                self._record_of[node.number] = name
                self._forget(before)
        self._forget(name)
        record = self._records[name] = _encode(nodes)
        self.size += len(record)

    def _forget(self, name: int) -> None:
        self.size -= len(self._records[name] or b"")
        self._records[name] = None

    def _add(self, entry: ChainsEntry) -> None:
        for number in range(len(self._ids), entry.total):
            self._ids.append("")
            self._record_of.append(number)
            self._records.append(None)
        for number, id in enumerate(entry.ids, entry.first):
            if not self._ids[number]:
                self._ids[number] = id
                self._numbers.add(number)
                self.size += len(id)
        draft = self.draft()
        for node in entry.nodes:
            draft.learn(node)
        for name, nodes in draft.components():
            self.put(name, nodes)


class _Numbers:
    """The numbers of ids in a list that grows: a hash table of 12 to 24 bytes an id, where a dict takes a hundred.

    A slot has 32 bits of an id's hash, and the number that follows the id's; an empty one is zero. So an id that is new
    is looked up without a look at others, which are all over the memory.
    """

    def __init__(self, ids: list[str]) -> None:
        self._ids = ids
        self._count = 0
        self._slots = array("Q", bytes(128))

    def get(self, id: str) -> int | None:
        """The number of an id, None where it has none."""
        hashed, slots, ids = hash(id) & _LOW, self._slots, self._ids
        last = len(slots) - 1
        at = hashed & last
        while slot := slots[at]:
            if slot >> _BITS == hashed and ids[(slot & _LOW) - 1] == id:
                return (slot & _LOW) - 1
            at = (at + 1) & last
        return None

    def add(self, number: int) -> None:
        """Gives the id of a number, which has none, its number."""
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            slots, self._slots = self._slots, array("Q", bytes(2 * self._slots.itemsize * len(self._slots)))
            for slot in slots:
                if slot:
                    self._put(slot)
        self._put((hash(self._ids[number]) & _LOW) << _BITS | number + 1)

    def _put(self, slot: int) -> None:
        slots = self._slots
        last = len(slots) - 1
        at = (slot >> _BITS) & last
        while slots[at]:
            at = (at + 1) & last
        slots[at] = slot


class ChainsDraft:
    """Components of an index that are looked at, joined and changed, while the index stays as it is. `new_ids` are the
    ids that the index does not have, in the order of their numbers."""

    def __init__(self, index: ChainsIndex) -> None:
        self._index = index
        self.new_ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._nodes: dict[int, ChainNode] = {}
        self._joined: dict[int, int] = {}
        self._members: dict[int, list[int]] = {}
        self._name_of: dict[int, int] = {}

    @property
    def total(self) -> int:
        """How many ids there are, with those that are new."""
        return len(self._index) + len(self.new_ids)

    def number(self, id: str) -> int:
        """The number of an id; the next one where it is new."""
        number = self._index.number(id)
        if number is None:
            number = self._numbers.get(id)
        if number is None:
            number = self._numbers[id] = self.total
            self.new_ids.append(id)
        return number

    def id(self, number: int) -> str:
        """The id of a number."""
        known = len(self._index)
        return self._index.id(number) if number < known else self.new_ids[number - known]

    def node(self, number: int) -> ChainNode:
        """The node of an id, to be changed as well."""
        self._load(number)
        return self._nodes[number]

    def learn(self, node: ChainNode) -> None:
        """Takes over a node as an entry of the journal has it."""
        known = self.node(node.number)
        for user, stamp in node.edges.items():
            self.learn_edge(known, user, stamp)
        known.deep, known.label, known.version = node.deep, node.label, node.version

    def learn_edge(self, node: ChainNode, user: int, stamp: Stamp) -> bool:
        """Adds an edge, and returns whether it is new or earlier than before."""
        known = node.edges.get(user)
        if known is not None and known <= stamp:
            return False
        node.edges[user] = stamp
        self._join(node.number, user)
        return True

    def component(self, number: int) -> int:
        """Which component an id is in now."""
        return self._root(self._load(number))

    def nodes(self, name: int) -> list[ChainNode]:
        """The nodes of a component."""
        return [self._nodes[number] for number in self._members[name]]

    def components(self) -> Iterator[tuple[int, list[ChainNode]]]:
        """The components that were looked at."""
        for name, members in self._members.items():
            yield name, [self._nodes[number] for number in members]

    def is_loaded(self, name: int) -> bool:
        """Whether a component of the index was looked at."""
        return name in self._joined

    def _load(self, number: int) -> int:
        name = self._name_of.get(number)
        if name is None:
            name, nodes = self._index.component(number)
            self._joined[name] = name
            self._members[name] = [node.number for node in nodes]
            for node in nodes:
                self._nodes[node.number] = node
                self._name_of[node.number] = name
        return name

    def _root(self, name: int) -> int:
        joined = self._joined
        while joined[name] != name:
            joined[name] = name = joined[joined[name]]
        return name

    def _join(self, one: int, other: int) -> None:
        small, large = self.component(one), self.component(other)
        if small == large:
            return
        if len(self._members[small]) > len(self._members[large]):
            small, large = large, small
        self._joined[small] = large
        self._members[large] += self._members.pop(small)
