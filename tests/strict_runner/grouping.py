"""GroupByKey as a streaming engine does it: what waits for a key and window, and the panes that its trigger gives."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from apache_beam.coders.coder_impl import create_InputStream, create_OutputStream
from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import (
    AccumulationMode,
    Always,
    GeneralTriggerDriver,
    InMemoryUnmergedState,
    MergeableStateAdapter,
    create_trigger_driver,
)
from apache_beam.transforms.window import GlobalWindow, GlobalWindows, TimestampCombiner
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from tests.strict_runner.graph import Stage


class Waiting(NamedTuple):
    """An element that waits for a work item: its key, its time in microseconds, itself, and its bytes."""

    key: Any
    time: int
    element: Any
    size: int


class PaneTimer(NamedTuple):
    """A timer of the grouping itself: a trigger's, or the one that forgets a window when nothing may come any more."""

    window: Any
    name: str
    domain: str


_FORGET = "forget"


def split_up(data: bytes, coder: Any) -> Iterator[tuple[Any, bytes]]:
    """Each of some encoded elements, decoded and as it is."""
    stream, length = create_InputStream(data), len(data)
    begin = 0
    while stream.size() > 0:
        element = coder.decode_from_stream(stream, True)
        end = length - stream.size()
        yield element, data[begin:end]
        begin = end


@dataclass
class _OfKey:
    """What a key has: the trigger's state, and how many bytes wait for a pane."""

    state: Any = field(default_factory=InMemoryUnmergedState)
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class _SavedKey:
    """What a key has, by the number of the window."""

    size: int
    values: Mapping[int, list[bytes]]
    notes: Mapping[int, Mapping[str, Any]]
    timers: Mapping[int, Mapping[Any, Timestamp]]
    windows: list[tuple[bytes, list[int]]]


