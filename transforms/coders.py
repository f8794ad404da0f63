"""How elements that cross a shuffle, and state, are encoded: a version, and a msgpack array by msgspec, for a fraction
of pickle's size and time.

The encoding is part of the contract between versions of this program: a running job's elements and state outlive the
code (`docs/dataflow.md`, "Updating"). Fields are only ever added at the end of a struct, with a default: then an older
program reads what a newer one wrote, and the other way round. Any other change of a struct is a new `VERSION`.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic, TypeVar, get_type_hints

import msgspec
from apache_beam.coders import Coder, TimestampCoder, registry
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp
from msgspec import Raw
from msgspec.structs import asdict, fields

from schemas.tables import APPENDED, DEAD_LETTERS, EVENTS, KEYED, DeadLetter, IdentityCall, Row, Table, Timestamp, Type
from transforms.call_blocks import CallBlock, IdentityBlock
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.protocol import Deep, Label, Member, Pointer, ProtocolMessage, Token
from transforms.core.packed_event import PackedEvent, pack, unpack
from transforms.core.raw_json import NULL
from transforms.core.reader import Call, Received
from transforms.core.rows import Append, LogEntry, Upsert

S = TypeVar("S", bound=msgspec.Struct)

VERSION: Final = 2
"""The first byte of every encoding. It is raised as well where calls give other facts in place of those of before, so
that no job goes on from facts that no call gives any more."""

_HEADER: Final = bytes([VERSION])
_SUBTYPES: Final[Mapping[type, Any]] = {ProtocolMessage: Member | Label | Pointer | Token | Deep}


class UnknownVersionError(Exception):
    """Bytes that another version of this program wrote, in an encoding that this one does not know."""


def subtypes(struct: type[msgspec.Struct]) -> Any:
    """What a base stands for, its tagged subtypes; any other type for itself."""
    return _SUBTYPES.get(struct, struct)


def _content(encoded: bytes, struct: type) -> memoryview:
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
        self._decoder = msgspec.msgpack.Decoder(subtypes(struct))
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
        return type(self), (self.struct,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StructCoder) and self.struct is other.struct

    def __hash__(self) -> int:
        return hash((StructCoder, self.struct))


class _ElementCoder(Coder):
    """Encodes elements of one type; all coders of a class are alike. One that is deterministic encodes keys, too."""

    element: ClassVar[type]
    deterministic: ClassVar[bool] = False

    def is_deterministic(self) -> bool:
        return self.deterministic

    def to_type_hint(self) -> type:
        return self.element

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


class _Sent(msgspec.Struct, array_like=True, gc=False):
    """An `Upsert` as JSON, which holds the JSON columns of its row as they are. `table` is None for a tombstone."""

    key: tuple[str, ...]
    version: tuple[int, ...]
    table: str | None
    row: msgspec.Raw


class UpsertCoder(_ElementCoder):
    """Encodes `Upsert`s of the keyed tables. A row is an object by column, so that columns are added as fields are."""

    element = Upsert

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


class Sending(msgspec.Struct, array_like=True, gc=False):
    """Where a step stands that puts out its outbox in pages: the messages that it runs on, encoded; the timestamp of
    what it puts out, in microseconds; the next page; and how many elements of how many bytes there are in all, which
    tells whether it was another program that began."""

    inbox: list[bytes]
    at: int
    page: int = 0
    elements: int = 0
    size: int = 0


class SendingStateCoder(StructCoder[S]):
    """Encodes one struct type, as StructCoder does, and `Sending`, which is beside a state while its key is sending."""

    _MARK: Final = b"\0"
    """No version: what follows is no state."""
    _SENDING: Final = StructCoder(Sending)

    def encode(self, value: S | Sending) -> bytes:
        return self._MARK + self._SENDING.encode(value) if isinstance(value, Sending) else super().encode(value)

    def decode(self, encoded: bytes) -> Any:
        is_state = not encoded.startswith(self._MARK)
        return super().decode(encoded) if is_state else self._SENDING.decode(encoded[1:])


class PackedCoder(_ElementCoder):
    """Encodes what a step has packed itself, which stays packed here."""

    element = bytes

    def encode(self, value: bytes) -> bytes:
        return _HEADER + value

    def decode(self, encoded: bytes) -> bytes:
        return bytes(_content(encoded, bytes))


class _SentAppend(msgspec.Struct, array_like=True, gc=False):
    """An `Append`. `columns` are the row's by name, with JSON as bytes; those of an event are a packed one's."""

    table: str
    columns: Any
    outcome: str | None
    message: bytes
    attributes: dict[str, str]
    published_at: int | None
    inherited: str | None
    size: int


class AppendCoder(_ElementCoder):
    """Encodes `Append`s of the tables that are appended to."""

    element = Append

    _TABLES: Final = {table.row: table for table in APPENDED}
    _NAMED: Final = {table.name: table for table in APPENDED}
    _SENT: Final = msgspec.msgpack.Decoder(_SentAppend)

    def encode(self, value: Append) -> bytes:
        row = value.row
        table = self._TABLES[type(row)]
        columns = pack(value).columns if table is EVENTS else _columns(row)
        kept = value.outcome, value.message, value.attributes, value.published_at, value.inherited, value.size
        return _HEADER + msgspec.msgpack.encode((table.name, columns, *kept))

    def decode(self, encoded: bytes) -> Append:
        sent = self._SENT.decode(_content(encoded, Append))
        if sent.table == EVENTS.name:
            kept = sent.attributes, sent.published_at, sent.inherited, sent.size
            return unpack(PackedEvent(sent.message, sent.columns, sent.outcome, *kept))
        return Append(
            _row(self._NAMED[sent.table], sent.columns),
            sent.outcome,
            sent.message,
            sent.attributes,
            None if sent.published_at is None else Timestamp(sent.published_at),
            sent.inherited,
            sent.size,
        )


class DeadLetterCoder(_ElementCoder):
    """Encodes `DeadLetter`s, by column."""

    element = DeadLetter

    _COLUMNS: Final = msgspec.msgpack.Decoder(dict[str, Any])

    def encode(self, value: DeadLetter) -> bytes:
        return _HEADER + msgspec.msgpack.encode(_columns(value))

    def decode(self, encoded: bytes) -> DeadLetter:
        row = _row(DEAD_LETTERS, self._COLUMNS.decode(_content(encoded, DeadLetter)))
        assert isinstance(row, DeadLetter)
        return row


class _JsonDecoder(Generic[S]):
    """Reads a struct from JSON, which holds that of its columns as it is. msgspec itself does not read `Raw | None`."""

    def __init__(self, struct: type[S]) -> None:
        hints = get_type_hints(struct)
        self._struct = struct
        self._maybe_json = [name for name, hint in hints.items() if hint == Raw | None]
        types = hints | dict.fromkeys(self._maybe_json, Raw)
        columns = [(field.name, types[field.name], msgspec.field(default=field.default)) for field in fields(struct)]
        self._decode = msgspec.json.Decoder(msgspec.defstruct(struct.__name__, columns, kw_only=True)).decode

    def decode(self, json: Raw) -> S:
        values = asdict(self._decode(json))
        for name in self._maybe_json:
            if values[name] == NULL:
                values[name] = None
        return self._struct(**values)


class _SentEntry(msgspec.Struct, array_like=True, gc=False):
    """A `LogEntry` as JSON. What its row keeps for a dead letter is the call's."""

    call: Raw
    row: Raw
    outcome: str | None
    size: int


