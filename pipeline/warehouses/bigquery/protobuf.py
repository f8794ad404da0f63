"""Rows as protobuf messages: the writer schema of a table, and each row's bytes.

BigQuery takes rows as proto2 messages whose fields are the table's columns by name: TIMESTAMP as int64 microseconds,
JSON as string (https://cloud.google.com/bigquery/docs/supported-data-types). A field that is not set is NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from msgspec.structs import asdict

from pipeline.warehouses.bigquery.changes import CHANGE_SEQUENCE_NUMBER, CHANGE_TYPE
from pipeline.warehouses.bigquery.json_numbers import as_bigquery_writes
from schemas.tables import Column, Mode, Row, Table, Type, Write

_FIELD_TYPES: Final[Mapping[Type, FieldDescriptorProto.Type.ValueType]] = {
    Type.STRING: FieldDescriptorProto.TYPE_STRING,
    Type.INT64: FieldDescriptorProto.TYPE_INT64,
    Type.BOOL: FieldDescriptorProto.TYPE_BOOL,
    Type.TIMESTAMP: FieldDescriptorProto.TYPE_INT64,
    Type.BYTES: FieldDescriptorProto.TYPE_BYTES,
    Type.JSON: FieldDescriptorProto.TYPE_STRING,
    Type.STRUCT: FieldDescriptorProto.TYPE_MESSAGE,
}

_EMPTY: Final[Mapping[Type, Any]] = {
    Type.STRING: "",
    Type.INT64: 0,
    Type.BOOL: False,
    Type.TIMESTAMP: 0,
    Type.BYTES: b"",
    Type.JSON: "null",
}


class RowEncoder:
    """Encodes the rows of one table; of a keyed one also what change data capture must know of each.

    `descriptor` is the writer schema of its bytes, self-contained.
    """

    def __init__(self, table: Table) -> None:
        self.descriptor = _descriptor(table.row.__name__, table.columns)
        if table.write is Write.UPSERT:
            for name in (CHANGE_TYPE, CHANGE_SEQUENCE_NUMBER):
                _add_field(self.descriptor, name, FieldDescriptorProto.TYPE_STRING)
        self._message = _message_class(self.descriptor)
        self._converted = _conversions(table.columns)
        self._json = [column.name for column in table.columns if column.type is Type.JSON]
        self._empty = {column.name: _EMPTY[column.type] for column in table.columns if column.mode is Mode.REQUIRED}

    def encode(self, row: Row, **filled: Any) -> bytes:
        """The bytes of a row, with `filled` in place of some of its columns.

        Raises ValueError or TypeError for a row that protobuf cannot hold: `Table.misfit` says why.
        """
        fields = asdict(row)
        for name, convert in self._converted:
            if (value := fields[name]) is not None:
                fields[name] = convert(value)
        fields.update(filled)
        return self._message(**fields).SerializeToString()

    def encode_key(self, key: Mapping[str, Any], **filled: Any) -> bytes:
        """The bytes of a row of which no more than the key is known; columns that must have a value get an empty one,
        lest the row of a delete be refused."""
        return self._message(**{**self._empty, **key, **filled}).SerializeToString()

    def rewritten(self, row: bytes) -> bytes:
        """The bytes of a row with the numbers of its JSON as BigQuery itself writes them."""
        message = self._message.FromString(row)
        for name in self._json:
            if message.HasField(name):
                setattr(message, name, as_bigquery_writes(getattr(message, name)))
        written: bytes = message.SerializeToString()
        return written


def _descriptor(name: str, columns: Iterable[Column]) -> DescriptorProto:
    descriptor = DescriptorProto(name=name)
    for column in columns:
        field = _add_field(descriptor, column.name, _FIELD_TYPES[column.type])
        if column.mode is Mode.REPEATED:
            field.label = FieldDescriptorProto.LABEL_REPEATED
        if column.type is Type.STRUCT:
            field.type_name = f"_{column.name}"
            descriptor.nested_type.append(_descriptor(field.type_name, column.fields))
    return descriptor


def _add_field(
    descriptor: DescriptorProto, name: str, type: FieldDescriptorProto.Type.ValueType
) -> FieldDescriptorProto:
    return descriptor.field.add(
        name=name, number=len(descriptor.field) + 1, type=type, label=FieldDescriptorProto.LABEL_OPTIONAL
    )


def _message_class(descriptor: DescriptorProto) -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto(name="row.proto", message_type=[descriptor]))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(descriptor.name))


def _conversions(columns: Iterable[Column]) -> list[tuple[str, Callable[[Any], Any]]]:
    """The columns whose values protobuf does not take as they are, and what it takes."""
    return [
        (column.name, _repeated(convert) if column.mode is Mode.REPEATED else convert)
        for column in columns
        if (convert := _conversion(column)) is not None
    ]


def _conversion(column: Column) -> Callable[[Any], Any] | None:
    if column.type is Type.JSON:
        return bytes
    if column.type is Type.STRUCT:
        return _struct(_conversions(column.fields))
    return None


def _struct(converted: list[tuple[str, Callable[[Any], Any]]]) -> Callable[[Row], dict[str, Any]]:
    def convert_struct(row: Row) -> dict[str, Any]:
        fields = asdict(row)
        for name, convert in converted:
            if (value := fields[name]) is not None:
                fields[name] = convert(value)
        return fields

    return convert_struct


def _repeated(convert: Callable[[Any], Any]) -> Callable[[Iterable[Any]], list[Any]]:
    return lambda values: [convert(value) for value in values]
