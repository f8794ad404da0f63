"""Clients of BigQuery's Storage API: Google's with default credentials, or those of an emulator."""

from __future__ import annotations

import os
from typing import Any, Final

import grpc
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, BigQueryWriteClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport

EMULATOR: Final = "BIGQUERY_STORAGE_EMULATOR_HOST"
"""The environment variable that names an emulator, as host:port."""

_CHANNEL_OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),  # finds a dead peer while a stream is idle
]


def write_client() -> BigQueryWriteClient:
    """A new client that writes, with a channel of its own."""
    return BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=_channel(BigQueryWriteGrpcTransport)))


def read_client() -> BigQueryReadClient:
    """A new client that reads, with a channel of its own."""
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=_channel(BigQueryReadGrpcTransport)))


def _channel(transport: Any) -> grpc.Channel:
    emulator = os.environ.get(EMULATOR)
    if emulator:
        return grpc.insecure_channel(emulator, options=_CHANNEL_OPTIONS)
    return transport.create_channel(options=_CHANNEL_OPTIONS)
