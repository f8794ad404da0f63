"""Shows the job on a subscription: `make stream`.

Starts Pub/Sub's emulator unless `PUBSUB_EMULATOR_HOST` names one, publishes the sample at a steady rate, runs the job
on it into `stream.duckdb`, prints the tables as they grow, and ends when all is written or at Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from examples import emulator, publish
from pipeline.__main__ import main as segment_pipeline
from pipeline.progress import TALLY
from pipeline.run import stop
from pipeline.sources.subscriber import EMULATOR
from pipeline.warehouses.duckdb import file as duckdb_file

TOPIC = "projects/larkspur-demo/topics/segment-calls"
SUBSCRIPTION = "projects/larkspur-demo/subscriptions/segment-calls"
TABLES = ("events", "identity_calls", "contacts", "accounts", "identities", "memberships", "dead_letters")
QUERY = """
SELECT account.name, account.plan, count(DISTINCT event.external_id) AS people, count(*) AS events
FROM events_resolved AS event
JOIN accounts AS account ON account.account_id = event.account_id
GROUP BY ALL
ORDER BY events DESC, name
LIMIT 5
"""
_LOOK_S = 2.0
_WINDOWS = 2
"""So many windows after the last message was read its rows are written."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make stream", description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second (default: 100)")
    parser.add_argument("--alias_window", type=float, default=5.0, help="seconds (default: 5)")
    parser.add_argument("--warehouse", type=Path, default=Path("stream.duckdb"), help="made anew: stream.duckdb")
    given = parser.parse_args(argv)
    file = given.warehouse.absolute()
    for old in (file, file.with_name(f"{file.name}.wal")):
        old.unlink(missing_ok=True)
    try:
        with _emulator() as host:
            print(f"Pub/Sub's emulator is at {EMULATOR}={host}")
            publish.create(TOPIC, SUBSCRIPTION)
            status = _job(file, given.rate, given.alias_window)
    except emulator.MissingError as missing:
        print(f"make stream: {missing}", file=sys.stderr)
        return 2
    if status == 0:
        print(f"\nThe most active accounts:\n{QUERY}")
        with duckdb.connect(str(file), read_only=True) as connection:
            print(connection.sql(QUERY))
    return status


@contextlib.contextmanager
def _emulator() -> Iterator[str]:
    """The emulator that the environment names, or one of our own."""
    if host := os.environ.get(EMULATOR):
        yield host
        return
    with emulator.started() as host:
        os.environ[EMULATOR] = host
        yield host


def _job(file: Path, rate: float, window_s: float) -> int:
    """Runs the job while messages are published; returns its exit status."""
    ended = threading.Event()
    beside = threading.Thread(target=_publish_and_look, args=(file, rate, window_s, ended))
    beside.start()
    try:
        return segment_pipeline(
            [
                f"--input_subscription={SUBSCRIPTION}",
                f"--connections={Path(__file__).with_name('connections.yaml')}",
                f"--warehouse=duckdb:///{file}",
                f"--alias_window={window_s:g}",
            ]
        )
    finally:
        ended.set()
        beside.join()


def _publish_and_look(file: Path, rate: float, window_s: float, ended: threading.Event) -> None:
    """Publishes the sample, prints how many rows there are, and has the job stop when all has been written."""
    lines = publish.SAMPLE.read_bytes().splitlines()
    publisher = threading.Thread(target=publish.publish, args=(TOPIC, lines, rate, ended))
    publisher.start()
    print("".join(f"{title:>15}" for title in ("seconds", "messages", *TABLES)), flush=True)
    started = time.monotonic()
    last = None
    while not ended.wait(_LOOK_S):
        if rows := _rows(file):
            shown = (round(time.monotonic() - started), TALLY.messages, *rows)
            print("".join(f"{count:15,}" for count in shown), flush=True)
        if last is None and TALLY.messages >= len(lines):
            last = time.monotonic()
        if last is not None and time.monotonic() > last + _WINDOWS * window_s:
            stop()
            break
    publisher.join()


def _rows(file: Path) -> list[int]:
    """How many rows each table has; none where the job has not made them yet."""
    if not file.exists():
        return []
    with duckdb_file.connect(str(file)) as connection:  # the file's only process may look into it beside the job
        try:
            return [connection.table(name).count("*").fetchall()[0][0] for name in TABLES]
        except duckdb.CatalogException:
            return []


if __name__ == "__main__":
    sys.exit(main())
