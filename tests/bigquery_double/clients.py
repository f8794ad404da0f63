"""Google's own clients, on a double: what the double's tests, and tests that only need some rows, drive it with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any
from unittest import mock

import grpc
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, BigQueryWriteClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.bigquery_double import BigQueryDouble

Columns = Mapping[str, Any]
"""Name to the name of a protobuf type (`string`), `[type]` for a repeated field, `{name: type}` for a message."""
Row = Mapping[str, Any]

TIMEOUT = 30.0
"""Seconds after which a test that waits for an answer has failed."""


def rest(double: BigQueryDouble, project: str = "project") -> bigquery.Client:
    """A client of the REST API."""
    with mock.patch.dict(os.environ, BIGQUERY_EMULATOR_HOST=double.rest_url):
        return bigquery.Client(project, credentials=AnonymousCredentials())


def read(double: BigQueryDouble) -> BigQueryReadClient:
    """A client of the Storage Read API."""
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=grpc.insecure_channel(double.storage_target)))


def write(double: BigQueryDouble) -> BigQueryWriteClient:
    """A client of the Storage Write API."""
    options = [("grpc.max_send_message_length", -1)]
    channel = grpc.insecure_channel(double.storage_target, options=options)
    return BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=channel))


def descriptor(columns: Columns, name: str = "Row") -> descriptor_pb2.DescriptorProto:
    """A writer schema of optional and repeated fields, self-contained."""
    made = descriptor_pb2.DescriptorProto(name=name)
    for number, (column, written) in enumerate(columns.items(), start=1):
        field = made.field.add(name=column, number=number, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
        if isinstance(written, list):
            field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
            (written,) = written
        if isinstance(written, dict):
            field.type, field.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, f"_{column}"
            made.nested_type.append(descriptor(written, f"_{column}"))
        else:
            field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{written.upper()}")
    return made


def message(columns: Columns) -> Any:
    """The class of rows of this writer schema."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto(name="row.proto", message_type=[descriptor(columns)]))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Row"))


def template(table: str, columns: Columns) -> types.AppendRowsRequest:
    """What the first request to a table must say; `table` is PROJECT.DATASET.TABLE."""
    return types.AppendRowsRequest(
        write_stream=stream_name(table),
        proto_rows=types.AppendRowsRequest.ProtoData(
            writer_schema=types.ProtoSchema(proto_descriptor=descriptor(columns))
        ),
    )


def stream_name(table: str) -> str:
    project, dataset, name = table.split(".")
    return f"projects/{project}/datasets/{dataset}/tables/{name}/streams/_default"


class Appender:
    """Appends to one table's default stream, in protobuf of these columns, by one connection at a time."""

    def __init__(self, double: BigQueryDouble, table: str, columns: Columns) -> None:
        self._append_rows: Any = write(double).transport.append_rows
        self._first = template(table, columns)
        self._requests: SimpleQueue[types.AppendRowsRequest | None] = SimpleQueue()
        self._answers: Iterator[Any] | None = None
        self._message = message(columns)

    @property
    def connected(self) -> bool:
        return self._answers is not None

    def send(self, *rows: Row | bytes) -> None:
        """Sends one request, on a new connection where there is none."""
        serialized = [row if isinstance(row, bytes) else self._message(**row).SerializeToString() for row in rows]
        request = types.AppendRowsRequest(
            proto_rows=types.AppendRowsRequest.ProtoData(rows=types.ProtoRows(serialized_rows=serialized))
        )
        if self._answers is None:
            self._requests = SimpleQueue()
            self._answers = self._append_rows(iter(self._requests.get, None), timeout=TIMEOUT)
            types.AppendRowsRequest.pb(request).MergeFrom(types.AppendRowsRequest.pb(self._first))
        self._requests.put(request)

    def answer(self) -> Any:
        """The next answer. Raises GoogleAPICallError: for an error in it, whose `response` it is, or because the
        connection has ended, which is `connected` no more."""
        assert self._answers is not None
        try:
            response = next(self._answers)
        except grpc.RpcError as error:
            self.close()
            raise exceptions.from_grpc_error(error) from None
        if response.error.code:
            raise exceptions.from_grpc_status(response.error.code, response.error.message, response=response)
        return response

    def close(self) -> None:
        """Ends the connection: answers that have not come are not waited for."""
        self._requests.put(None)
        self._answers = None

    def append(self, *rows: Row | bytes) -> Any:
        """Sends one request, and returns its answer. Raises GoogleAPICallError."""
        self.send(*rows)
        return self.answer()


def eventually(true: Callable[[], Any]) -> None:
    """Waits until this is true. Raises AssertionError where it does not come about."""
    deadline = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
