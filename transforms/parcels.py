"""Parcels: the messages of many keys as one element.

A runner in the job's own process takes longer for an element that it groups than a step does for a message: it encodes
it, files it under its key, and hands it on. So there messages go in parcels. All keys of a *shard* are one key to the
runner, and a step gets the parcels of a shard and runs key by key (`transforms.shard_step`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection
from apache_beam.utils.timestamp import Duration, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms import coders
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.protocol import Deep, Label, Member, Pointer, ProtocolMessage, Token
from transforms.windows import Arrival, arrival, in_global_window

SHARDS: Final = 16
"""A step has the messages of a sixteenth of all keys in memory at a time."""
MOST_MESSAGES: Final = 500
"""So many messages go into a parcel."""
_MESSAGE_BYTES: Final = 200
"""What a message has with its key, about."""
_NAMES: Final = tuple(f"{shard:02}" for shard in range(SHARDS))


class KnownParcel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of ids, each with its id."""

    messages: list[tuple[str, Known]]


class AccountKnownParcel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of accounts, each with its id."""

    messages: list[tuple[str, AccountKnown]]


class MessageParcel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the stages of identity send each other, each with the key that it goes to."""

    messages: list[tuple[str, Member | Label | Pointer | Token | Deep]]


Parcel = KnownParcel | AccountKnownParcel | MessageParcel
Sharded = tuple[str, Parcel]
"""A parcel, by its shard."""


class ParcelCoder(coders.StructCoder[Any]):
    """Encodes one type of parcel. To tell the size of some, which a runner asks for, it would encode them once more."""

    def estimate_size(self, parcel: Parcel) -> int:
        return _MESSAGE_BYTES * len(parcel.messages)


coders.declare(KnownParcel, AccountKnownParcel, MessageParcel, coder=ParcelCoder)


def shard_of(key: str) -> str:
    """The shard of a key: the same throughout this process, and in no other."""
    return _NAMES[hash(key) % SHARDS]


class Parcels:
    """Gathers messages by shard."""

    def __init__(self, parcel: type[Parcel]) -> None:
        self._parcel = parcel
        self._gathered: dict[str, list[tuple[str, Any]]] = {}

    def add(self, message: tuple[str, Any]) -> Sharded | None:
        """Gathers a message, which comes with its key; returns the parcel that it has filled."""
        shard = shard_of(message[0])
        gathered = self._gathered.get(shard)
        if gathered is None:
            gathered = self._gathered[shard] = []
        gathered.append(message)
        if len(gathered) < MOST_MESSAGES:
            return None
        del self._gathered[shard]
        return shard, self._parcel(gathered)

    def rest(self) -> Iterator[Sharded]:
        """What was gathered, and has filled no parcel."""
        gathered, self._gathered = self._gathered, {}
        for shard, messages in gathered.items():
            yield shard, self._parcel(messages)


class SendInParcels(beam.PTransform):
    """`(key, message)` → `(shard, parcel)`, in the windows in which the next step gathers; None is for a bounded job.
    The messages of a bundle go together where they are in one of them."""

    def __init__(self, parcel: type[Parcel], window: Arrival | None) -> None:
        super().__init__()
        self.parcel = parcel
        self.window = window
        self.fn = _ParcelsFn(parcel, None if window is None else Duration.of(window.seconds).micros)

    def expand(self, messages: PCollection[tuple[str, Any]]) -> PCollection[Sharded]:
        parcel: Any = self.parcel
        parcels = messages | "Parcels" >> beam.ParDo(self.fn).with_output_types(tuple[str, parcel])
        return parcels if self.window is None else parcels | "Window" >> arrival(self.window)


class _ParcelsFn(beam.DoFn):
    def __init__(self, parcel: type[Parcel], window_micros: int | None) -> None:
        self.parcel = parcel
        self.window_micros = window_micros

    def start_bundle(self) -> None:
        self.by_window: dict[int, tuple[Parcels, Timestamp]] = {}

    def process(
        self, message: tuple[str, Any], timestamp: Any = beam.DoFn.TimestampParam
    ) -> tuple[WindowedValue] | None:
        window = 0 if self.window_micros is None else timestamp.micros // self.window_micros
        gathered = self.by_window.get(window)
        if gathered is None:
            gathered = self.by_window[window] = Parcels(self.parcel), timestamp
        parcels, at = gathered
        full = parcels.add(message)
        return None if full is None else (in_global_window(full, at),)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for parcels, at in self.by_window.values():
            for sharded in parcels.rest():
                yield in_global_window(sharded, at)


class OpenParcels(beam.PTransform):
    """`(shard, MessageParcel)` → `(key, message)`."""

    def expand(self, sharded: PCollection[Sharded]) -> PCollection[tuple[str, ProtocolMessage]]:
        return sharded | "Messages" >> beam.FlatMapTuple(_messages).with_output_types(tuple[str, ProtocolMessage])


def _messages(_: str, parcel: Parcel) -> Iterable[tuple[str, Any]]:
    return parcel.messages