class LogEntryCoder(_ElementCoder):
    """Encodes `LogEntry`s."""

    element = LogEntry

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


def _columns(row: Row) -> dict[str, Any]:
    """The columns of a row by name; JSON as bytes."""
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    return {name: bytes(value) if isinstance(value, Raw) else value for name, value in values.items()}


def _row(table: Table, columns: Mapping[str, Any]) -> Row:
    """The row of these columns. Of a newer program's those that this one does not know are left out."""
    values = {}
    for column in table.columns:
        if column.name in columns:
            value = columns[column.name]
            values[column.name] = Raw(value) if column.type is Type.JSON and value is not None else value
    return table.row(**values)


class BlockCoder(Coder):
    """For blocks of calls, which stay in the process that read them: a runner only asks for the size of some. Where one
    does cut a graph there, they are pickled."""

    def encode(self, value: CallBlock | IdentityBlock) -> bytes:
        return pickle.dumps(value)

    def decode(self, encoded: bytes) -> Any:
        return pickle.loads(encoded)

    def estimate_size(self, value: CallBlock | IdentityBlock) -> int:
        return value.size

    def is_deterministic(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockCoder)

    def __hash__(self) -> int:
        return hash(BlockCoder)


class OffsetRangeCoder(_ElementCoder):
    """Encodes the restriction of a splittable DoFn that is a range of positions."""

    element = OffsetRange
    deterministic = True

    def encode(self, value: OffsetRange) -> bytes:
        return _HEADER + msgspec.msgpack.encode((value.start, value.stop))

    def decode(self, encoded: bytes) -> OffsetRange:
        return OffsetRange(*msgspec.msgpack.decode(_content(encoded, OffsetRange)))


def declare(*structs: type[msgspec.Struct]) -> None:
    """Has elements of these types encoded by `StructCoder`."""
    for struct in structs:
        registry.register_coder(struct, StructCoder)


declare(Known, AccountKnown, ProtocolMessage, PackedEvent, Received)
registry.register_coder(Upsert, UpsertCoder)
registry.register_coder(Append, AppendCoder)
registry.register_coder(DeadLetter, DeadLetterCoder)
registry.register_coder(LogEntry, LogEntryCoder)
registry.register_coder(CallBlock, BlockCoder)
registry.register_coder(IdentityBlock, BlockCoder)
registry.register_coder(BeamTimestamp, TimestampCoder)  # a Reshuffle keeps those of its elements, else as pickles
