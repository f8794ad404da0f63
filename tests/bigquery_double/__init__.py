"""A protocol double of BigQuery: real servers on this machine that speak its REST, Storage Write and Storage Read APIs.

It behaves as BigQuery's documentation says, including change data capture, limits and errors, fails as it is told to,
and says what it received::

    with BigQueryDouble() as bigquery:
        os.environ.update(bigquery.environment)
        bigquery.faults.at(3, BROKEN_AFTER_WRITING)
        …
        assert bigquery.rows("project.dataset.contacts") == […]
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import grpc
from grpc import StatusCode

from tests.bigquery_double.faults import Faults
from tests.bigquery_double.read_api import ReadApi
from tests.bigquery_double.requests import Requests
from tests.bigquery_double.rest import RestApi, RestServer
from tests.bigquery_double.strictness import ENFORCED_REQUEST, Strictness
from tests.bigquery_double.tables import Catalog, TableName
from tests.bigquery_double.write_api import WriteApi

_CONNECTIONS = 256
"""How many calls can be open at one time."""


class BigQueryDouble:
    """All of BigQuery, empty. `now` is in microseconds since the epoch (None: the clock's), `request_limit` in bytes;
    at most `named_row_errors` (None: all) of the bad rows of a request are named in one answer. `strictness` is how
    unkind it is beyond what is documented."""

    def __init__(
        self,
        *,
        now: int | None = None,
        request_limit: int = ENFORCED_REQUEST,
        named_row_errors: int | None = None,
        strictness: Strictness | None = None,
    ) -> None:
        self.faults = Faults()
        self.requests = Requests()
        self.strictness = strictness or Strictness()
        self.catalog = Catalog(now)
        self.write_api = WriteApi(
            self.catalog, self.faults, self.requests, request_limit, named_row_errors, self.strictness
        )
        read_api = ReadApi(self.catalog, self.faults, self.requests, self.strictness)
        rest = RestApi(self.catalog, self.faults, self.requests, self.strictness)
        self.loads = rest.jobs.loads
        self._rest = RestServer(rest)
        self._grpc = grpc.server(
            ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="bigquery-double"),
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        self._grpc.add_generic_rpc_handlers((self.write_api.handlers(), read_api.handlers()))
        self._port = self._grpc.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> BigQueryDouble:
        self._rest.start()
        self._grpc.start()
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.break_connections()
        self._grpc.stop(grace=None).wait()
        self._rest.stop()

    @property
    def rest_url(self) -> str:
        """For BIGQUERY_EMULATOR_HOST: `http://127.0.0.1:PORT`."""
        return self._rest.url

    @property
    def storage_target(self) -> str:
        """For BIGQUERY_STORAGE_EMULATOR_HOST, without TLS: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """What leads Google's client, and this program's, here."""
        return {"BIGQUERY_EMULATOR_HOST": self.rest_url, "BIGQUERY_STORAGE_EMULATOR_HOST": self.storage_target}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """What a query of `PROJECT.DATASET.TABLE` would see now, every change applied: TIMESTAMP as microseconds since
        the epoch, JSON as its text, a STRUCT as a dict. Raises KeyError where there is no such table."""
        with self.catalog.lock:
            found = self.catalog.tables[TableName.parse(table)]
            names = [field.name for field in found.fields]
            return [dict(zip(names, row, strict=True)) for row in found.rows()]

    @contextmanager
    def stale(self) -> Iterator[None]:
        """Until it ends, queries and reads of keyed tables that have `max_staleness` see none of the changes that come
        in; those of tables without it do. `rows` sees all.
        https://cloud.google.com/bigquery/docs/change-data-capture#manage_table_staleness"""
        with self.catalog.lock:
            self.catalog.stale = {table: table.arrow() for table in self.catalog.tables.values() if table.key}
        try:
            yield
        finally:
            self.catalog.stale = {}

    def close_idle(self) -> None:
        """Ends every connection of the Write API when all that it sent is answered, as BigQuery does after minutes
        without a request."""
        self.write_api.end_connections(StatusCode.ABORTED, "Closing the stream because it was idle", at_once=False)

    def break_connections(self) -> None:
        """Breaks every connection of the Write API now: what was not answered yet stays unanswered."""
        self.write_api.end_connections(StatusCode.UNAVAILABLE, "Connection reset by peer", at_once=True)
