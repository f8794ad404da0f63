"""ShardStep: runs a pure step, `step(key, state, inbox) -> (state, outbox)`, for each key of a shard and window.

It does what `KeyedStep` does, where all steps run in the job's own process: messages come and go in parcels
(`transforms.parcels`), and the state of an unbounded job stays in the process (`transforms.process_state`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.userstate import BagStateSpec
from apache_beam.utils.timestamp import MIN_TIMESTAMP

from transforms import metrics, windows
from transforms.coders import StructCoder
from transforms.core.rows import Upsert
from transforms.crowd_rooms import CROWD, NeedsCrowd
from transforms.keyed_step import Observe, advanced, observing
from transforms.paged_step import Step, element_types
from transforms.parcels import MessageParcel, Parcels, Sharded
from transforms.process_state import ProcessState


class ShardStep(beam.PTransform):
    """`(shard, parcel)` → the fields of `outbox`, each a PCollection of that name: rows as `Upsert`, and messages as
    `(shard, MessageParcel)`. The parameters are those of `KeyedStep`.

    Parcels come in the windows in which they gather, and messages go out in them (`transforms.parcels`). So what a
    window gives a step is one stage to the runner: what one step puts out, the next one takes.
    """

    def __init__(
        self,
        step: Step,
        state: type[msgspec.Struct],
        outbox: type[msgspec.Struct],
        *,
        window: windows.Arrival | None,
        size: Callable[[Any], int] | None = None,
        sizes: metrics.Distribution | None = None,
        needs_crowd: NeedsCrowd | None = None,
    ) -> None:
        super().__init__()
        types = element_types(outbox)
        self.window = window
        self.types = {name: Upsert if type is Upsert else tuple[str, MessageParcel] for name, type in types.items()}
        rows = tuple(name for name, type in types.items() if type is Upsert)
        messages = tuple(name for name in types if name not in rows)
        observe = observing(size, sizes)
        if window is None:
            self.fn = _ShardFn(step, rows, messages, observe)
        else:
            self.fn = _StatefulShardFn(step, state, rows, messages, observe, needs_crowd)

    def expand(self, sharded: PCollection[Sharded]) -> dict[str, PCollection]:
        gathered = sharded | "Gather" >> beam.GroupByKey()
        if self.window is not None:
            late = windows.LateArrivesNow(self.window.clock)
            gathered = gathered | "Late" >> late | "Global" >> windows.everything()
        types: Any = self.types
        outputs = gathered | "Step" >> beam.ParDo(self.fn).with_output_types(Any, **types).with_outputs(*types)
        if self.window is None:
            return {name: outputs[name] for name in types}
        window = windows.arrival(self.window)
        return {
            name: outputs[name] if type is Upsert else outputs[name] | f"Window{name.title()}" >> window
            for name, type in types.items()
        }


class _ShardFn(beam.DoFn):
    """Runs the step key by key, once for each key. What a bundle sends goes in parcels together, where it is of one
    time."""

    def __init__(self, step: Step, rows: Sequence[str], messages: Sequence[str], observe: Observe) -> None:
        self.step = step
        self.rows = rows
        self.messages = messages
        self.observe = observe

    def start_bundle(self) -> None:
        self.at = MIN_TIMESTAMP
        self.parcels = [(tag, Parcels(MessageParcel)) for tag in self.messages]

    def process(
        self,
        gathered: tuple[str, Iterable[Any]],
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> Iterator[TaggedOutput]:
        if timestamp != self.at:
            yield from self._rest()
            self.at = timestamp
        for key, inbox in _inboxes(gathered[1]).items():
            outbox = self._run(key, inbox)
            for tag in self.rows:
                for upsert in getattr(outbox, tag):
                    yield TaggedOutput(tag, upsert)
            for tag, parcels in self.parcels:
                for message in getattr(outbox, tag):
                    full = parcels.add(message)
                    if full is not None:
                        yield TaggedOutput(tag, full)

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        yield from self._rest()

    def _run(self, key: str, inbox: list[Any]) -> msgspec.Struct:
        """Runs the step for one key; gives its outbox."""
        after, outbox = self.step(key, None, inbox)
        self.observe(after)
        return outbox

    def _rest(self) -> Iterator[TaggedOutput]:
        """What was sent, and has filled no parcel."""
        for tag, parcels in self.parcels:
            for sharded in parcels.rest():
                yield TaggedOutput(tag, windows.in_global_window(sharded, self.at))


class _StatefulShardFn(_ShardFn):
    """The same once for each key and window, with the key's state."""

    def __init__(
        self,
        step: Step,
        state: type[msgspec.Struct],
        rows: Sequence[str],
        messages: Sequence[str],
        observe: Observe,
        needs_crowd: NeedsCrowd | None,
    ) -> None:
        super().__init__(step, rows, messages, observe)
        self.state = BagStateSpec("state", StructCoder(state))
        self.needs_crowd = needs_crowd
        self.kept = ProcessState()

    def start_bundle(self) -> None:
        super().start_bundle()
        self.keys = 0

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        if self.keys:
            metrics.observe(metrics.WINDOW_KEYS, self.keys)
        yield from super().finish_bundle()

    def _run(self, key: str, inbox: list[Any]) -> msgspec.Struct:
        self.keys += 1
        cell, crowd = self.kept.bag(self.state, key), self.kept.bag(CROWD, key)
        with self.kept.lock:
            after, outbox = advanced(self.step, key, inbox, cell, crowd, self.needs_crowd)
        self.observe(after)
        return outbox


def _inboxes(parcels: Iterable[Any]) -> dict[str, list[Any]]:
    """The messages of each key."""
    inboxes: dict[str, list[Any]] = {}
    for parcel in parcels:
        for key, message in parcel.messages:
            inbox = inboxes.get(key)
            if inbox is None:
                inboxes[key] = [message]
            else:
                inbox.append(message)
    return inboxes
