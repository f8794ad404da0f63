"""How elements that cross a shuffle, and state, are encoded: a version, and a msgpack array by msgspec, for a fraction
of pickle's size and time.

The encoding is part of the contract between versions of this program: a running job's elements and state outlive the
code (`docs/dataflow.md`, "Updating"). Fields are only ever added at the end of a struct, with a default: then an older
program reads what a newer one wrote, and the other way round. Any other change of a struct is a new `VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar, get_type_hints

import msgspec
from apache_beam.coders import Coder, registry
from msgspec.structs import asdict, fields

from schemas.tables import KEYED, IdentityCall, Row
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.protocol import Edge, Label, Member, ProtocolMessage
from transforms.core.packed_event import PackedEvent
from transforms.core.reader import Call
from transforms.core.rows import Append, LogEntry, Upsert

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


class _JsonDecoder(Generic[S]):
    """Reads a struct from JSON, which holds that of its columns as it is. msgspec itself does not read `Raw | None`."""

    def __init__(self, struct: type[S]) -> None:
        hints = get_type_hints(struct)
        self._struct = struct
        self._maybe_json = [name for name, hint in hints.items() if hint == msgspec.Raw | None]
        types = hints | dict.fromkeys(self._maybe_json, msgspec.Raw)
        columns = [(field.name, types[field.name], msgspec.field(default=field.default)) for field in fields(struct)]
        self._decode = msgspec.json.Decoder(msgspec.defstruct(struct.__name__, columns, kw_only=True)).decode

    def decode(self, json: msgspec.Raw) -> S:
        values = asdict(self._decode(json))
        for name in self._maybe_json:
            if values[name] == _NULL:
                values[name] = None
        return self._struct(**values)


_NULL: Final = msgspec.Raw(b"null")


class _SentEntry(msgspec.Struct, array_like=True, gc=False):
    """A `LogEntry` as JSON. What its row keeps for a dead letter is the call's."""

    call: msgspec.Raw
    row: msgspec.Raw
    outcome: str | None
    size: int


class LogEntryCoder(Coder):
    """Encodes `LogEntry`s."""

    _SENT: Final = msgspec.json.Decoder(_SentEntry)
    _CALL: Final = _JsonDecoder(Call)
    _ROW: Final = _JsonDecoder(IdentityCall)

    def encode(self, value: LogEntry) -> bytes:
        append = value.append
        return _HEADER + msgspec.json.encode((value.call, append.row, append.outcome, append.size))

    def decode(self, encoded: bytes) -> LogEntry:
        sent = self._SENT.decode(_content(encoded, LogEntry))
        call = self._CALL.decode(sent.call)
        kept = call.message, call.attributes, call.published_at, call.inherited
        return LogEntry(call, Append(self._ROW.decode(sent.row), sent.outcome, *kept, sent.size))

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> type[LogEntry]:
        return LogEntry

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LogEntryCoder)

    def __hash__(self) -> int:
        return hash(LogEntryCoder)


for struct in (Known, AccountKnown, ProtocolMessage, PackedEvent):
    registry.register_coder(struct, StructCoder)
registry.register_coder(Upsert, UpsertCoder)
registry.register_coder(LogEntry, LogEntryCoder)
