"""Google's own GoogleSQL, for tests: the analyzer and the reference evaluator that PyPI's `zetasql` has as WebAssembly.

It is compiled once, in a quarter of a minute, and each statement is analyzed once: both are kept in the user's cache.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.tables import Column, Mode, Row, Table, Type
from tests import kept

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

FEATURES = """
    ANALYTIC_FUNCTIONS CREATE_TABLE_CLUSTER_BY CREATE_TABLE_FIELD_ANNOTATIONS CREATE_TABLE_NOT_NULL
    CREATE_TABLE_FUNCTION CREATE_TABLE_PARTITION_BY DML_UPDATE_WITH_JOIN INTERVAL_TYPE JSON_CONSTRUCTOR_FUNCTIONS
    JSON_KEYS_FUNCTION JSON_TYPE JSON_VALUE_EXTRACTION_FUNCTIONS NAMED_ARGUMENTS TABLE_VALUED_FUNCTIONS
    UNENFORCED_PRIMARY_KEYS V_1_1_NULL_HANDLING_MODIFIER_IN_ANALYTIC V_1_1_ORDER_BY_IN_AGGREGATE
    V_1_1_SELECT_STAR_EXCEPT_REPLACE V_1_1_WITH_ON_SUBQUERY V_1_2_CIVIL_TIME V_1_2_SAFE_FUNCTION_CALL
    V_1_3_ADDITIONAL_STRING_FUNCTIONS V_1_3_ALLOW_REGEXP_EXTRACT_OPTIONALS V_1_3_DATE_ARITHMETICS
    V_1_3_EXTENDED_DATE_TIME_SIGNATURES V_1_3_IS_DISTINCT
    V_1_3_NULLS_FIRST_LAST_IN_ORDER_BY V_1_3_QUALIFY
"""
"""Those of GoogleSQL's optional features that BigQuery has and this project uses."""

STATEMENTS = (
    "ALTER_TABLE CREATE_TABLE CREATE_TABLE_AS_SELECT CREATE_TABLE_FUNCTION CREATE_VIEW DELETE INSERT MERGE QUERY UPDATE"
)
OPTIONS = {
    "description": "STRING",
    "expiration_timestamp": "TIMESTAMP",
    "labels": "ARRAY<STRUCT<STRING, STRING>>",
    "max_staleness": "INTERVAL",
    "partition_expiration_days": "DOUBLE",
    "require_partition_filter": "BOOL",
}
"""The options of BigQuery's tables, columns and views that this project uses."""


class InvalidSqlError(Exception):
    """What GoogleSQL says against a statement."""


