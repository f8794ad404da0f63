"""A pure step whose outbox may be too much for one bundle, put out page by page.

Dataflow commits what a bundle writes and puts out at once, and never more than 180 MB. The step of a key that relabels
a million ids puts out more than that. Keeping the rest in state would not help: that is committed with it. So what is
kept is what the step runs on: its state as it was, and the inbox. For each page the step runs again, which gives the
same outbox, and puts out one part of it; the state is written with the last. Messages that come meanwhile wait.

Timers are of event time, at the timestamp of what is put out, and hold the watermark there: so the end of the history
waits for the last page. A later page of anything else arrives at the next step when it is put out.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, get_type_hints

import apache_beam as beam
import msgspec
from apache_beam.coders import registry
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type
from apache_beam.utils.timestamp import Timestamp

from transforms import metrics
from transforms.coders import Sending, SendingStateCoder, StructCoder
from transforms.crowd_rooms import NeedsCrowd, crowd_param, with_crowd, without_crowd
from transforms.windows import END_OF_TIME_S, Clock, arrived_at

PAGE_BYTES: Final = 20_000_000
"""A page, with the state and the inbox beside it, stays far below Dataflow's 180 MB."""
FEW: Final = 32
"""An outbox of so many elements is one page, and is not measured: most have one or two."""
NEXT_BUNDLE_S: Final = 1.0
"""So much later a timer is set anew that was due in the bundle which had put out a page."""

Step = Callable[[str, Any, Iterable[Any]], tuple[Any, msgspec.Struct]]


def element_types(outbox: type[msgspec.Struct]) -> Mapping[str, Any]:
    """The types of what the fields of an outbox hold."""
    return {name: hint.__args__[0] for name, hint in get_type_hints(outbox).items()}


class PagedStep(NamedTuple):
    """A step, the types of its state, outbox and messages, and how many bytes of its outbox are put out at once; and
    when it looks into the crowd of its state, if that has one."""

    step: Step
    state: type[msgspec.Struct]
    outbox: type[msgspec.Struct]
    message: type[msgspec.Struct]
    page_bytes: int
    clock: Clock
    needs_crowd: NeedsCrowd | None = None


class _Page(NamedTuple):
    """What is put out now; the state at the end; and where the step stands then, None where this is the last page."""

    elements: list[TaggedOutput]
    after: Any
    following: Sending | None = None


