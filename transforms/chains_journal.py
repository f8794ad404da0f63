"""How a streaming job keeps chains (`transforms.core.identity.chains`): the head of the journal as one value, which a
window reads and writes; two bags for the journal, which a window adds to; and the index of it, in memory.

A process has one index, which no work item changes but by what a head says that others have committed. Where it fits
no head, because the process is new or has done nothing for long, the whole journal is read.

Labels that are too much for one bundle go out in pages, each by a timer, as in `transforms.paged_step`. What is new is
in the journal with the first page already: a later one has the labels of its ids as they are in the index then.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from msgspec.structs import replace

from transforms import metrics
from transforms.coders import PackedCoder, StructCoder
from transforms.core.identity import chains
from transforms.core.identity.chains import ChainsCommit, ChainsHead, ChainsOutbox, ChainsState, LabelPages
from transforms.core.identity.chains_index import ChainsIndex
from transforms.core.identity.protocol import Deep, ProtocolMessage
from transforms.paged_step import FEW, NEXT_BUNDLE_S
from transforms.windows import END_OF_TIME_S, Clock, arrived_at

_LABELS: Final = "labels"
_HEAD: Final = BagStateSpec("head", StructCoder(ChainsHead))
_JOURNALS: Final = (BagStateSpec("journal_0", PackedCoder()), BagStateSpec("journal_1", PackedCoder()))
_NEXT_PAGE: Final = TimerSpec("next_page", TimeDomain.WATERMARK)
UNCOMMITTED_BYTES: Final = 16_000_000
"""A process keeps so much of what its work items have computed, until one of them is seen to count."""

Observe = Callable[[ChainsState], None]


class _Held(NamedTuple):
    """An index, and by the digest after it what work items have computed on it that may count or not."""

    of_journal: ChainsIndex
    outcomes: dict[bytes, list[bytes]]


class OneIndex:
    """The index of this process. A work item takes it, and no other has it then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: _Held | None = None

    def take(self, head: ChainsHead, journal: Callable[[int], Iterable[bytes]]) -> _Held:
        """The index of a head's journal."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            if held.of_journal.digest == head.digest:
                return held
            for digest in {head.digest, *(part.digest for part in head.tail)} & held.outcomes.keys():
                held.of_journal.add(held.outcomes[digest], digest)
                break
            if chains.catch_up(held.of_journal, head):
                return _Held(held.of_journal, {})
        del held  # before another is made
        return _Held(chains.index_of(head, journal), {})

    def give_back(self, held: _Held) -> None:
        """Keeps an index for the next work item."""
        while held.outcomes and _size(held.outcomes) > UNCOMMITTED_BYTES:
            del held.outcomes[next(iter(held.outcomes))]
        with self._lock:
            self._held = held


def _size(outcomes: Mapping[bytes, list[bytes]]) -> int:
    return sum(len(entry) for entries in outcomes.values() for entry in entries)


_INDEX: Final = OneIndex()


def chains_fn(page_bytes: int | None, clock: Clock, observe: Observe) -> beam.DoFn:
    """`(key, messages)` → `ChainsOutbox`, by its field; `page_bytes` as in `KeyedStep`. `observe` gets the state after
    each window, without its journals."""
    return _ChainsFn(observe) if page_bytes is None else _PagedChainsFn(page_bytes, clock, observe)


class _JournalFn(beam.DoFn):
    def __init__(self, observe: Observe) -> None:
        self.observe = observe

    def start_bundle(self) -> None:
        self.keys = 0

    def finish_bundle(self) -> None:
        if self.keys:
            metrics.observe(metrics.WINDOW_KEYS, self.keys)


class _ChainsFn(_JournalFn):
    def process(
        self,
        gathered: tuple[str, Iterable[Deep]],
        head: Any = beam.DoFn.StateParam(_HEAD),  # noqa: B008
        journal_0: Any = beam.DoFn.StateParam(_JOURNALS[0]),  # noqa: B008
        journal_1: Any = beam.DoFn.StateParam(_JOURNALS[1]),  # noqa: B008
    ) -> Iterator[TaggedOutput]:
        self.keys += 1
        now, outbox = _advanced(_Cells(head, (journal_0, journal_1)), gathered[1])
        self.observe(now)
        for element in outbox.labels:
            yield TaggedOutput(_LABELS, element)


class _PagedChainsFn(_JournalFn):
    def __init__(self, page_bytes: int, clock: Clock, observe: Observe) -> None:
        super().__init__(observe)
        self.page_bytes = page_bytes
        self.clock = clock

    def start_bundle(self) -> None:
        super().start_bundle()
        self.pages = 0

    def process(
        self,
        gathered: tuple[str, Iterable[Deep]],
        timestamp: Any = beam.DoFn.TimestampParam,
        head: Any = beam.DoFn.StateParam(_HEAD),  # noqa: B008
        journal_0: Any = beam.DoFn.StateParam(_JOURNALS[0]),  # noqa: B008
        journal_1: Any = beam.DoFn.StateParam(_JOURNALS[1]),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(_NEXT_PAGE),  # noqa: B008
    ) -> Iterator[TaggedOutput]:
        self.keys += 1
        cells = _Cells(head, (journal_0, journal_1))
        before = cells.before()
        now, outbox = _added(before, cells, gathered[1])
        self.observe(ChainsState(now))
        pages = _pages(outbox, self.page_bytes)
        due = outbox.labels
        if pages > 1:
            due, sending = _first_page(outbox, LabelPages(before.version, 0, pages, timestamp.micros), before.sending)
            now = replace(now, sending=sending)
            self._go_on(sending, timer)
        if now != before:
            cells.write(now)
        for element in due:
            yield TaggedOutput(_LABELS, element)

    @on_timer(_NEXT_PAGE)
    def put_out(
        self,
        head: Any = beam.DoFn.StateParam(_HEAD),  # noqa: B008
        journal_0: Any = beam.DoFn.StateParam(_JOURNALS[0]),  # noqa: B008
        journal_1: Any = beam.DoFn.StateParam(_JOURNALS[1]),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(_NEXT_PAGE),  # noqa: B008
    ) -> Iterator[TaggedOutput]:
        cells = _Cells(head, (journal_0, journal_1))
        before = cells.before()
        sending = before.sending
        if sending is None:
            return
        if self.pages:  # a runner may fire in the bundle that put out a page, and commit both at once
            timer.set(Timestamp(self.clock() + NEXT_BUNDLE_S))
            return
        held = _INDEX.take(before, cells.read)
        labels = chains.labels_above(held.of_journal, sending.above)
        due = [(id, label) for id, label in labels if _page_of(id, sending.pages) == sending.page]
        _INDEX.give_back(held)
        at = arrived_at(Timestamp(micros=sending.at), Timestamp(self.clock()), recent_s=END_OF_TIME_S)
        for element in due:
            yield TaggedOutput(_LABELS, TimestampedValue(element, at))
        following = replace(sending, page=sending.page + 1)
        if following.page == following.pages:
            cells.write(replace(before, sending=None))
            return
        cells.write(replace(before, sending=following))
        self._go_on(following, timer)

    def _go_on(self, sending: LabelPages, timer: Any) -> None:
        self.pages += 1
        timer.set(Timestamp(micros=sending.at))


class _Cells(NamedTuple):
    """The state of the key, as Beam gives it."""

    head: Any
    journals: tuple[Any, Any]

    def before(self) -> ChainsHead:
        return next(iter(self.head.read()), None) or ChainsState().head

    def read(self, journal: int) -> Iterable[bytes]:
        return self.journals[journal].read()

    def add(self, commit: ChainsCommit) -> None:
        for entry in (*commit.added, *commit.copied):
            self.journals[commit.journal].add(entry)
        if commit.cleared is not None:
            self.journals[commit.cleared].clear()

    def write(self, head: ChainsHead) -> None:
        self.head.clear()
        self.head.add(head)


def advanced(bag: Callable[[BagStateSpec], Any], inbox: Iterable[Deep]) -> tuple[ChainsState, ChainsOutbox]:
    """Runs the step on the key's bags. Gives the state after it, without its journals, and the outbox."""
    return _advanced(_Cells(bag(_HEAD), (bag(_JOURNALS[0]), bag(_JOURNALS[1]))), inbox)


