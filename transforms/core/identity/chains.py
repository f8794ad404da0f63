"""Stage 3, one key: the edges out of deep ids, replayed.

Invariant: the newest label that was sent to an id is the one that a replay of all edges in the journal gives it, by
the rules of `head.rules`, where the id is deep or the label of one that is; None where it is neither, and was. "Newest"
is by version: each label has a greater one than those that were sent to the id before.

Rare by nature: ordinary traffic (an anonymous id becomes an e-mail address, and that a user) never comes here. But all
of it has one key, so a window adds to a journal what is new, and reads nothing but the head of it. What it looks up is
in an index, in memory:

    head of the journal     index
    ───────────────────     ─────
    digest 7                of digest 7: it is used as it is
    digest 8, tail 7 → 8    of digest 7: the tail is added first, whichever process has written it
    digest 9, tail 8 → 9    of digest 7, or none: it is made of the whole journal

A window does not change the index. What it adds to the journal comes to the index by the next head, once it counts: so
an outcome that was thrown away is never in it.

The journal is copied where most of it is out of date: each window then adds some ids as they are now to the other of
two journals, and what is new as well; when all ids are copied, the first journal is cleared.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from transforms.core.identity.chains_index import (
    EMPTY,
    NONE,
    ChainNode,
    ChainsDraft,
    ChainsIndex,
    digest_of,
    entries,
    size_in_journal,
)
from transforms.core.identity.protocol import Deep, Edge, Label, ProtocolMessage
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED
from transforms.core.stamps import Stamp

TAIL_BYTES: Final = 24_000
"""So much of the journal's end is in the head as well: what other processes have added lately."""
COPIED_BYTES: Final = 16_000
"""So much of a journal that is copied a window copies at least; twice of what it adds, if that is more."""
OUT_OF_DATE_BYTES: Final = 100_000
"""A journal is copied when it is twice as large as its copy would be, and so much larger."""


class TailPart(NamedTuple):
    """What one window has added to the journal, and the digest of the journal before it."""

    digest: bytes
    entries: list[bytes]


class LabelPages(msgspec.Struct, array_like=True, gc=False):
    """Labels with a version above one that go out in pages: which page is next, of how many; the timestamp that they
    have, in microseconds."""

    above: int
    page: int
    pages: int
    at: int


class ChainsHead(msgspec.Struct, array_like=True, gc=False):
    """What a window needs of the journal: its digest and its tail; the version of the labels that were sent last, and
    that of the rules they were made by; how many edges there are; which of two journals it is, with how many bytes; the
    next id to be copied to the other one, None where it is not copied, with how many bytes; and the labels that go out
    in pages."""

    digest: bytes = EMPTY
    version: int = 0
    rules: int = UNVERSIONED
    edges: int = 0
    journal: int = 0
    journal_bytes: int = 0
    next_copied: int | None = None
    copied_bytes: int = 0
    tail: list[TailPart] = []
    sending: LabelPages | None = None


class ChainsState(msgspec.Struct, array_like=True, gc=False):
    """All that a key keeps: the head, and both journals, of which one is empty where nothing is copied. A streaming job
    keeps these apart (`transforms.chains_journal`)."""

    head: ChainsHead = msgspec.field(default_factory=lambda: ChainsHead(rules=RULES_VERSION))
    journals: tuple[list[bytes], list[bytes]] = ([], [])


class ChainsOutbox(msgspec.Struct, gc=False):
    """Messages to the households of every hop by id."""

    labels: list[tuple[str, ProtocolMessage]] = []


class ChainsCommit(NamedTuple):
    """What a window changes: the head; entries that it adds to a journal, what is new and then what is copied; and the
    other journal, where it is to be cleared."""

    head: ChainsHead
    journal: int
    added: list[bytes]
    copied: list[bytes]
    cleared: int | None


def size(state: ChainsState) -> int:
    """Edges out of deep ids."""
    return state.head.edges


