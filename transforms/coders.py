"""How elements that cross a shuffle, and state, are encoded: a version, and a msgpack array by msgspec, for a fraction
of pickle's size and time.

The encoding is part of the contract between versions of this program: a running job's elements and state outlive the
code (`docs/dataflow.md`, "Updating"). Fields are only ever added at the end of a struct, with a default: then an older
program reads what a newer one wrote, and the other way round. Any other change of a struct is a new `VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from apache_beam.coders import Coder, registry

from schemas.tables import KEYED, Row
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.protocol import Edge, Label, Member, ProtocolMessage
from transforms.core.packed_event import PackedEvent
from transforms.core.rows import Upsert

S = TypeVar("S", bound=msgspec.Struct)

VERSION: Final = 2
"""The first byte of every encoding. It is raised as well where calls give other facts in place of those of before, so
that no job goes on from facts that no call gives any more."""

_HEADER: Final = bytes([VERSION])
_DECODED: Mapping[type, Any] = {ProtocolMessage: Member | Label | Edge}
"""What a base stands for: its tagged subtypes."""


class UnknownVersionError(Exception):
    """Bytes that another version of this program wrote, in an encoding that this one does not know."""


def _content(encoded: bytes, struct: type[msgspec.Struct]) -> memoryview:
    """What follows the version."""
    if encoded[0] != VERSION:
        raise UnknownVersionError(
            f"a {struct.__name__} is in encoding {encoded[0]}, and this program reads encoding {VERSION}:"
            " go back to the program that wrote it, or replace the job by a new one, which reads the history"
        )
    return memoryview(encoded)[1:]


class StructCoder(Coder, Generic[S]):
    """Encodes one struct type. Not deterministic (a struct holds dicts): for values, never for keys. Decoding raises
    UnknownVersionError where a job was updated to a program that cannot go on from its state: nothing is lost by it."""

    def __init__(self, struct: type[S]) -> None:
        self.struct = struct
        self._decoder = msgspec.msgpack.Decoder(_DECODED.get(struct, struct))
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, value: S) -> bytes:
        return _HEADER + self._encoder.encode(value)

    def decode(self, encoded: bytes) -> S:
        return self._decoder.decode(_content(encoded, self.struct))

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> type[S]:
        return self.struct

    @classmethod
    def from_type_hint(cls, typehint: Any, registry: object) -> Any:
        return cls(typehint)

    def __reduce__(self) -> tuple[Any, ...]:
        return StructCoder, (self.struct,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StructCoder) and self.struct is other.struct

    def __hash__(self) -> int:
        return hash((StructCoder, self.struct))


class _Sent(msgspec.Struct, array_like=True, gc=False):
    """An `Upsert` as JSON, which holds the JSON columns of its row as they are. `table` is None for a tombstone."""

    key: tuple[str, ...]
    version: tuple[int, ...]
    table: str | None
    row: msgspec.Raw


class UpsertCoder(Coder):
    """Encodes `Upsert`s of the keyed tables. A row is an object by column, so that columns are added as fields are."""

    _TABLES: Final = {table.row: table.name for table in KEYED}
    _ROWS: Final = {table.name: msgspec.json.Decoder(table.row) for table in KEYED}
    _SENT: Final = msgspec.json.Decoder(_Sent)

    def encode(self, value: Upsert) -> bytes:
        row = value.row
        return _HEADER + msgspec.json.encode((value.key, value.version, row and self._TABLES[type(row)], row))

    def decode(self, encoded: bytes) -> Upsert:
        sent = self._SENT.decode(_content(encoded, Upsert))
        row: Row | None = None if sent.table is None else self._ROWS[sent.table].decode(sent.row)
        return Upsert(sent.key, sent.version, row)

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> type[Upsert]:
        return Upsert

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UpsertCoder)

    def __hash__(self) -> int:
        return hash(UpsertCoder)


for struct in (Known, AccountKnown, ProtocolMessage, PackedEvent):
    registry.register_coder(struct, StructCoder)
registry.register_coder(Upsert, UpsertCoder)