class GoogleSQL:
    """A dataset: its tables and views as their DDL declares them, with the rows that a test puts into them."""

    def __init__(self) -> None:
        from zetasql.wasi._pb2.zetasql.proto.options_pb2 import AnalyzerOptionsProto
        from zetasql.wasi._pb2.zetasql.proto.simple_catalog_pb2 import SimpleCatalogProto
        from zetasql.wasi._pb2.zetasql.public import options_pb2 as options
        from zetasql.wasi._pb2.zetasql.resolved_ast.resolved_node_kind_pb2 import ResolvedNodeKind

        self._options = AnalyzerOptionsProto(default_timezone="UTC", error_message_mode=options.ERROR_MESSAGE_ONE_LINE)
        language = self._options.language_options
        language.product_mode = options.PRODUCT_EXTERNAL
        language.reserved_keywords.append("QUALIFY")
        language.enabled_language_features.extend(
            options.LanguageFeature.Value(f"FEATURE_{feature}") for feature in FEATURES.split()
        )
        language.supported_statement_kinds.extend(
            ResolvedNodeKind.Value(f"RESOLVED_{statement}_STMT") for statement in STATEMENTS.split()
        )
        known = self._options.allowed_hints_and_options
        known.disallow_unknown_options = True
        for name, type_ in OPTIONS.items():
            known.option.add(name=name).type.CopyFrom(_type(type_))
        self._catalog = SimpleCatalogProto(name="bigquery")
        self._catalog.builtin_function_options.language_options.CopyFrom(language)
        self._rows: dict[str, Any] = {}

    def analyze(self, sql: str, **parameters: str) -> Any:
        """The resolved form of one statement, with the types of its parameters. Raises InvalidSqlError."""
        from zetasql.wasi._pb2.zetasql.local_service.local_service_pb2 import AnalyzeRequest, AnalyzeResponse

        request = AnalyzeRequest(options=self._options, simple_catalog=self._catalog, sql_statement=sql)
        for name, type_ in parameters.items():
            request.options.query_parameters.add(name=name).type.CopyFrom(_type(type_))
        node = _analysis(request, AnalyzeResponse).resolved_statement
        while node.DESCRIPTOR.name.startswith("Any"):
            node = getattr(node, node.WhichOneof("node"))
        return node

    def create(self, sql: str, **parameters: str) -> Any:
        """Analyzes a CREATE of a table, a view or a table function, which is known from then on."""
        from zetasql.wasi._pb2.zetasql.public.function_pb2 import FunctionEnums

        statement = self.analyze(sql, **parameters)
        path = list(inherited(statement, "name_path"))
        columns = [(each.name, each.type) for each in inherited(statement, "column_definition_list")] or [
            (each.name, each.column.type) for each in inherited(statement, "output_column_list")
        ]
        catalog = self._catalog
        for part in path[:-1]:
            catalog = next((each for each in catalog.catalog if each.name == part), None) or catalog.catalog.add(
                name=part
            )
        if "signature" in statement.DESCRIPTOR.fields_by_name:
            function = catalog.custom_tvf.add(name_path=path, signature=statement.signature)
            function.type = FunctionEnums.FIXED_OUTPUT_SCHEMA_TVF
            return statement
        table = catalog.table.add(name=path[-1], full_name=".".join(path))
        for name, type_ in columns:
            table.column.add(name=name, type=type_)
        return statement

    def insert(self, table: Table, rows: Iterable[Row]) -> None:
        """Gives a table that was created without a dataset these rows."""
        from zetasql.wasi._pb2.zetasql.local_service.local_service_pb2 import TableContent

        content = self._rows[table.name] = TableContent()
        content.table_data.SetInParent()
        for row in rows:
            content.table_data.row.add().cell.extend(_values(table.columns, row))

    def query(self, sql: str, into: str | None = None) -> list[Mapping[str, object]]:
        """Evaluates a query on the rows there are; those of a view that was created are kept `into` that name."""
        from zetasql.wasi._pb2.zetasql.local_service.local_service_pb2 import (
            EvaluateQueryRequest,
            EvaluateQueryResponse,
        )

        request = EvaluateQueryRequest(sql=sql, options=self._options, simple_catalog=self._catalog)
        for name, content in self._rows.items():
            request.table_content[name].CopyFrom(content)
        response = _call("EvaluateQuery", request, EvaluateQueryResponse)
        if into is not None:
            self._rows[into] = response.content
        columns = response.prepared.columns
        return [
            {column.name: _python(value, column.type) for column, value in zip(columns, row.cell, strict=True)}
            for row in response.content.table_data.row
        ]


def available() -> GoogleSQL:
    """An empty dataset; where `zetasql` is not installed, a skipped test, or on CI a failed one."""
    if importlib.util.find_spec("zetasql") is None:
        missing = "PyPI's zetasql is not installed: no SQL was checked by Google's analyzer"
        if "CI" in os.environ:
            pytest.fail(missing)
        pytest.skip(missing)
    return GoogleSQL()


def inherited(node: Any, field: str) -> Any:
    """A field of a resolved node, or of the nearest of its parents that has it; empty where none has."""
    while field not in node.DESCRIPTOR.fields_by_name:
        if "parent" not in node.DESCRIPTOR.fields_by_name:
            return ()
        node = node.parent
    return getattr(node, field)


def options(node: Any) -> dict[str, str]:
    """The text of each option of a resolved table, view or column that is a literal text."""
    literals = ((each.name, each.value.resolved_literal_node.value.value) for each in inherited(node, "option_list"))
    return {name: literal.string_value for name, literal in literals if literal.WhichOneof("value") == "string_value"}


