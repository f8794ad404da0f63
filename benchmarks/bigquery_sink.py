"""The sink for BigQuery against Beam's own `WriteToBigQuery(STREAMING_INSERTS)`; `python -m benchmarks.bigquery_sink`.

Both write the same event rows, in turn, on the same runner, to servers in processes of their own that take everything:
what is measured is what a row costs the worker. Of each the time of a job on no rows is taken away.
"""

from __future__ import annotations

import functools
import json
import logging
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final, NamedTuple

import apache_beam as beam
import grpc
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1.types import AppendRowsResponse
from msgspec.structs import asdict

from benchmarks.data import calls
from pipeline.job_kind import BATCH_RUNNER
from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery.append_stream import AppendStream
from pipeline.warehouses.bigquery.clients import EMULATOR
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from pipeline.warehouses.bigquery.sink import AppendRows
from schemas.tables import EVENTS, Event, Timestamp, Type
from transforms.core import call_rows
from transforms.core.connections import DEFAULT, Router
from transforms.core.reader import Call, Reader, Received
from transforms.core.rows import Append

GOAL: Final = 5.0
ENCODING_GOAL_US: Final = 15.0
_ROWS: Final = 20_000
_BEAMS_ROWS: Final = 4_000
_ROUNDS: Final = 3
_JOB: Final = JobRun(generation=1, started_at=Timestamp(1), log_until=None, bounded=True)
_TARGET: Final = "benchmark-project:segment.events"


class Cost(NamedTuple):
    """By wall clock, and by this process's CPU: seconds, or rows a second."""

    wall: float
    cpu: float


# ---- the rows, and the two ways to write them ----


@functools.cache
def events(count: int) -> list[Event]:
    """Event rows of generated calls of about 1.7 kB."""
    reader = Reader(Router(DEFAULT))
    rows: list[Event] = []
    with calls().open("rb") as file:
        for line in file:
            outcomes = reader.read(Received(line.rstrip(b"\n")))
            found = (call_rows.event(outcome) for outcome in outcomes if isinstance(outcome, Call))
            rows += [row for row in found if row is not None]
            if len(rows) >= count:
                break
    return rows[:count]


@functools.cache
def our_elements(count: int) -> list[Append]:
    return [Append(row, "event") for row in events(count)]


@functools.cache
def beams_elements(count: int) -> list[dict[str, Any]]:
    """The same rows as `WriteToBigQuery` takes them: timestamps and JSON as text."""
    return [
        {
            column.name: _as_text(column.type, value)
            for column, value in zip(EVENTS.columns, asdict(row).values(), strict=True)
            if value is not None
        }
        for row in events(count)
    ]


def _as_text(type: Type, value: Any) -> Any:
    if type is Type.TIMESTAMP:
        return f"{value / 1e6:.6f}"
    return bytes(value).decode() if type is Type.JSON else value


def ours(count: int) -> Cost:
    """Our sink, the bundle's end and the closing of its connections included."""
    try:
        return _run(
            functools.partial(our_elements, count), AppendRows(Dataset("benchmark-project", "segment"), EVENTS, _JOB)
        )
    finally:
        AppendStream.close_all()


def beams(url: str, count: int) -> Cost:
    write = WriteToBigQuery(
        _TARGET,
        schema={"fields": [{"name": each.name, "type": each.type.value} for each in EVENTS.columns]},
        method=WriteToBigQuery.Method.STREAMING_INSERTS,
        create_disposition=BigQueryDisposition.CREATE_NEVER,
        test_client=InsertAllClient(url),
    )
    return _run(functools.partial(beams_elements, count), write)


def _run(elements: Callable[[], Iterable[Any]], write: beam.PTransform) -> Cost:
    elements()
    pipeline = beam.Pipeline(runner=BATCH_RUNNER)
    _ = pipeline | "Start" >> beam.Create([None]) | "Rows" >> beam.FlatMap(lambda _: elements()) | "Write" >> write
    wall, cpu = time.perf_counter(), time.process_time()
    pipeline.run().wait_until_finish()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


class InsertAllClient:
    """BigQuery's client, as `WriteToBigQuery` uses it. That is made where it is used: it cannot be pickled."""

    def __init__(self, url: str) -> None:
        self.url = url

    def insert_rows_json(self, *arguments: Any, **options: Any) -> Any:
        return _client(self.url).insert_rows_json(*arguments, **options)


@functools.cache
def _client(url: str) -> bigquery.Client:
    return bigquery.Client("benchmark-project", AnonymousCredentials(), client_options={"api_endpoint": url})


# ---- servers that take everything ----


class _InsertAll(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"kind": "bigquery#tableDataInsertAllResponse"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _serve(pipe: Pipe) -> None:
    """Serves AppendRows and insertAll; sends their addresses, and ends when the pipe does."""
    rest = ThreadingHTTPServer(("127.0.0.1", 0), _InsertAll)
    response = AppendRowsResponse(append_result=AppendRowsResponse.AppendResult())
    answer = AppendRowsResponse.serialize(response)

    def append_rows(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        return (answer for _ in requests)

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    handler: Any = grpc.stream_stream_rpc_method_handler(append_rows)
    service = "google.cloud.bigquery.storage.v1.BigQueryWrite"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"AppendRows": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(rest.serve_forever)
        pipe.send((f"127.0.0.1:{port}", f"http://127.0.0.1:{rest.server_port}"))
        pipe.poll(None)
        rest.shutdown()
    server.stop(None)


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """(address of the Storage Write API, URL of the REST API)"""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join()


# ---- what is printed ----


def encoding_us() -> float:
    """Microseconds to encode one event row: the median of some rounds."""
    encode = RowEncoder(EVENTS).encode
    rows = events(_BEAMS_ROWS)
    costs = []
    for _ in range(3 * _ROUNDS):
        started = time.perf_counter()
        for row in rows:
            encode(row)
        costs.append((time.perf_counter() - started) / len(rows) * 1e6)
    return statistics.median(costs)


def _rates(write: Callable[[int], Cost], rows: int) -> Cost:
    """Rows a second, of wall clock and of CPU."""
    nothing, cost = write(0), write(rows)
    return Cost(*(rows / (whole - start) for whole, start in zip(cost, nothing, strict=True)))


def main() -> None:
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    print("Rows to BigQuery (event rows of calls of about 1.7 kB, servers that take everything)")
    print(f"  encoding one row                     {encoding_us():8.2f} µs   goal: at most {ENCODING_GOAL_US:.0f}")
    with servers() as (storage, rest):
        os.environ[EMULATOR] = storage
        mine, theirs = [], []
        for _ in range(1 + _ROUNDS):
            theirs.append(_rates(functools.partial(beams, rest), _BEAMS_ROWS))
            mine.append(_rates(ours, _ROWS))
    for what, unit in (("cpu", "rows a second of CPU"), ("wall", "rows a second")):
        # The first round also loads what is loaded once.
        fast, slow = (statistics.median(getattr(rate, what) for rate in rates[1:]) for rates in (mine, theirs))
        print(f"  our sink                             {fast:8,.0f} {unit}")
        print(f"  WriteToBigQuery(STREAMING_INSERTS)   {slow:8,.0f} {unit}")
        print(f"  ratio                                {fast / slow:8.2f}   goal: at least {GOAL}")


if __name__ == "__main__":
    main()