class Grouping:
    """The GroupByKey in front of a stage."""

    def __init__(self, context: Any, stage: Stage, clock: Any) -> None:
        _, name = translations.split_buffer_id(stage.inputs[stage.reader])
        transform = context.pipeline_components.transforms[name]
        (incoming,), (outgoing,) = transform.inputs.values(), transform.outputs.values()
        before, after = (
            context.pipeline_context.coders[context.safe_coders[context.data_channel_coders[pcollection]]]
            for pcollection in (incoming, outgoing)
        )
        self._before, self._after = before.get_impl(), after.get_impl()
        self._key = before.key_coder().get_impl()
        self._value = before.value_coder()
        self._window = before.window_coder
        strategies = context.safe_windowing_strategies
        strategy = context.pipeline_components.pcollections[incoming].windowing_strategy_id
        self._windowing = context.pipeline_context.windowing_strategies[strategies[strategy]]
        self._driver = create_trigger_driver(self._windowing, clock=clock)
        self._keys: dict[bytes, _OfKey] = {}

    @property
    def _is_immediate(self) -> bool:
        """Whether each element is its own pane, as in a Reshuffle: then nothing is kept."""
        windowing = self._windowing
        return (
            windowing.triggerfn == Always()
            and windowing.windowfn == GlobalWindows()
            and windowing.accumulation_mode == AccumulationMode.DISCARDING
        )

    def received(self, data: bytes) -> Iterator[Waiting]:
        """The elements that a work item in front has put out."""
        for element, encoded in split_up(data, self._before):
            key, value = element.value
            yield Waiting(self._key.encode(key), element.timestamp.micros, element.with_value(value), len(encoded))

    def encoded(self, waiting: Waiting) -> bytes:
        """An element that was received, as it was."""
        out = create_OutputStream()
        key = self._key.decode(waiting.key)
        self._before.encode_to_stream(waiting.element.with_value((key, waiting.element.value)), out, True)
        encoded: bytes = out.get()
        return encoded

    def saved(self) -> dict[bytes, bytes]:
        """What is gathered, by key: values and windows in their coders, and what the trigger notes of them."""
        return {key: pickle.dumps(self._saved(of_key)) for key, of_key in self._keys.items()}

    def _saved(self, of_key: _OfKey) -> _SavedKey:
        state, elements = of_key.state, GeneralTriggerDriver.ELEMENTS.tag
        windows = MergeableStateAdapter(state).window_ids
        return _SavedKey(
            size=of_key.size,
            values={
                number: [self._value.encode(value) for value in tags.get(elements, ())]
                for number, tags in state.state.items()
            },
            notes={
                number: {tag: note for tag, note in tags.items() if tag != elements}
                for number, tags in state.state.items()
            },
            timers={number: dict(timers) for number, timers in state.timers.items()},
            windows=[(self._window.encode(window), list(numbers)) for window, numbers in windows.items()],
        )

    def restore(self, panes: Mapping[bytes, bytes]) -> None:
        """Takes over what another job's grouping has saved."""
        for key, saved in panes.items():
            self._keys[key] = self._restored(pickle.loads(saved))

    def _restored(self, saved: _SavedKey) -> _OfKey:
        of_key = _OfKey(size=saved.size)
        state, elements = of_key.state, GeneralTriggerDriver.ELEMENTS.tag
        for number, notes in saved.notes.items():
            state.state[number].update(notes)
            if saved.values[number]:
                state.state[number][elements] = [self._value.decode(value) for value in saved.values[number]]
        for number, timers in saved.timers.items():
            state.timers[number].update(timers)
        windows = {self._window.decode(window): numbers for window, numbers in saved.windows}
        state.set_global_state(MergeableStateAdapter.WINDOW_IDS, windows)
        return of_key

    def is_late(self, waiting: Waiting, watermark: int) -> bool:
        """Whether an element comes too late for all of its windows."""
        now, lateness = Timestamp(micros=watermark), self._windowing.allowed_lateness
        return all(now > window.end + lateness for window in waiting.element.windows)

    def panes(
        self,
        key: bytes,
        elements: Sequence[Waiting],
        timers: Sequence[tuple[PaneTimer, int]],
        watermarks: tuple[int, int],
        rng: Random,
    ) -> tuple[bytes, int]:
        """The panes of a key, encoded, and how many rows they hold, when these elements have come and these timers are
        due; `watermarks` are those in front of the step and behind it."""
        if self._is_immediate:
            return self._encoded(key, [self._pane(elements)] if elements else [])
        incoming, outgoing = (Timestamp(micros=time) for time in watermarks)
        of_key = self._keys.setdefault(key, _OfKey())
        of_key.size += sum(each.size for each in elements)
        panes: list[Any] = []
        steps: list[Callable[[], Iterable[Any]]] = []
        if elements:
            values = [each.element for each in elements]
            steps.append(lambda: self._driver.process_elements(of_key.state, values, outgoing, incoming))
        for timer, due in timers:
            if timer.name != _FORGET:
                steps.append(lambda timer=timer, due=due: self._fired(of_key, timer, due, incoming))  # type: ignore[misc]
        rng.shuffle(steps)
        for step in steps:
            panes += step()
        for timer, _ in timers:
            if timer.name == _FORGET:
                self._forget(of_key, timer.window)
        if panes:
            of_key.size = 0
        if not of_key.state.state and not of_key.state.timers:
            del self._keys[key]
        return self._encoded(key, panes)

    def _fired(self, of_key: _OfKey, timer: PaneTimer, due: int, incoming: Timestamp) -> Iterable[Any]:
        of_key.state.clear_timer(timer.window, timer.name, timer.domain)
        if timer.window not in _ids(of_key.state):
            return ()
        fired = Timestamp(micros=due)
        return list(self._driver.process_timer(timer.window, timer.name, timer.domain, fired, of_key.state, incoming))

    def _pane(self, elements: Sequence[Waiting]) -> Any:
        times = [each.time for each in elements]
        combiner = self._windowing.timestamp_combiner
        window = GlobalWindow()
        time = Timestamp(micros=max(times) if combiner == TimestampCombiner.OUTPUT_AT_LATEST else min(times))
        if combiner == TimestampCombiner.OUTPUT_AT_EOW:
            time = window.max_timestamp()
        return WindowedValue([each.element.value for each in elements], time, (window,))

    def _encoded(self, key: bytes, panes: Sequence[Any]) -> tuple[bytes, int]:
        out = create_OutputStream()
        decoded = self._key.decode(key)
        rows = 0
        for pane in panes:
            values = list(pane.value)
            rows += len(values)
            self._after.encode_to_stream(pane.with_value((decoded, values)), out, True)
        return out.get(), rows

    def _forget(self, of_key: _OfKey, window: Any) -> None:
        adapter = MergeableStateAdapter(of_key.state)
        for number in adapter.window_ids.pop(window, ()):
            of_key.state.state.pop(number, None)
            of_key.state.timers.pop(number, None)
        adapter._persist_window_ids()

    def timers(self, key: bytes) -> dict[PaneTimer, int]:
        """When the timers of a key are due, in microseconds."""
        of_key = self._keys.get(key)
        if of_key is None:
            return {}
        found = {
            PaneTimer(window, name, domain): due.micros
            for window, timers in of_key.state.timers.items()
            for (name, domain, _), due in timers.items()
        }
        lateness = self._windowing.allowed_lateness
        for window in MergeableStateAdapter(of_key.state).known_windows():
            if not isinstance(window, GlobalWindow):
                found[PaneTimer(window, _FORGET, TimeDomain.WATERMARK)] = (window.end + lateness).micros + 1
        return found

    def hold(self, key: bytes) -> int | None:
        """How far what waits of a key lets the watermark behind the step go."""
        of_key = self._keys.get(key)
        return None if of_key is None else of_key.state.get_earliest_hold().micros

    def size(self, key: bytes) -> int:
        """How many bytes of a key wait for a pane."""
        of_key = self._keys.get(key)
        return 0 if of_key is None else of_key.size


def _ids(state: Any) -> set[int]:
    ids = MergeableStateAdapter(state).window_ids
    return {number for numbers in ids.values() for number in numbers}