def type_name(type_: Any) -> str:
    """A type as BigQuery writes it."""
    from zetasql.wasi._pb2.zetasql.public.type_pb2 import TypeKind

    if type_.HasField("array_type"):
        return f"ARRAY<{type_name(type_.array_type.element_type)}>"
    if type_.HasField("struct_type"):
        fields = ", ".join(f"{field.field_name} {type_name(field.field_type)}" for field in type_.struct_type.field)
        return f"STRUCT<{fields}>"
    return str(TypeKind.Name(type_.type_kind)).removeprefix("TYPE_")


def engine_violations(statement: Any) -> Iterator[str]:
    """What BigQuery itself, not GoogleSQL, would refuse in a resolved CREATE TABLE.

    From its documentation of data definition language, of clustered tables and of change data capture.
    """
    columns = {each.name: each.type for each in inherited(statement, "column_definition_list")}
    key = inherited(statement, "primary_key")
    if key.column_name_list:
        if not key.unenforced:
            yield "a primary key must be NOT ENFORCED"
        if len(key.column_name_list) > 16:
            yield "a primary key has at most 16 columns"
        if any(
            columns[name].type_kind not in _kinds("STRING INT64 BOOL TIMESTAMP DATE") for name in key.column_name_list
        ):
            yield "a primary key's columns are scalars, neither FLOAT64 nor JSON"
    if len(statement.cluster_by_list) > 4:
        yield "a table is clustered by at most 4 columns"
    if any(each.WhichOneof("node") != "resolved_column_ref_node" for each in statement.cluster_by_list):
        yield "a table is clustered by columns, not by expressions"
    if len(statement.partition_by_list) > 1:
        yield "a table is partitioned by one expression"
    for expression in statement.partition_by_list:
        if "timestamp_trunc" not in str(expression) and "ZetaSQL:date" not in str(expression):
            yield "a table is partitioned by TIMESTAMP_TRUNC or DATE of a TIMESTAMP"
    for each in inherited(statement, "column_definition_list"):
        if each.type.type_kind in _kinds("ARRAY") and each.annotations.not_null:
            yield "an ARRAY cannot be NOT NULL"


def python(value: object, column: Column) -> object:
    """A column's value as drivers return it: timestamps as datetimes, rows as dicts, JSON as its text."""
    if value is None:
        return None
    if isinstance(value, tuple):
        return [python(each, msgspec.structs.replace(column, mode=Mode.REQUIRED)) for each in value]
    if isinstance(value, Row):
        return {field.name: python(getattr(value, field.name), field) for field in column.fields}
    if column.type is Type.TIMESTAMP and isinstance(value, int):
        return EPOCH + timedelta(microseconds=value)
    if column.type is Type.JSON and isinstance(value, msgspec.Raw):
        return str(bytes(value), "utf-8")
    return value


def _values(columns: Sequence[Column], row: Row) -> Iterator[Any]:
    for column in columns:
        yield _value(python(getattr(row, column.name), column), column.type)


def _value(value: Any, type_: Type) -> Any:
    from zetasql.wasi._pb2.zetasql.public.value_pb2 import ValueProto

    proto = ValueProto()
    if isinstance(value, list):
        proto.array_value.SetInParent()
        proto.array_value.element.extend(_value(each, type_) for each in value)
    elif isinstance(value, datetime):
        proto.timestamp_value.FromDatetime(value)
    elif isinstance(value, dict):
        proto.struct_value.field.extend(_value(each, Type.STRING) for each in value.values())
    elif type_ is Type.JSON and value is not None:
        proto.json_value = value
    elif value is not None:
        kind = {bool: "bool_value", int: "int64_value", str: "string_value", bytes: "bytes_value"}[type(value)]
        setattr(proto, kind, value)
    return proto


def _python(proto: Any, type_: Any) -> object:
    kind = proto.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_python(each, type_.array_type.element_type) for each in proto.array_value.element]
    if kind == "struct_value":
        fields = type_.struct_type.field
        return {
            field.field_name: _python(each, field.field_type)
            for field, each in zip(fields, proto.struct_value.field, strict=True)
        }
    if kind == "date_value":
        return (EPOCH + timedelta(days=proto.date_value)).date()
    if kind == "timestamp_value":
        return proto.timestamp_value.ToDatetime(timezone.utc)
    return getattr(proto, kind)


