"""How a call of a Storage API ends in an error."""

from __future__ import annotations

import grpc
from google.cloud.bigquery_storage_v1.types import StorageError
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import status_pb2  # type: ignore[import-untyped]
from grpc import StatusCode
from grpc_status import rpc_status

StorageErrorCode = StorageError.StorageErrorCode


class CallEnds(Exception):
    """The call ends with this status; `storage_error` says in its details what BigQuery tells programs.
    https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#storageerror"""

    def __init__(self, code: StatusCode, message: str, storage_error: int | None = None, entity: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = f"{message} Entity: {entity}" if entity else message
        self.storage_error = storage_error
        self.entity = entity

    def status(self) -> status_pb2.Status:
        """What the answer says, or the call's end."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        if self.storage_error is not None:
            detail = AnyMessage()
            detail.Pack(
                StorageError.pb(StorageError(code=self.storage_error, entity=self.entity, error_message=self.message))
            )
            status.details.append(detail)
        return status

    def abort(self, context: grpc.ServicerContext) -> None:
        """Ends the call: does not return."""
        context.abort_with_status(rpc_status.to_status(self.status()))


AWAY = StatusCode.UNAVAILABLE, "The service is currently unavailable."


def unknown(asks: int, table: object, permission: str) -> CallEnds:
    """How a Storage API ends the n-th ask after a table that it does not know yet: in turns as not found, and as not
    allowed. https://github.com/apache/beam/issues/37140 , https://github.com/apache/beam/issues/20890"""
    if asks % 2:
        return CallEnds(StatusCode.NOT_FOUND, f"Requested entity was not found: table {table}.")
    words = f"Permission '{permission}' denied on resource '{table}' (or it may not exist)."
    return CallEnds(StatusCode.PERMISSION_DENIED, words)
