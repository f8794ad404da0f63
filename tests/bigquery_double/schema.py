"""A table's columns, and whether a writer schema and its rows fit them as BigQuery demands.

Which protobuf type may be written to which column: https://cloud.google.com/bigquery/docs/supported-data-types .
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]  # its stubs lack it

from tests.bigquery_double import json_values

CHANGE_TYPE, CHANGE_SEQUENCE_NUMBER = "_change_type", "_change_sequence_number"
PSEUDO_COLUMNS = (CHANGE_TYPE, CHANGE_SEQUENCE_NUMBER)
TIMESTAMPS = range(-62_135_596_800_000_000, 253_402_300_800_000_000)

_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
_STANDARD = {legacy: standard for standard, legacy in _LEGACY.items()}

_PROTO = descriptor_pb2.FieldDescriptorProto
_PROTO_TYPES: Mapping[str, Sequence[str]] = {
    "BOOL": ("bool", "int32", "int64", "uint32", "uint64"),
    "BYTES": ("bytes", "string"),
    "STRING": ("string", "enum"),
    "JSON": ("string",),
    "INT64": ("int32", "int64", "uint32", "enum"),
    "TIMESTAMP": ("int64", "int32", "uint32"),
    "FLOAT64": ("double", "float"),
    "DATE": ("int32", "int64"),
    "STRUCT": ("message",),
}

TYPES = frozenset(_PROTO_TYPES)
"""The types that a column can have here."""


class SchemaError(Exception):
    """Why a writer schema does not fit the table: whether because of fields that the table lacks."""

    def __init__(self, message: str, *, extra_fields: bool = False) -> None:
        super().__init__(message)
        self.extra_fields = extra_fields


class RowRefused(Exception):
    """Why a row cannot be stored."""


@dataclass(frozen=True)
class Field:
    """A column, or a field of a STRUCT. `type` is GoogleSQL's name; `name` is as it was declared."""

    name: str
    type: str
    mode: str = "NULLABLE"
    description: str | None = None
    fields: tuple[Field, ...] = ()

    @classmethod
    def from_rest(cls, field: Mapping[str, Any]) -> Field:
        """From a TableFieldSchema: https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema"""
        type_ = field["type"].upper()
        return cls(
            field["name"],
            _STANDARD.get(type_, type_),
            (field.get("mode") or "NULLABLE").upper(),
            field.get("description"),
            tuple(cls.from_rest(each) for each in field.get("fields", ())),
        )

    def rest(self) -> dict[str, Any]:
        """A TableFieldSchema as BigQuery returns it: types by their legacy names, whatever was sent."""
        resource: dict[str, Any] = {"name": self.name, "type": _LEGACY.get(self.type, self.type), "mode": self.mode}
        if self.description is not None:
            resource["description"] = self.description
        if self.fields:
            resource["fields"] = [field.rest() for field in self.fields]
        return resource


def added(old: Sequence[Field], new: Sequence[Field], path: str = "") -> Iterator[str]:
    """Why the columns `old` cannot become `new`: columns are added NULLABLE or REPEATED, REQUIRED is relaxed, nothing
    else. https://cloud.google.com/bigquery/docs/managing-table-schemas"""
    named = {field.name.lower(): field for field in new}
    known = {field.name.lower() for field in old}
    for field in old:
        now = named.get(field.name.lower())
        if now is None:
            yield f"Field {path}{field.name} is missing in new schema"
        elif now.type != field.type:
            yield f"Field {path}{field.name} has changed type from {_legacy(field)} to {_legacy(now)}"
        elif now.mode != field.mode and (field.mode, now.mode) != ("REQUIRED", "NULLABLE"):
            yield f"Field {path}{field.name} has changed mode from {field.mode} to {now.mode}"
        else:
            yield from added(field.fields, now.fields, f"{path}{field.name}.")
    for field in new:
        if field.name.lower() not in known and field.mode == "REQUIRED":
            yield f"Cannot add required fields to an existing schema. (field: {path}{field.name})"


def _legacy(field: Field) -> str:
    return _LEGACY.get(field.type, field.type)


Check = Callable[[Any], Any]
"""A protobuf value to the value that is stored, or raises RowRefused."""


class Decoder:
    """Rows in the protobuf of one writer schema → tuples of the table's columns, in order.

    Values are stored as str, int, bool, float and bytes; TIMESTAMP as microseconds, JSON as its text, a STRUCT as a
    dict, an ARRAY as a list. Raises SchemaError where the writer schema does not fit the table. With `exact_numbers` a
    row is refused for a number of JSON that PARSE_JSON's mode `exact` refuses.
    """

    def __init__(
        self, descriptor: descriptor_pb2.DescriptorProto, fields: Sequence[Field], *, exact_numbers: bool = False
    ) -> None:
        file = descriptor_pb2.FileDescriptorProto(name="writer.proto", message_type=[descriptor])
        try:
            pool = descriptor_pool.DescriptorPool()
            pool.Add(file)
            message = pool.FindMessageTypeByName(descriptor.name)
        except (TypeError, KeyError, ValueError) as error:
            raise SchemaError(f"Invalid proto schema: {error}") from None
        self.changes = CHANGE_TYPE in {field.name.lower() for field in message.fields}
        pseudo = tuple(Field(name, "STRING") for name in PSEUDO_COLUMNS) if self.changes else ()
        self._columns = len(fields)
        self._names = [field.name for field in fields]
        self._exact = [index for index, field in enumerate(fields) if exact_numbers and field.type == "JSON"]
        self._class = message_factory.GetMessageClass(message)
        self._decode = _message((*fields, *pseudo), message, "")

    def row(self, serialized: bytes) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """(the table's columns, the pseudo-columns of change data capture). Raises RowRefused."""
        try:
            message = self._class.FromString(serialized)
        except DecodeError:
            raise RowRefused("Cannot parse the row with the writer schema") from None
        values = self._decode(message)
        for index in self._exact:
            if values[index] is not None and (wrong := json_values.problem(values[index], exact=True)):
                raise RowRefused(f"Field {self._names[index]}: {wrong}")
        return tuple(values[: self._columns]), tuple(values[self._columns :])