def step(key: str, state: ChainsState | None, inbox: Iterable[Deep]) -> tuple[ChainsState, ChainsOutbox]:
    """Adds edges, and sends each id its label where it is new or has changed. Only components that are touched are
    replayed; where older rules made the labels, everything is, and every label is sent again."""
    state = state or ChainsState()
    commit, outbox = advance(index_of(state.head, lambda journal: state.journals[journal]), state.head, inbox)
    if commit is None:
        return state, outbox
    journals = [*state.journals]
    journals[commit.journal] = [*journals[commit.journal], *commit.added, *commit.copied]
    if commit.cleared is not None:
        journals[commit.cleared] = []
    return ChainsState(commit.head, (journals[0], journals[1])), outbox


def index_of(head: ChainsHead, journal: Callable[[int], Iterable[bytes]]) -> ChainsIndex:
    """The index of a whole journal; `journal` reads one of the two."""
    index = ChainsIndex()
    index.add(journal(head.journal), head.digest)
    if head.next_copied is not None:
        index.add(journal(1 - head.journal), head.digest)
    return index


def catch_up(index: ChainsIndex, head: ChainsHead) -> bool:
    """Adds the tail to an index that is not of the head's journal yet. Returns whether it is of that now."""
    if index.digest == head.digest:
        return True
    parts = [number for number, part in enumerate(head.tail) if part.digest == index.digest]
    if not parts:
        return False
    index.add((entry for part in head.tail[parts[0] :] for entry in part.entries), head.digest)
    return True


def advance(index: ChainsIndex, head: ChainsHead, inbox: Iterable[Deep]) -> tuple[ChainsCommit | None, ChainsOutbox]:
    """What messages change, None where nothing, and what is sent; `index` is of the head's journal, and stays so."""
    by_other_rules = head.rules != RULES_VERSION
    draft = index.draft()
    news = _learn(draft, inbox)
    version = head.version + bool(news.touched or by_other_rules)
    outbox = ChainsOutbox()
    relabelled: dict[int, ChainNode] = {}
    for nodes in _touched(index, draft, news.touched, by_other_rules):
        wanted = _labels(nodes, draft)
        for node in nodes:
            label = wanted.get(node.number, NONE)
            if label != node.label or (by_other_rules and label != NONE):
                node.label, node.version = label, version
                relabelled[node.number] = replace(node, edges={})
                sent = None if label == NONE else draft.id(label)
                outbox.labels.append((draft.id(node.number), Label(version, sent)))
    outbox.labels.sort()
    changed = news.changed | relabelled
    if not changed and not by_other_rules:
        return None, outbox
    delta = [replace(changed[number], edges=news.edges.get(number, {})) for number in sorted(changed)]
    added = entries(len(index), draft.new_ids, delta, draft.total)
    now = replace(head, version=version, rules=RULES_VERSION, edges=head.edges + news.new_edges)
    return _commit(index, draft, now, added, is_copied=not by_other_rules), outbox


def labels_above(index: ChainsIndex, version: int) -> Iterator[tuple[str, Label]]:
    """The newest label of each id, where it has a greater version."""
    for _, nodes in index.components():
        for node in nodes:
            if node.version > version:
                label = None if node.label == NONE else index.id(node.label)
                yield index.id(node.number), Label(node.version, label)


class _News(NamedTuple):
    """Nodes that messages have changed, those whose components are to be replayed, and the edges that are new or
    earlier than before: of each node, and how many of them were not known."""

    changed: dict[int, ChainNode]
    touched: set[int]
    edges: dict[int, dict[int, Stamp]]
    new_edges: int


