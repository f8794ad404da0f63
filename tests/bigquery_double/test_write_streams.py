"""Streams that an application makes, on Google's own client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types
from grpc_status import rpc_status

from tests.bigquery_double import BigQueryDouble, clients
from tests.bigquery_double.schema import Field
from tests.bigquery_double.status import StorageErrorCode
from tests.bigquery_double.tables import TableName
from tests.bigquery_double.write_streams import COMMITTED, PENDING

TABLE = "project.dataset.calls"
PARENT = "projects/project/datasets/dataset/tables/calls"
DEFAULT = f"{PARENT}/streams/_default"


@pytest.fixture
def client(double: BigQueryDouble) -> Iterator[BigQueryWriteClient]:
    double.catalog.create_table(TableName.parse(TABLE), (Field("id", "STRING"),), {})
    made = clients.write(double)
    yield made
    made.transport.close()


def create(client: BigQueryWriteClient, type_: int = COMMITTED) -> str:
    return client.create_write_stream(parent=PARENT, write_stream=types.WriteStream(type_=type_)).name


def append(client: BigQueryWriteClient, stream: str, offset: int | None, *ids: str) -> Any:
    """The answer to one request on a call of its own. Raises GoogleAPICallError where the call ends."""
    request = clients.template(TABLE, {"id": "string"})
    request.write_stream = stream
    if offset is not None:
        types.AppendRowsRequest.pb(request).offset.value = offset
    row: Any = clients.message({"id": "string"})
    request.proto_rows.rows.serialized_rows = [row(id=id).SerializeToString() for id in ids]
    append_rows: Any = client.transport.append_rows
    try:
        return next(append_rows(iter([request]), timeout=clients.TIMEOUT))
    except grpc.RpcError as error:
        raise exceptions.from_grpc_error(error) from None


def finalize(client: BigQueryWriteClient, stream: str) -> int:
    return client.finalize_write_stream(name=stream).row_count


def commit(client: BigQueryWriteClient, *streams: str) -> Any:
    request = types.BatchCommitWriteStreamsRequest(parent=PARENT, write_streams=streams)
    return client.batch_commit_write_streams(request=request)


def ids(double: BigQueryDouble) -> list[str]:
    return [row["id"] for row in double.rows(TABLE)]


def error_of(answer: Any) -> tuple[int, int]:
    """The status code of an answer, and the code that is in its details."""
    error = types.AppendRowsResponse.pb(answer).error
    (detail,) = error.details
    storage_error = types.StorageError.pb()()
    assert detail.Unpack(storage_error)
    return error.code, storage_error.code


def ended(call: Callable[[], Any]) -> tuple[int, int | None]:
    """The status code with which a call ends, and the code that is in its details."""
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        call()
    status = rpc_status.from_call(caught.value.errors[0])
    assert status is not None
    storage_error = types.StorageError.pb()()
    code = storage_error.code if status.details and status.details[0].Unpack(storage_error) else None
    return status.code, code


def test_a_stream_takes_rows_at_its_end_alone(double: BigQueryDouble, client: BigQueryWriteClient) -> None:
    stream = create(client)
    assert append(client, stream, 0, "a", "b").append_result.offset == 0
    assert append(client, stream, 2, "c").append_result.offset == 2
    for offset in (0, 2):
        assert error_of(append(client, stream, offset, "x")) == (6, StorageErrorCode.OFFSET_ALREADY_EXISTS)
    assert error_of(append(client, stream, 4, "x")) == (11, StorageErrorCode.OFFSET_OUT_OF_RANGE)
    assert append(client, stream, None, "d").append_result.offset == 3
    assert ids(double) == ["a", "b", "c", "d"]


def test_a_default_stream_has_no_offsets_and_no_end(double: BigQueryDouble, client: BigQueryWriteClient) -> None:
    assert ended(lambda: append(client, DEFAULT, 0, "a")) == (3, None)
    assert ended(lambda: finalize(client, DEFAULT)) == (3, None)
    assert ids(double) == []


def test_a_finalized_stream_says_how_many_rows_it_holds_and_takes_no_more(
    double: BigQueryDouble, client: BigQueryWriteClient
) -> None:
    stream = create(client)
    append(client, stream, 0, "a", "b")
    assert [finalize(client, stream), finalize(client, stream)] == [2, 2]
    assert ended(lambda: append(client, stream, 2, "c")) == (3, StorageErrorCode.STREAM_FINALIZED)
    assert ids(double) == ["a", "b"]


def test_rows_of_pending_streams_come_into_the_table_all_at_once(
    double: BigQueryDouble, client: BigQueryWriteClient
) -> None:
    streams = [create(client, PENDING), create(client, PENDING)]
    for number, stream in enumerate(streams):
        append(client, stream, 0, f"a{number}", f"b{number}")
    finalize(client, streams[0])
    (error,) = commit(client, *streams).stream_errors
    assert (error.code, error.entity) == (StorageErrorCode.INVALID_STREAM_STATE, streams[1])
    assert ids(double) == []
    finalize(client, streams[1])
    assert commit(client, *streams).commit_time is not None
    assert ids(double) == ["a0", "b0", "a1", "b1"]


def test_streams_that_cannot_be_committed_are_named(double: BigQueryDouble, client: BigQueryWriteClient) -> None:
    done, committed = create(client, PENDING), create(client)
    finalize(client, done)
    commit(client, done)
    answer = commit(client, done, committed, f"{PARENT}/streams/zork")
    assert not answer.commit_time
    assert [error.code for error in answer.stream_errors] == [
        StorageErrorCode.STREAM_ALREADY_COMMITTED,
        StorageErrorCode.INVALID_STREAM_TYPE,
        StorageErrorCode.STREAM_NOT_FOUND,
    ]
    assert ended(lambda: commit(client, *[done] * 101)) == (3, None)


def test_streams_are_forgotten_and_calls_unanswered_as_a_test_asks(
    double: BigQueryDouble, client: BigQueryWriteClient
) -> None:
    stream = create(client)
    append(client, stream, 0, "a")
    double.write_api.streams.leave_unanswered("FinalizeWriteStream")
    with pytest.raises(exceptions.ServiceUnavailable):
        client.finalize_write_stream(name=stream, retry=None)
    assert ended(lambda: append(client, stream, 1, "b")) == (3, StorageErrorCode.STREAM_FINALIZED)
    double.write_api.streams.forget()
    assert ended(lambda: finalize(client, stream)) == (5, StorageErrorCode.STREAM_NOT_FOUND)
    assert ids(double) == ["a"]