def _advanced(cells: _Cells, inbox: Iterable[Deep]) -> tuple[ChainsState, ChainsOutbox]:
    before = cells.before()
    now, outbox = _added(before, cells, inbox)
    if now != before:
        cells.write(now)
    return ChainsState(now), outbox


def _added(before: ChainsHead, cells: _Cells, inbox: Iterable[Deep]) -> tuple[ChainsHead, ChainsOutbox]:
    """Adds to the journal what messages change. The head is not written yet."""
    held = _INDEX.take(before, cells.read)
    commit, outbox = chains.advance(held.of_journal, before, inbox)
    if commit is not None:
        held.outcomes[commit.head.digest] = commit.added
        cells.add(commit)
    _INDEX.give_back(held)
    return before if commit is None else commit.head, outbox


_MESSAGE: Final = StructCoder(ProtocolMessage)


def _pages(outbox: ChainsOutbox, page_bytes: int) -> int:
    """How many pages an outbox has; one of few elements is one page, and is not measured."""
    if len(outbox.labels) <= FEW:
        return 1
    return -(-sum(len(id) + len(_MESSAGE.encode(label)) for id, label in outbox.labels) // page_bytes)


def _first_page(
    outbox: ChainsOutbox, sending: LabelPages, before: LabelPages | None
) -> tuple[list[tuple[str, ProtocolMessage]], LabelPages]:
    """What of an outbox goes out at once, and where its pages stand then. Where others are not all out yet, they begin
    again with these: what comes twice changes nothing."""
    if before is not None:
        return [], LabelPages(before.above, 0, before.pages + sending.pages, min(before.at, sending.at))
    first = [(id, label) for id, label in outbox.labels if _page_of(id, sending.pages) == 0]
    return first, replace(sending, page=1)


def _page_of(id: str, pages: int) -> int:
    return zlib.crc32(id.encode()) % pages
