"""What BigQuery answers to an append, by what is to be done about it.

https://cloud.google.com/bigquery/docs/write-api-best-practices and
https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#appendrowsresponse
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.bigquery_storage_v1.types import StorageError
from google.protobuf.any_pb2 import Any as AnyMessage
from grpc_status import rpc_status

_TRANSIENT: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
}
_TOO_LARGE: Final = re.compile(r"request too large|message ?(size )?(is )?(too large|larger than max)", re.IGNORECASE)
_UNKNOWN_COLUMN: Final = re.compile(r"more fields than BigQuery schema", re.IGNORECASE)
_UNKNOWN_TABLE: Final = re.compile(r"\bit (may|does) not exist\b", re.IGNORECASE)
"""What BigQuery adds to a permission that is denied on what it does not find."""
_ROWS_CODES: Final = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
"""The codes that what a row holds can have."""
_SCHEMA: Final = re.compile(
    r"\bproto (field|message|schema)|writer schema|field mode mismatched|(cannot find|invalid) stream|_CHANGE_TYPE",
    re.IGNORECASE,
)
"""Words of errors that concern every row."""
_OWN_VALUE: Final = re.compile(r"cannot round-trip through string representation", re.IGNORECASE)
"""Words that can only be about a value of one row."""
_EXTRA_FIELDS: Final = StorageError.StorageErrorCode.SCHEMA_MISMATCH_EXTRA_FIELDS
_OFFSET: Final = re.compile(r"\boffset\b", re.IGNORECASE)
_STREAM_ERRORS: Final = {
    StorageError.StorageErrorCode.STREAM_ALREADY_COMMITTED,
    StorageError.StorageErrorCode.STREAM_NOT_FOUND,
    StorageError.StorageErrorCode.INVALID_STREAM_TYPE,
    StorageError.StorageErrorCode.INVALID_STREAM_STATE,
    StorageError.StorageErrorCode.STREAM_FINALIZED,
    StorageError.StorageErrorCode.OFFSET_ALREADY_EXISTS,
    StorageError.StorageErrorCode.OFFSET_OUT_OF_RANGE,
}
_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}


class AppendError(Exception):
    """An append that BigQuery refuses, in its words. Unless a class below says so, trying again would not help."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(f"{code.name}: {words}")
        self.code = code
        self.words = words


class Transient(AppendError):
    """Passes by itself: the same append may be accepted later."""


class NotYetKnown(AppendError):
    """A table or column that is missing, or that was made a moment ago: BigQuery learns of it within minutes."""


class StreamUnusable(AppendError):
    """The stream does not take these rows at this offset: something is there, or it is finalized, or gone."""


class RequestTooLarge(AppendError):
    """The request is larger than this server accepts."""


class RowsSuspected(AppendError):
    """No row was written, perhaps because of some that are not named, perhaps because of what concerns every row."""

    @property
    def is_of_one_row(self) -> bool:
        """Whether it can only be about a value."""
        return _OWN_VALUE.search(self.words) is not None


class RowsRefused(AppendError):
    """No row was written, because of these, by their index in the request; it may not name all bad ones."""

    def __init__(self, code: grpc.StatusCode, words: str, rows: Mapping[int, str]) -> None:
        super().__init__(code, words)
        self.rows = rows


def failure(error: GoogleAPICallError) -> AppendError:
    """Why a call about a stream has failed."""
    call = next((cause for cause in error.errors if isinstance(cause, grpc.Call)), None)
    return AppendError(grpc.StatusCode.UNKNOWN, str(error)) if call is None else end(call)


def refusal(response: Any) -> AppendError | None:
    """Why an append was refused, None where it was not. `response` is the protobuf message of an AppendRowsResponse."""
    if response.row_errors:
        rows = {error.index: error.message for error in response.row_errors}
        return RowsRefused(_code(response), response.error.message, rows)
    if response.WhichOneof("response") != "error":
        return None
    return _error(_code(response), response.error.message, response.error.details)


def end(call: grpc.Call) -> AppendError:
    """Why a stream has ended."""
    code: grpc.StatusCode = call.code()
    if code is grpc.StatusCode.OK:
        return Transient(grpc.StatusCode.ABORTED, "BigQuery has closed the stream")
    status = rpc_status.from_call(call)
    return _error(code, call.details() or "", () if status is None else status.details)


def _code(response: Any) -> grpc.StatusCode:
    return _CODES.get(response.error.code, grpc.StatusCode.UNKNOWN)


def _error(code: grpc.StatusCode, words: str, details: Iterable[AnyMessage]) -> AppendError:
    if _TOO_LARGE.search(words):
        return RequestTooLarge(code, words)
    storage_errors = {*_storage_errors(details)}
    if storage_errors & _STREAM_ERRORS or _is_of_offset(code, words):
        return StreamUnusable(code, words)
    if _is_unknown(code, words) or _EXTRA_FIELDS in storage_errors:
        return NotYetKnown(code, words)
    if code in _ROWS_CODES and not storage_errors and not _SCHEMA.search(words):
        return RowsSuspected(code, words)
    return Transient(code, words) if code in _TRANSIENT else AppendError(code, words)


def _is_of_offset(code: grpc.StatusCode, words: str) -> bool:
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return _OFFSET.search(words) is not None
    return code is grpc.StatusCode.ALREADY_EXISTS


def _is_unknown(code: grpc.StatusCode, words: str) -> bool:
    """Whether BigQuery does not know a table or column."""
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return _UNKNOWN_TABLE.search(words) is not None
    return code is grpc.StatusCode.NOT_FOUND or _UNKNOWN_COLUMN.search(words) is not None


def _storage_errors(details: Iterable[AnyMessage]) -> Iterable[int]:
    """The codes of what concerns the stream, its table or its schema."""
    for detail in details:
        error = StorageError.pb()()
        if detail.Unpack(error) and error.code:
            yield error.code