def _type(name: str) -> Any:
    from zetasql.wasi._pb2.zetasql.public.type_pb2 import TypeKind, TypeProto

    outer, _, inner = name.removesuffix(">").partition("<")
    proto = TypeProto(type_kind=TypeKind.Value(f"TYPE_{outer}"))
    if inner and outer == "ARRAY":
        proto.array_type.element_type.CopyFrom(_type(inner))
    elif inner and outer == "STRUCT":
        for each in inner.split(", "):
            proto.struct_type.field.add(field_type=_type(each))
    return proto


def _kinds(names: str) -> set[int]:
    return {_type(name).type_kind for name in names.split()}


_ANSWERED, _REFUSED = b"+", b"-"


def _analysis(request: Any, response: Any) -> Any:
    """The answer of the service, which follows from the request alone: tables are in it. Raises InvalidSqlError."""
    answers = _analyses()
    name = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
    answer = answers.get(name)
    if answer is None:
        try:
            answer = _ANSWERED + zlib.compress(_call("Analyze", request, response).SerializeToString(), 1)
        except InvalidSqlError as error:
            answer = _REFUSED + str(error).encode()
        answers.put(name, answer)
    if answer[:1] == _REFUSED:
        raise InvalidSqlError(answer[1:].decode())
    return response.FromString(zlib.decompress(answer[1:]))


@functools.cache
def _analyses() -> kept.KeptAnswers:
    return kept.KeptAnswers(f"googlesql-{version('zetasql')}")


def _call(method: str, request: Any, response: Any) -> Any:
    """Calls a method of the local service: protobuf bytes in and out of WebAssembly's memory."""
    store, exports = _service()

    def address(at: int) -> int:
        return ctypes.addressof(exports["memory"].data_ptr().contents) + at

    sent = request.SerializeToString()
    at, size_at = exports["wasm_malloc"](store, len(sent)), exports["wasm_malloc"](store, 4)
    try:
        ctypes.memmove(address(at), sent, len(sent))
        got_at = exports[f"ZetaSqlLocalService_{method}"](store, at, len(sent), size_at)
        if not got_at:
            said_at, size = exports["wasm_get_last_error"](store), exports["wasm_get_last_error_size"](store)
            raise InvalidSqlError(ctypes.string_at(address(said_at), size).decode())
        size = int.from_bytes(ctypes.string_at(address(size_at), 4), "little")
        got = response.FromString(ctypes.string_at(address(got_at), size))
        exports["wasm_free"](store, got_at)
        return got
    finally:
        exports["wasm_free"](store, at)
        exports["wasm_free"](store, size_at)


@functools.cache
def _service() -> tuple[Any, Any]:
    from wasmtime import Config, Engine, Linker, Store, WasiConfig
    from zetasql.core.wasm_client import get_tzinfo_dir

    config = Config()
    config.shared_memory = True
    wasi = WasiConfig()
    wasi.preopen_dir(get_tzinfo_dir(), "/usr/share/zoneinfo")
    engine = Engine(config)
    store = Store(engine)
    store.set_wasi(wasi)
    linker = Linker(engine)
    linker.define_wasi()
    exports: Any = linker.instantiate(store, _module(engine)).exports(store)
    exports["_initialize"](store)
    atexit.register(_service.cache_clear)  # wasmtime frees its memory badly once the interpreter is half gone
    return store, exports


def _module(engine: Any) -> Any:
    """The service, as compiled code."""
    from wasmtime import Module, WasmtimeError
    from zetasql.wasi import get_wasm_path

    name = f"googlesql-{version('zetasql')}-wasmtime-{version('wasmtime')}-{platform.machine()}"
    with kept.alone(name) as compiled:
        if compiled.exists():
            try:
                return Module.deserialize_file(engine, str(compiled))
            except WasmtimeError:  # it was compiled for another processor
                compiled.unlink()
        module = Module.from_file(engine, get_wasm_path())
        unfinished = Path(f"{compiled}.part")
        unfinished.write_bytes(bytes(module.serialize()))
        unfinished.rename(compiled)
        return module
