"""What is to be done about each answer of BigQuery."""

from __future__ import annotations

import grpc
import pytest
from google.cloud.bigquery_storage_v1.types import AppendRowsResponse, StorageError

from pipeline.warehouses.bigquery.answers import (
    AppendError,
    NotYetKnown,
    RequestTooLarge,
    RowsRefused,
    RowsSuspected,
    StreamUnusable,
    Transient,
    refusal,
)


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        ("UNAVAILABLE", "The service is currently unavailable.", Transient),
        ("ABORTED", "Closing the stream because server is closing", Transient),
        ("INTERNAL", "Internal error encountered.", Transient),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", Transient),
        (
            "RESOURCE_EXHAUSTED",
            "Exceeds 'AppendRows throughput' quota",
            Transient,
        ),
        ("CANCELLED", "Channel closed!", Transient),
        ("UNKNOWN", "Stream removed", Transient),
        (
            "INVALID_ARGUMENT",
            "AppendRows request too large: 11854265 limit 10485760 Entity: projects/p",
            RequestTooLarge,
        ),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (11854265 vs. 4194304)", RequestTooLarge),
        ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (11854265 vs. 4194304)", RequestTooLarge),
        ("INVALID_ARGUMENT", "MessageSize is too large. Max allow: 10000000 Actual: 11854265", RequestTooLarge),
        ("NOT_FOUND", "Requested entity was not found. Entity: projects/p", NotYetKnown),
        ("INVALID_ARGUMENT", "Input schema has more fields than BigQuery schema, extra fields: 'plan'", NotYetKnown),
        ("PERMISSION_DENIED", "Permission 'TABLES_UPDATE_DATA' denied on resource", AppendError),
        ("UNAUTHENTICATED", "Request had invalid authentication credentials.", AppendError),
        (
            "PERMISSION_DENIED",
            "Permission 'TABLES_UPDATE_DATA' denied on resource 'x' (or it may not exist).",
            NotYetKnown,
        ),
        ("INVALID_ARGUMENT", "Request contains an invalid argument.", RowsSuspected),
        ("OUT_OF_RANGE", "Input number: 67.174118 cannot round-trip through string representation", RowsSuspected),
        ("FAILED_PRECONDITION", "Stream is already finalized.", AppendError),
        ("INVALID_ARGUMENT", "Invalid writer schema: it must be in the first request.", AppendError),
        ("INVALID_ARGUMENT", "The proto field mismatched with BigQuery field at plan", AppendError),
        ("UNIMPLEMENTED", "", AppendError),
    ],
)
def test_an_error_is_one_of_a_few_kinds(code: str, words: str, expected: type[AppendError]) -> None:
    response = AppendRowsResponse.pb()()
    response.error.code, response.error.message = grpc.StatusCode[code].value[0], words
    error = refusal(response)
    assert type(error) is expected
    assert str(error) == f"{code}: {words}"


def test_an_unknown_column_is_known_by_its_code_whatever_the_words() -> None:
    response = AppendRowsResponse.pb()()
    response.error.code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
    detail = StorageError(code=StorageError.StorageErrorCode.SCHEMA_MISMATCH_EXTRA_FIELDS)
    response.error.details.add().Pack(StorageError.pb(detail))
    assert type(refusal(response)) is NotYetKnown


def test_an_error_of_the_stream_is_no_rows_fault_whatever_the_words() -> None:
    response = AppendRowsResponse.pb()()
    response.error.code, response.error.message = grpc.StatusCode.INVALID_ARGUMENT.value[0], "It is invalid."
    assert type(refusal(response)) is RowsSuspected
    detail = StorageError(code=StorageError.StorageErrorCode.INVALID_STREAM_STATE)
    response.error.details.add().Pack(StorageError.pb(detail))
    assert type(refusal(response)) is StreamUnusable


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        ("ALREADY_EXISTS", "The offset is within stream, expected offset 30, received 20", StreamUnusable),
        ("OUT_OF_RANGE", "The offset is beyond stream, expected offset 30, received 40", StreamUnusable),
        ("OUT_OF_RANGE", "Field timestamp: out of range", RowsSuspected),
    ],
)
def test_an_error_of_an_offset_is_known_by_code_and_words(code: str, words: str, expected: type[AppendError]) -> None:
    response = AppendRowsResponse.pb()()
    response.error.code, response.error.message = grpc.StatusCode[code].value[0], words
    assert type(refusal(response)) is expected


def test_refused_rows_are_named_by_their_index_in_bigquerys_words() -> None:
    response = AppendRowsResponse.pb()()
    response.error.code, response.error.message = 3, "Errors found while processing rows."
    response.row_errors.add(index=4, code=1, message="Field properties: invalid JSON")
    error = refusal(response)
    assert isinstance(error, RowsRefused)
    assert error.rows == {4: "Field properties: invalid JSON"}


def test_rows_that_were_taken_are_no_error() -> None:
    response = AppendRowsResponse.pb()()
    response.append_result.SetInParent()
    assert refusal(response) is None