def _message(fields: Sequence[Field], message: Any, path: str) -> Callable[[Any], list[Any]]:
    columns = {field.name.lower(): (index, field) for index, field in enumerate(fields)}
    unknown = [each.name for each in message.fields if each.name.lower() not in columns]
    if unknown:
        names = ", ".join(f"'{path}{name}'" for name in unknown)
        raise SchemaError(
            f"Input schema has more fields than BigQuery schema, extra fields: {names}", extra_fields=True
        )
    written = {each.name.lower() for each in message.fields}
    for field in fields:
        if field.mode == "REQUIRED" and field.name.lower() not in written:
            raise SchemaError(f"The required field {path}{field.name} is missing in the proto message")
    checks: dict[int, tuple[int, Check]] = {}
    for each in message.fields:
        index, field = columns[each.name.lower()]
        checks[each.number] = index, _check(field, each, f"{path}{field.name}")
    required = [(index, field.name) for index, field in enumerate(fields) if field.mode == "REQUIRED"]
    repeated = [index for index, field in enumerate(fields) if field.mode == "REPEATED"]
    width = len(fields)

    def decode(row: Any) -> list[Any]:
        values: list[Any] = [None] * width
        for index in repeated:
            values[index] = []
        for descriptor, value in row.ListFields():
            index, check = checks[descriptor.number]
            values[index] = check(value)
        for index, name in required:
            if values[index] is None:
                raise RowRefused(f"Field {path}{name}: a REQUIRED field is missing")
        if len(UnknownFieldSet(row)):
            raise RowRefused(f"The row has fields that the writer schema lacks{f', in {path[:-1]}' if path else ''}")
        return values

    return decode


def _check(field: Field, descriptor: Any, path: str) -> Check:
    written = _PROTO.Type.Name(descriptor.type).removeprefix("TYPE_").lower()
    if written not in _PROTO_TYPES.get(field.type, ()):
        raise SchemaError(
            f"The proto field mismatched with BigQuery field at {path}, "
            f"the proto field type {written}, BigQuery field type {_legacy(field)}"
        )
    if descriptor.is_repeated != (field.mode == "REPEATED"):
        label = "repeated" if descriptor.is_repeated else "not repeated"
        raise SchemaError(
            f"The field mode mismatched at {path}, the proto field is {label}, BigQuery's is {field.mode}"
        )
    check = _struct(field, descriptor, path) if field.type == "STRUCT" else _SCALARS[field.type](path)
    if field.mode == "REPEATED":
        return lambda values: [check(value) for value in values]
    return check


def _struct(field: Field, descriptor: Any, path: str) -> Check:
    names = [each.name for each in field.fields]
    decode = _message(field.fields, descriptor.message_type, f"{path}.")
    return lambda row: dict(zip(names, decode(row), strict=True))


def _string(path: str) -> Check:
    def check(value: str | bytes) -> str:
        if isinstance(value, bytes):  # what upb gives for a text of proto2 that is not UTF-8
            raise RowRefused(f"Field {path}: invalid UTF-8")
        return str(value)

    return check


def _json(path: str) -> Check:
    string = _string(path)

    def check(value: Any) -> str:
        text = string(value)
        problem = json_values.problem(text)
        if problem:
            raise RowRefused(f"Field {path}: {problem}")
        return text

    return check


def _timestamp(path: str) -> Check:
    def check(value: int) -> int:
        if value not in TIMESTAMPS:
            raise RowRefused(f"Field {path}: the timestamp {value} is outside the years 1 to 9999")
        return value

    return check


def _bytes(_: str) -> Check:
    return lambda value: value.encode() if isinstance(value, str) else value


def _bool(path: str) -> Check:
    def check(value: Any) -> bool:
        if value not in (0, 1):
            raise RowRefused(f"Field {path}: {value} is no BOOL")
        return bool(value)

    return check


def _as_is(_: str) -> Check:
    return lambda value: value


_SCALARS: Mapping[str, Callable[[str], Check]] = {
    "STRING": _string,
    "JSON": _json,
    "TIMESTAMP": _timestamp,
    "BYTES": _bytes,
    "BOOL": _bool,
    "INT64": _as_is,
    "FLOAT64": _as_is,
    "DATE": _as_is,
}


def relaxed(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields with REQUIRED as NULLABLE, as the columns of a query's result are."""
    return tuple(replace(field, mode="NULLABLE") if field.mode == "REQUIRED" else field for field in fields)
