"""KeyedStep: runs a pure step, `step(key, state, inbox) -> (state, outbox)`, for each key and window.

The inbox of a key is gathered for a window; the step then runs with one read of the key's state, and one write only if
the state has changed. A bounded job has one window, so there a step runs once for each key, with no state.

Where one bundle can put out only so much, as in Dataflow's streaming jobs, what a step sends beyond a bound goes out in
pages, each by a timer (`transforms.paged_step`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.userstate import BagStateSpec

from transforms import metrics, windows
from transforms.coders import StructCoder
from transforms.core.identity.protocol import ProtocolMessage
from transforms.crowd_rooms import NeedsCrowd, crowd_param, with_crowd, without_crowd
from transforms.paged_step import PagedStep, Step, element_types, paged_fn
from transforms.windows import Clock

Observe = Callable[[Any], None]
Stateful = Callable[[int | None, Clock, Observe], beam.DoFn]


def overlook(_: Any) -> None:
    """Observes nothing."""


class KeyedStep(beam.PTransform):
    """`(key, message)` → the fields of `outbox`, each a PCollection of that name.

    `state` and `outbox` are the struct types that the step returns. `gather` groups the messages of a key: a
    `JoinFn` joins them before the shuffle as well, and the inbox then is the one joined message; without it the
    inbox is their list. `window` is how long a key's messages are gathered; None is for a bounded job.
    `page_bytes` is how much a step of an unbounded job puts out at once; None is for a runner that takes any size.
    `observe` gets each state as the step leaves it. `needs_crowd` tells when a step looks into the crowd of its
    state, which is kept apart (`transforms.crowd_rooms`). `stateful` makes the DoFn of an unbounded job, from
    `page_bytes`, a clock and what observes a state, for a step that keeps its state in another way.
    """

    def __init__(
        self,
        step: Step,
        state: type[msgspec.Struct],
        outbox: type[msgspec.Struct],
        *,
        window: windows.Arrival | None,
        page_bytes: int | None = None,
        gather: JoinFn | None = None,
        observe: Observe = overlook,
        needs_crowd: NeedsCrowd | None = None,
        stateful: Stateful | None = None,
    ) -> None:
        super().__init__()
        self.step = step
        self.state = state
        self.outbox = outbox
        self.window = window
        self.page_bytes = page_bytes
        self.gather = gather
        self.needs_crowd = needs_crowd
        self.stateful = stateful
        self.observe = observe

    def expand(self, messages: PCollection[tuple[str, Any]]) -> dict[str, PCollection]:
        if self.window is not None:
            messages = messages | "Window" >> windows.arrival(self.window)
        gather = beam.GroupByKey() if self.gather is None else beam.CombinePerKey(self.gather)
        gathered = messages | "Gather" >> gather
        if self.gather is not None:
            struct: Any = self.gather.struct
            gathered = gathered | "Inbox" >> beam.MapTuple(_inbox).with_output_types(tuple[str, Iterable[struct]])
        if self.window is None:
            run = beam.ParDo(_BoundedFn(self.step, self.outbox, self.observe))
        else:
            late = windows.LateArrivesNow(self.window.clock)
            gathered = gathered | "Late" >> late | "Global" >> windows.everything()
            run = beam.ParDo(self._stateful(self.window))
        types = element_types(self.outbox)
        outputs = gathered | "Step" >> run.with_output_types(Any, **types).with_outputs(*types)
        return {name: outputs[name] for name in types}

    def _stateful(self, window: windows.Arrival) -> beam.DoFn:
        if self.stateful is not None:
            return self.stateful(self.page_bytes, window.clock, self.observe)
        if self.page_bytes is None:
            return _stateful(self.step, self.state, self.outbox, self.needs_crowd, self.observe)
        message = ProtocolMessage if self.gather is None else self.gather.struct
        paged = PagedStep(self.step, self.state, self.outbox, message, self.page_bytes, window.clock, self.needs_crowd)
        return paged_fn(paged, self.observe)


def advanced(
    step: Step, key: str, inbox: list[Any], cell: Any, crowd: Any, needs_crowd: NeedsCrowd | None
) -> tuple[Any, msgspec.Struct]:
    """Runs a step on the state in a cell, and writes there what has changed. Gives the state, without its crowd, and
    the outbox."""
    kept = next(iter(cell.read()), None)
    before = with_crowd(kept, inbox, needs_crowd, crowd)
    after, outbox = step(key, before, inbox)
    after = without_crowd(before, after, needs_crowd, crowd)
    if after != kept:
        if kept is not None:
            cell.clear()
        cell.add(after)
    return after, outbox


def _inbox(key: str, joined: Any) -> tuple[str, list[Any]]:
    """The one joined message as an inbox."""
    return key, [joined]


class JoinFn(beam.CombineFn):
    """Joins what is known, before the shuffle and after it, so that a key costs memory once. `learn(known, more)` joins
    `more` into `known`, a `struct`, which it changes and returns."""

    def __init__(self, struct: type[msgspec.Struct], learn: Callable[[Any, Any], Any]) -> None:
        self.struct = struct
        self.learn = learn

    def create_accumulator(self) -> Any:
        return self.struct()

    def add_input(self, known: Any, more: Any) -> Any:
        return self.learn(known, more)

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        return reduce(self.learn, accumulators, self.struct())

    def extract_output(self, known: Any) -> Any:
        return known

    def get_accumulator_coder(self) -> StructCoder[Any]:
        return StructCoder(self.struct)


class _BoundedFn(beam.DoFn):
    def __init__(self, step: Step, outbox: type[msgspec.Struct], observe: Observe) -> None:
        self.step = step
        self.observe = observe
        self.tags = outbox.__struct_fields__

    def process(self, gathered: tuple[str, Iterable[Any]]) -> list[TaggedOutput]:
        key, inbox = gathered
        after, outbox = self.step(key, None, inbox)
        self.observe(after)
        return [TaggedOutput(tag, element) for tag in self.tags for element in getattr(outbox, tag)]


def _stateful(
    step: Step,
    state: type[msgspec.Struct],
    outbox: type[msgspec.Struct],
    needs_crowd: NeedsCrowd | None,
    observe: Observe,
) -> beam.DoFn:
    """The step with its state: a DoFn class of its own, since Beam finds a state's coder in the class. The state is a
    bag of one or none: a ReadModifyWrite is cleared before every write, which is one more request to the runner."""
    spec = BagStateSpec("state", StructCoder(state))
    rooms = crowd_param(needs_crowd)

    class StatefulFn(beam.DoFn):
        def start_bundle(self) -> None:
            self.keys = 0

        def process(
            self,
            gathered: tuple[str, Iterable[Any]],
            cell: Any = beam.DoFn.StateParam(spec),  # noqa: B008
            crowd: Any = rooms,
        ) -> Iterator[TaggedOutput]:
            self.keys += 1
            key, inbox = gathered[0], list(gathered[1])
            after, sent = advanced(step, key, inbox, cell, crowd, needs_crowd)
            observe(after)
            for tag in outbox.__struct_fields__:
                for element in getattr(sent, tag):
                    yield TaggedOutput(tag, element)

        def finish_bundle(self) -> None:
            metrics.observe(metrics.WINDOW_KEYS, self.keys)

    return StatefulFn()
