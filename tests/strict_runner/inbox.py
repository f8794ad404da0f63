"""What waits in front of a step, by key: elements, timers, and restrictions to be gone on with."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, Final

from apache_beam.coders.coder_impl import create_OutputStream
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import MAX_TIMESTAMP

from tests.strict_runner.graph import IMPULSE, Shuffle, Step, Timer, coder, coder_of_sdk, restriction_provider
from tests.strict_runner.grouping import Grouping, PaneTimer, Waiting, split_up
from tests.strict_runner.report import StepTally
from tests.strict_runner.saved import SavedRestriction, SavedStep, keeps
from tests.strict_runner.watermarks import MAX, MIN, Watermark
from tests.strict_runner.worker import BundleInput, Outcome

TimerId = Hashable
_END_OF_TIME: Final = MAX_TIMESTAMP.micros - 2 * 86_400_000_000
"""Timers from here on are those of the one window of all time: they are not counted as ahead."""


@dataclass
class SetTimer:
    """A timer: when it is due, in microseconds, and how long it holds the watermark."""

    due: int
    hold: int
    by_clock: bool
    family: Timer | None = None
    """None for a timer of a grouping."""
    timer: Any = None


@dataclass
class Mailbox:
    """What a key has."""

    elements: list[Waiting] = field(default_factory=list)
    timers: dict[TimerId, SetTimer] = field(default_factory=dict)
    due: set[TimerId] = field(default_factory=set)
    """Timers that may be given to the next work item."""
    is_busy: bool = False
    is_listed: bool = False
    pane_hold: int | None = None

    @property
    def has_work(self) -> bool:
        return not self.is_busy and bool(self.elements or self.due)

    @property
    def is_empty(self) -> bool:
        return not (self.is_busy or self.elements or self.timers or self.is_listed)


@dataclass
class Item:
    """A work item: of one key of one step."""

    inbox: Inbox
    key: Hashable
    elements: list[Waiting]
    timers: list[tuple[TimerId, SetTimer]]
    given: BundleInput
    rows: int
    rng: Random
    is_repeated: bool
    is_split: bool


class Inbox:
    """All keys of a step. `event_timers` and `clock_timers` are heaps of (due, number, key, id)."""

    def __init__(self, step: Step, context: Any, clock: Any) -> None:
        self.step = step
        self.watermark = Watermark()
        self.tally = StepTally()
        self.keys: dict[Hashable, Mailbox] = {}
        self.event_timers: list[tuple[int, int, Hashable, TimerId]] = []
        self.clock_timers: list[tuple[int, int, Hashable, TimerId]] = []
        self._numbers = itertools.count()
        self._clock = clock
        self.grouping = Grouping(context, step.root, clock) if step.root.shuffle is Shuffle.GROUP else None
        self._residuals: dict[Hashable, int] = {}
        if step.root.shuffle is not Shuffle.GROUP:
            self._decoder = coder(step.root).get_impl()
        if step.root.shuffle is Shuffle.KEY:
            self._key_coder = coder(step.root).key_coder().get_impl()

    def mailbox(self, key: Hashable) -> Mailbox:
        mailbox = self.keys.get(key)
        if mailbox is None:
            mailbox = self.keys[key] = Mailbox()
        return mailbox

    def start(self) -> Hashable:
        """Lets a step begin that nothing is in front of; returns its one key."""
        return self._add(Waiting(0, MIN, IMPULSE, len(IMPULSE)))

    def deliver(self, data: bytes) -> Iterator[Hashable]:
        """Takes what a work item in front has put out; gives the keys that have got something."""
        self.tally.received_bytes += len(data)
        for waiting in self._received(data):
            if self.grouping is not None and self.grouping.is_late(waiting, self.watermark.incoming):
                self.tally.late += 1
            else:
                yield self._add(waiting)

    def _received(self, data: bytes) -> Iterable[Waiting]:
        if self.grouping is not None:
            return self.grouping.received(data)
        if self.step.root.shuffle is Shuffle.SIDE_INPUT:
            times = [element.timestamp.micros for element, _ in split_up(data, self._decoder)]
            return [Waiting(next(self._numbers), min(times), data, len(data))]
        return (
            Waiting(self._key_of(element), element.timestamp.micros, encoded, len(encoded))
            for element, encoded in split_up(data, self._decoder)
        )

    def _key_of(self, element: Any) -> Hashable:
        if self.step.root.shuffle is Shuffle.KEY:
            encoded: bytes = self._key_coder.encode(element.value[0])
            return encoded
        return next(self._numbers)

    def _add(self, waiting: Waiting) -> Hashable:
        self.mailbox(waiting.key).elements.append(waiting)
        self.watermark.elements.add(waiting.time)
        return waiting.key

    def defer(self, encoded: bytes, watermark: int) -> Hashable:
        """Keeps a restriction to be gone on with, which lets the watermark behind the step go as far as this."""
        key = next(self._numbers)
        self.mailbox(key).elements.append(Waiting(key, MAX, encoded, len(encoded)))
        self._residuals[key] = watermark
        self.watermark.output.add(watermark)
        self.watermark.elements.add(MAX)
        return key

    def put_back(self, item: Item) -> None:
        """Takes back what a work item had whose outcome never counts."""
        mailbox = self.keys[item.key]
        mailbox.is_busy = False
        mailbox.elements += item.elements
        for id, timer in item.timers:
            mailbox.timers.setdefault(id, timer)
        self.tally.timers_changed(len(item.timers))

    def truncate(self, elements: list[Waiting]) -> list[Waiting]:
        """What a drain leaves of restrictions: those that end by themselves, and of others what their DoFn says."""
        left = []
        for waiting in elements:
            (windowed,) = (element for element, _ in split_up(waiting.element, self._sdk_coder))
            (element, (restriction, estimator)), _ = windowed.value
            truncated = self._restrictions.truncate(element, restriction)
            if truncated:
                size = float(self._restrictions.restriction_size(element, truncated))
                out = create_OutputStream()
                value = ((element, (truncated, estimator)), size)
                self._sdk_coder.encode_to_stream(windowed.with_value(value), out, True)
                left.append(waiting._replace(element=out.get()))
        return left

    @cached_property
    def _sdk_coder(self) -> Any:
        return coder_of_sdk(self.step.root).get_impl()

    @cached_property
    def _restrictions(self) -> Any:
        return restriction_provider(self.step.root)

    def take(self, key: Hashable, rng: Random, partial: float) -> tuple[list[Waiting], list[tuple[TimerId, SetTimer]]]:
        """What the next work item of a key gets: elements in any order, maybe not all of them, and due timers."""
        mailbox = self.keys[key]
        mailbox.is_busy = True
        rng.shuffle(mailbox.elements)
        count = len(mailbox.elements)
        if count > 1 and rng.random() < partial:
            count = rng.randint(1, count)
        elements, mailbox.elements = mailbox.elements[:count], mailbox.elements[count:]
        timers = self._given_now(mailbox)
        mailbox.due.clear()
        for id, _ in timers:
            del mailbox.timers[id]
        self.tally.timers_changed(-len(timers))
        return elements, timers

    def _given_now(self, mailbox: Mailbox) -> list[tuple[TimerId, SetTimer]]:
        """The timers that may be given, and all before them: a key's timers come in the order of their times."""
        may = [timer for id in mailbox.due if (timer := mailbox.timers.get(id)) and self._is_due(timer)]
        last = {
            by_clock: max((timer.due for timer in may if timer.by_clock is by_clock), default=MIN)
            for by_clock in (True, False)
        }
        timers = [(id, timer) for id, timer in mailbox.timers.items() if timer.due <= last[timer.by_clock]]
        return sorted(timers, key=lambda timer: timer[1].due)

    def _is_due(self, timer: SetTimer) -> bool:
        return timer.due <= (self._now() if timer.by_clock else self.watermark.incoming)

    def _now(self) -> int:
        return int(self._clock.time() * 1e6)

    def given(
        self, key: Hashable, elements: list[Waiting], timers: list[tuple[TimerId, SetTimer]], rng: Random
    ) -> tuple[BundleInput, int]:
        """What a work item gives the SDK, and how many rows that is."""
        if self.grouping is not None:
            due = [(id, timer.due) for id, timer in timers if isinstance(id, PaneTimer)]
            assert isinstance(key, bytes)
            watermarks = self.watermark.incoming, self.watermark.outgoing
            encoded, rows = self.grouping.panes(key, elements, due, watermarks, rng)
            return BundleInput(encoded), rows
        fired: dict[Timer, bytes] = {}
        for _, timer in timers:
            assert timer.family is not None
            fired[timer.family] = fired.get(timer.family, b"") + self._encoded_timer(timer)
        return BundleInput(b"".join(each.element for each in elements), fired), len(elements)

    def _timer_coder(self, family: Timer) -> Any:
        return self.step.root.bundles.get_timer_coder_impl(*family)

    def committed(self, item: Item, outcome: Outcome | None) -> None:
        """Lets go of what a work item had, and takes the timers that it set."""
        mailbox = self.keys[item.key]
        mailbox.is_busy = False
        if self.grouping is not None:
            assert isinstance(item.key, bytes)
            self._take_over_panes(item.key, mailbox, self.grouping, item.elements)
        elif outcome is not None:
            for family, encoded in outcome.timers:
                for timer, _ in split_up(encoded, self._timer_coder(family)):
                    self._set(item.key, mailbox, family, timer, item.elements)
        for _, timer in item.timers:
            self.watermark.output.remove(timer.hold)
        for waiting in item.elements:
            self.watermark.elements.remove(waiting.time)
        if (watermark := self._residuals.pop(item.key, None)) is not None:
            self.watermark.output.remove(watermark)
        if mailbox.is_empty:
            del self.keys[item.key]

    def _set(
        self, key: Hashable, mailbox: Mailbox, family: Timer, timer: Any, elements: Sequence[Waiting] | None = None
    ) -> None:
        id = (family, timer.dynamic_timer_tag, timer.windows[0])
        self._clear(mailbox, id)
        if not timer.clear_bit:
            by_clock = self.step.root.timers[family] == beam_runner_api_pb2.TimeDomain.PROCESSING_TIME
            hold = timer.hold_timestamp.micros
            kept = SetTimer(timer.fire_timestamp.micros, hold, by_clock, family, timer)
            self._keep(key, mailbox, id, kept, elements)

    def _clear(self, mailbox: Mailbox, id: TimerId) -> None:
        before = mailbox.timers.pop(id, None)
        if before is not None:
            self.watermark.output.remove(before.hold)
            self.tally.timers_changed(-1)

    def _keep(
        self, key: Hashable, mailbox: Mailbox, id: TimerId, timer: SetTimer, elements: Sequence[Waiting] | None
    ) -> None:
        """Keeps a timer. It is measured how far ahead of these elements it is; None where another job has set it."""
        mailbox.timers[id] = timer
        self.watermark.output.add(timer.hold)
        heapq.heappush(
            self.clock_timers if timer.by_clock else self.event_timers, (timer.due, next(self._numbers), key, id)
        )
        self.tally.timers_changed(1)
        if elements is not None and timer.due < _END_OF_TIME:
            self._measure(timer, elements)

    def _measure(self, timer: SetTimer, elements: Sequence[Waiting]) -> None:
        times = [each.time for each in elements if MIN < each.time < _END_OF_TIME]
        if self.watermark.incoming < _END_OF_TIME:
            times.append(self.watermark.incoming)
        since = self._now() if timer.by_clock else max(times, default=timer.due)
        if since > MIN:
            self.tally.furthest_timer_us = max(self.tally.furthest_timer_us, timer.due - since)

    def _take_over_panes(
        self, key: bytes, mailbox: Mailbox, grouping: Grouping, elements: Sequence[Waiting] | None = None
    ) -> None:
        timers = grouping.timers(key)
        for id in [id for id, timer in mailbox.timers.items() if timers.get(id) != timer.due]:  # type: ignore[call-overload]
            self._clear(mailbox, id)
        for id, due in timers.items():
            if id not in mailbox.timers:
                self._keep(key, mailbox, id, SetTimer(due, MAX, id.domain == TimeDomain.REAL_TIME), elements)
        if mailbox.pane_hold is not None:
            self.watermark.output.remove(mailbox.pane_hold)
        mailbox.pane_hold = grouping.hold(key)
        if mailbox.pane_hold is not None:
            self.watermark.output.add(mailbox.pane_hold)
        self.tally.largest_key = max(self.tally.largest_key, grouping.size(key))

    def saved(self, context: Any, due_s: Mapping[Hashable, float]) -> SavedStep:
        """All that is in front of the step, for an update. `due_s` is when deferred restrictions go on."""
        waiting = [(key, each) for key, mailbox in self.keys.items() for each in mailbox.elements]
        shuffle = self.step.root.shuffle
        is_restriction = shuffle is Shuffle.RESTRICTION
        return SavedStep(
            shuffle=shuffle,
            keeps=keeps(context, self.step),
            incoming=self.watermark.incoming,
            outgoing=self.watermark.outgoing,
            has_begun=not waiting,
            elements=() if is_restriction else tuple(self._encoded(each) for _, each in waiting),
            restrictions=tuple(
                SavedRestriction(encoded=each.element, watermark=self._residuals.get(key), due_s=due_s.get(key))
                for key, each in waiting
            )
            if is_restriction
            else (),
            timers=tuple(self._saved_timers()),
            panes={} if self.grouping is None else self.grouping.saved(),
        )

    def _encoded(self, waiting: Waiting) -> bytes:
        encoded: bytes = waiting.element
        return encoded if self.grouping is None else self.grouping.encoded(waiting)

    def _saved_timers(self) -> Iterator[tuple[bytes, Timer, bytes]]:
        for key, mailbox in self.keys.items():
            for timer in mailbox.timers.values():
                if timer.family is not None:
                    assert isinstance(key, bytes)
                    yield key, timer.family, self._encoded_timer(timer)

    def _encoded_timer(self, timer: SetTimer) -> bytes:
        assert timer.family is not None
        out = create_OutputStream()
        self._timer_coder(timer.family).encode_to_stream(timer.timer, out, True)
        encoded: bytes = out.get()
        return encoded

    def restore(self, saved: SavedStep) -> Iterator[tuple[Hashable, float | None]]:
        """Takes over what was in front of the same step of another job; gives the keys that have it, each with the
        time when it goes on, None where that is now."""
        self.watermark.incoming, self.watermark.outgoing = saved.incoming, saved.outgoing
        if saved.shuffle is Shuffle.START:
            if not saved.has_begun:
                yield self.start(), None
            return
        for waiting in self._received(b"".join(saved.elements)):
            yield self._add(waiting), None
        for restriction in saved.restrictions:
            if restriction.watermark is None:
                for waiting in self._received(restriction.encoded):
                    yield self._add(waiting), None
            else:
                yield self.defer(restriction.encoded, restriction.watermark), restriction.due_s
        for key, family, encoded in saved.timers:
            for timer, _ in split_up(encoded, self._timer_coder(family)):
                self._set(key, self.mailbox(key), family, timer)
        if self.grouping is not None:
            self.grouping.restore(saved.panes)
            for key in saved.panes:
                self._take_over_panes(key, self.mailbox(key), self.grouping)

    def due_by_watermark(self) -> Iterator[tuple[Hashable, TimerId]]:
        """Timers whose time the watermark has passed, each once."""
        return self._due(self.event_timers, self.watermark.incoming)

    def due_by_clock(self) -> Iterator[tuple[Hashable, TimerId]]:
        """Timers whose time has come, each once."""
        return self._due(self.clock_timers, self._now())

    def _due(self, timers: list[tuple[int, int, Hashable, TimerId]], now: int) -> Iterator[tuple[Hashable, TimerId]]:
        while timers and timers[0][0] <= now:
            _, _, key, id = heapq.heappop(timers)
            if self.is_set(key, id):
                yield key, id

    def is_set(self, key: Hashable, id: TimerId) -> bool:
        mailbox = self.keys.get(key)
        return mailbox is not None and id in mailbox.timers