def _learn(draft: ChainsDraft, inbox: Iterable[Deep]) -> _News:
    """Takes over messages, in an order that does not depend on theirs: so the journal has the same digest."""
    changed: dict[int, ChainNode] = {}
    edges: dict[int, dict[int, Stamp]] = {}
    touched = set()
    new_edges = 0
    for message in sorted(inbox, key=lambda message: (message.id, message.hop, message.version)):
        node = draft.node(draft.number(message.id))
        was_deep, hop_before, known = node.is_deep, node.deep.get(message.hop), len(node.edges)
        node.deep[message.hop] = max(hop_before or (0, False), (message.version, message.is_deep))
        new = {
            user: stamp
            for user, stamp in ((draft.number(id), stamp) for id, stamp in sorted(message.edges.items()))
            if draft.learn_edge(node, user, stamp)
        }
        if new:
            edges.setdefault(node.number, {}).update(new)
            new_edges += len(node.edges) - known
        if new or node.is_deep != was_deep:
            touched.add(node.number)
        if new or node.deep[message.hop] != hop_before:
            changed[node.number] = node
    return _News(changed, touched, edges, new_edges)


def _touched(
    index: ChainsIndex, draft: ChainsDraft, touched: Iterable[int], by_other_rules: bool
) -> Iterator[list[ChainNode]]:
    """The components to be replayed: by other rules, all."""
    if not by_other_rules:
        for name in dict.fromkeys(map(draft.component, sorted(touched))):
            yield draft.nodes(name)
        return
    for _, nodes in draft.components():
        yield nodes
    for name, nodes in index.components():
        if not draft.is_loaded(name):
            yield nodes


def _labels(nodes: Sequence[ChainNode], draft: ChainsDraft) -> dict[int, int]:
    """The labels of a component's deep ids, and of those that are such a label."""
    deep = [node.number for node in nodes if node.is_deep]
    if not deep:
        return {}
    resolved = resolve(
        Edge(stamp, draft.id(node.number), draft.id(user)) for node in nodes for user, stamp in node.edges.items()
    )
    labels = {}
    for number in deep:
        id = draft.id(number)
        labels[number] = draft.number(resolved.get(id, id))
    return {**{label: label for label in labels.values()}, **labels}


def _commit(
    index: ChainsIndex, draft: ChainsDraft, now: ChainsHead, added: list[bytes], is_copied: bool
) -> ChainsCommit:
    """The commit of a window: `now` is the head before it, with what the journal does not concern."""
    now = replace(now, digest=digest_of(now.digest, added), tail=_tail(now, added))
    added_bytes = sum(map(len, added))
    if is_copied and now.next_copied is None and now.journal_bytes > 2 * index.size + OUT_OF_DATE_BYTES:
        now = replace(now, next_copied=0, copied_bytes=0)
    if now.next_copied is None:
        return ChainsCommit(replace(now, journal_bytes=now.journal_bytes + added_bytes), now.journal, added, [], None)
    journal, at = 1 - now.journal, now.next_copied
    copy: list[bytes] = []
    if is_copied:
        copy, at = _copy(draft, now.next_copied, max(COPIED_BYTES, 2 * added_bytes))
    copied_bytes = now.copied_bytes + added_bytes + sum(map(len, copy))
    if at < draft.total:
        return ChainsCommit(replace(now, next_copied=at, copied_bytes=copied_bytes), journal, added, copy, None)
    head = replace(now, journal=journal, journal_bytes=copied_bytes, next_copied=None, copied_bytes=0)
    return ChainsCommit(head, journal, added, copy, now.journal)


def _copy(draft: ChainsDraft, first: int, most: int) -> tuple[list[bytes], int]:
    """Entries with ids as they are now, from a number on, of about so many bytes; and the next number."""
    ids: list[str] = []
    nodes: list[ChainNode] = []
    at = first
    while at < draft.total and most > 0:
        id, node = draft.id(at), draft.node(at)
        most -= size_in_journal(node, id)
        ids.append(id)
        nodes.append(node)
        at += 1
    return entries(first, ids, nodes, draft.total), at


def _tail(head: ChainsHead, added: list[bytes]) -> list[TailPart]:
    """The tail with another part, as far as it may grow."""
    tail = [*head.tail, TailPart(head.digest, added)]
    total = sum(len(entry) for part in tail for entry in part.entries)
    while tail and total > TAIL_BYTES:
        total -= sum(map(len, tail.pop(0).entries))
    return tail


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