class _Pager:
    """Divides what the step gives into pages: by a hash of each element, so that it does not matter in which order the
    step gives them, in whatever process."""

    def __init__(self, paged: PagedStep) -> None:
        self._paged = paged
        self._message = StructCoder(paged.message)
        types = element_types(paged.outbox)
        self._coders = {tag: registry.get_coder(convert_to_beam_type(type)) for tag, type in types.items()}

    def sending(self, inbox: Iterable[Any], at: int) -> Sending:
        """The beginning."""
        return Sending([self._message.encode(message) for message in inbox], at)

    def inbox(self, sending: Sending) -> list[Any]:
        """The messages that the step runs on."""
        return [self._message.decode(message) for message in sending.inbox]

    def page(self, key: str, before: Any, inbox: list[Any], sending: Sending) -> _Page:
        """The page that is due, of the outbox that the step gives for this inbox. Where that is another one than was
        counted, as an updated program may give, it begins again: what comes twice changes nothing."""
        after, outbox = self._paged.step(key, before, inbox)
        elements = [TaggedOutput(tag, element) for tag in self._coders for element in getattr(outbox, tag)]
        if len(elements) <= FEW:
            return _Page(elements, after)
        encoded = [self._coders[output.tag].encode(output.value) for output in elements]
        size = sum(map(len, encoded))
        pages = -(-size // self._paged.page_bytes)
        if pages == 1:
            return _Page(elements, after)
        page = sending.page if (sending.elements, sending.size) == (len(elements), size) else 0
        due = [output for output, content in zip(elements, encoded, strict=True) if zlib.crc32(content) % pages == page]
        if page + 1 == pages:
            return _Page(due, after)
        kept = sending.inbox or self.sending(inbox, sending.at).inbox
        return _Page(due, after, Sending(kept, sending.at, page + 1, len(elements), size))


def paged_fn(paged: PagedStep, observe: Callable[[Any], None]) -> beam.DoFn:
    """The step with its state, as in `KeyedStep`. The bag `state` has the state and, while pages are put out, a
    `Sending`: so a key costs one read, as without pages."""
    state = BagStateSpec("state", SendingStateCoder(paged.state))
    waiting = BagStateSpec("waiting", StructCoder(paged.message))
    rooms = crowd_param(paged.needs_crowd)
    next_page = TimerSpec("next_page", TimeDomain.WATERMARK)

    class PagedFn(beam.DoFn):
        def setup(self) -> None:
            self.pager = _Pager(paged)

        def start_bundle(self) -> None:
            self.keys = self.pages = 0

        def process(
            self,
            gathered: tuple[str, Iterable[Any]],
            timestamp: Any = beam.DoFn.TimestampParam,
            cell: Any = beam.DoFn.StateParam(state),  # noqa: B008
            later: Any = beam.DoFn.StateParam(waiting),  # noqa: B008
            timer: Any = beam.DoFn.TimerParam(next_page),  # noqa: B008
            crowd: Any = rooms,
        ) -> Iterator[TaggedOutput]:
            self.keys += 1
            key, inbox = gathered
            kept, sending = _read(cell)
            if sending is not None:
                for message in inbox:
                    later.add(message)
                return
            inbox = list(inbox)
            before = with_crowd(kept, inbox, paged.needs_crowd, crowd)
            page = self.pager.page(key, before, inbox, Sending([], timestamp.micros))
            yield from page.elements
            if page.following is not None:
                self._go_on(cell, kept, page.following, timer)
                return
            after = without_crowd(before, page.after, paged.needs_crowd, crowd)
            observe(after)
            if after != kept:
                _write(cell, after)

        @on_timer(next_page)
        def put_out(
            self,
            key: Any = beam.DoFn.KeyParam,
            cell: Any = beam.DoFn.StateParam(state),  # noqa: B008
            later: Any = beam.DoFn.StateParam(waiting),  # noqa: B008
            timer: Any = beam.DoFn.TimerParam(next_page),  # noqa: B008
            crowd: Any = rooms,
        ) -> Iterator[TaggedOutput]:
            kept, sending = _read(cell)
            if sending is None:
                return
            if self.pages:  # a runner may fire in the bundle that put out a page, and commit both at once
                timer.set(Timestamp(paged.clock() + NEXT_BUNDLE_S))
                return
            inbox = self.pager.inbox(sending)
            before = with_crowd(kept, inbox, paged.needs_crowd, crowd)
            page = self.pager.page(key, before, inbox, sending)
            at = arrived_at(Timestamp(micros=sending.at), Timestamp(paged.clock()), recent_s=END_OF_TIME_S)
            for output in page.elements:
                yield TaggedOutput(output.tag, TimestampedValue(output.value, at))
            if page.following is not None:
                self._go_on(cell, kept, page.following, timer)
                return
            after = without_crowd(before, page.after, paged.needs_crowd, crowd)
            observe(after)
            came_later = list(later.read())
            later.clear()
            if came_later:
                self._go_on(cell, after, self.pager.sending(came_later, sending.at), timer)
            else:
                _write(cell, after)

        def _go_on(self, cell: Any, state: Any, sending: Sending, timer: Any) -> None:
            self.pages += 1
            _write(cell, *(() if state is None else (state,)), sending)
            timer.set(Timestamp(micros=sending.at))

        def finish_bundle(self) -> None:
            if self.keys:
                metrics.observe(metrics.WINDOW_KEYS, self.keys)

    return PagedFn()


def _read(cell: Any) -> tuple[Any, Sending | None]:
    """The state, and where it is sending."""
    state = sending = None
    for value in cell.read():
        if isinstance(value, Sending):
            sending = value
        else:
            state = value
    return state, sending


def _write(cell: Any, *values: Any) -> None:
    cell.clear()
    for value in values:
        cell.add(value)
