"""Faults around a job on a subscription, one function each: at its end the tables are the replay's all the same.

The moments are random, and no outcome depends on how fast anything is: a fault that comes too late to do harm is a
fault survived.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import duckdb
import pytest
from google.pubsub_v1 import SubscriberClient

from pipeline.errors import UsageError
from pipeline.sources import subscriber
from pipeline.sources.subscriber import EMULATOR
from pipeline.warehouses.duckdb.database import Database
from tests import tcp_proxy
from tests.histories import Alphabet, deal, history
from tests.pubsub_emulator import ACK_DEADLINE_S
from tests.streaming import (
    PATIENCE_S,
    BigQueryStream,
    Stream,
    into_bigquery,
    into_duckdb,
    shuffled,
    wait_until,
)

ROOT: Final = Path(__file__).parents[2]
PEOPLE: Final = Alphabet(ids=(*(f"p{number}" for number in range(10)), "p@initech.com"), seconds=30)
BEYOND_THE_DEADLINE_S: Final = ACK_DEADLINE_S + 3
AWAY_S: Final = 20.0

Fault = Callable[[Any, Random], None]
"""What happens to a stream."""


def calls(rng: Random, parts: int = 1) -> list[list[bytes]]:
    """A history in so many parts."""
    return [shuffled(rng, part) for part in deal(rng, history(rng, 80, PEOPLE), parts)]


class Apart:
    """A job in a process group of its own."""

    def __init__(self, stream: Stream) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *stream.arguments()],
            cwd=ROOT,
            env={**os.environ, EMULATOR: stream.host},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def stop(self) -> str:
        """Has it stop in order, and returns what it printed."""
        self._process.send_signal(signal.SIGTERM)
        printed, _ = self._process.communicate(timeout=PATIENCE_S)
        assert self._process.returncode == 0, printed.decode()
        return printed.decode()


def kill_the_job(stream: Stream, rng: Random) -> None:
    """`kill -9` of the whole process group, before it reads, while it writes, while windows fire; then a restart."""
    for kills, part in enumerate(calls(rng, 2)):
        stream.publish(part)
        job = Apart(stream)
        if kills:
            wait_until("the job opens the warehouse", lambda: stream.is_opened)
        time.sleep(rng.uniform(0, 6))
        job.kill()
    stream.complete()


def stop_the_job(stream: Stream, rng: Random) -> None:
    """A termination at any moment: what was read is written, the rest is for the next job."""
    stream.publish(*calls(rng))
    job = Apart(stream)
    wait_until("the job opens the warehouse", lambda: stream.is_opened)
    time.sleep(rng.uniform(1, 5))
    printed = job.stop()
    assert " read = " in printed
    assert "Traceback" not in printed
    stream.complete()


def cut_the_connection(stream: Stream, rng: Random) -> None:
    """Connections break and cannot be made for a while, are slow, are swallowed: in any order, while messages come."""
    with tcp_proxy.before(stream.host) as proxy, stream.job(host=proxy.host) as job:
        job.wait_until("the job reads", lambda: job.is_reading)
        parts = iter(calls(rng, 6))
        for fault in rng.sample(("cut", "delay", "swallow"), 3):
            stream.publish(next(parts))
            time.sleep(rng.uniform(0, 1))
            if fault == "cut":
                proxy.cut()
            elif fault == "delay":
                proxy.delay_s = rng.uniform(0.05, 0.5)
            else:
                proxy.swallows = True
            stream.publish(next(parts))
            time.sleep(rng.uniform(0, 3))
            proxy.heal()
        job.wait_for_all()


def outlast_the_deadline(stream: Stream, rng: Random) -> None:
    """The connection is gone from the moment messages were read until after their acknowledgement deadline."""
    first, second = calls(rng, 2)
    with tcp_proxy.before(stream.host) as proxy, stream.job(host=proxy.host) as job:
        job.wait_until("the job reads", lambda: job.is_reading)
        stream.publish(first)
        job.wait_until("messages are read", lambda: job.counts.messages)
        proxy.cut()
        time.sleep(BEYOND_THE_DEADLINE_S)
        stream.publish(second)
        proxy.heal()
        job.wait_for_all()


def stop_without_a_connection(stream: Stream, rng: Random) -> None:
    """The connection is away when the job is told to stop: it ends, and what it could not acknowledge comes again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscriber, "_PARTING_S", 2.0)
        with tcp_proxy.before(stream.host) as proxy:
            with stream.job(host=proxy.host) as job:
                job.wait_until("the job reads", lambda: job.is_reading)
                stream.publish(*calls(rng))
                job.wait_until("messages are read", lambda: job.counts.messages)
                proxy.cut()
            assert job.error is None
    stream.complete()


def hold_the_warehouse(stream: Stream, rng: Random) -> None:
    """The warehouse stands still for longer than the acknowledgement deadline: messages stay leased meanwhile."""
    with stream.job() as job:
        job.wait_until("the job reads", lambda: job.is_reading)
        database = Database.of(str(stream.file))
        database.run(time.sleep, AWAY_S)
        stream.publish(*calls(rng))
        job.wait_for_all()
    assert job.summary is not None
    assert job.summary.read == len(stream.published), "messages came again while they were leased"


def lose_bigquery(stream: BigQueryStream, rng: Random) -> None:
    """BigQuery refuses everything for longer than the acknowledgement deadline, while messages come and a window
    closes."""
    first, second = calls(rng, 2)
    with stream.job() as job:
        job.wait_until("the job reads", lambda: job.is_reading)
        stream.publish(first)
        time.sleep(rng.uniform(0, 2))
        with stream.bigquery.faults.outage():
            stream.publish(second)
            time.sleep(AWAY_S)
        job.wait_for_all()
    assert job.summary is not None
    assert job.summary.read == len(stream.published), "messages came again while they were leased"


def lock_the_warehouse(stream: Stream, rng: Random) -> None:
    """Another process has the file: the job says so, loses nothing, and goes on when the file is free."""
    first, second = calls(rng, 2)
    stream.publish(first)
    stream.complete()
    holder = f"import duckdb, sys; c = duckdb.connect({str(stream.file)!r}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        stream.publish(second)
        with stream.job() as job:
            job.join()
        assert isinstance(job.error, UsageError)
        assert "is in use by another process" in str(job.error)
    stream.complete()


def fail_a_write(stream: Stream, rng: Random) -> None:
    """A write fails, as on a full disk, and with it the job: nothing of it was acknowledged, and the next goes on. It
    is the first or the second: events and identity calls are two at least, however they are read."""
    append, writes = Database.append, iter(range(rng.randint(0, 1), -1, -1))

    def failing(*arguments: Any) -> Any:
        if next(writes, None) == 0:
            raise duckdb.IOException("No space left on device")
        return append(*arguments)

    stream.publish(*calls(rng))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "append", failing)
        with stream.job() as job:
            wait_until("the write fails", lambda: job.error)
        assert "No space left on device" in str(job.error)
    stream.complete()


def deliver_all_again(stream: Stream, rng: Random) -> None:
    """Every message comes twice: its first acknowledgement is turned into its opposite."""
    (messages,) = calls(rng)
    acknowledged = 0
    acknowledge = SubscriberClient.acknowledge
    lock = threading.Lock()

    def refuse(client: SubscriberClient, request: dict[str, Any], **options: Any) -> None:
        nonlocal acknowledged
        with lock:
            first = acknowledged < len(messages)
            acknowledged += len(request["ack_ids"])
        if first:
            client.modify_ack_deadline(request={**request, "ack_deadline_seconds": 0}, **options)
        else:
            acknowledge(client, request=request, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SubscriberClient, "acknowledge", refuse)
        with stream.job() as job:
            stream.publish(messages)
            job.wait_until("every message has come twice", lambda: job.counts.messages >= 2 * len(messages))
            job.wait_for_all()
    assert job.summary is not None
    assert job.summary.outcomes["duplicate"] >= len(messages)


Into = Callable[[Path], AbstractContextManager[Any]]
"""What makes a stream, or whatever else a fault happens to: something that can be checked at the end."""


class Case(NamedTuple):
    """A fault, and what the stream is into; whether it is one of the tests, or happens in `make faults` alone."""

    fault: Fault
    into: Into = into_duckdb
    is_test: bool = True

    @property
    def name(self) -> str:
        return self.fault.__name__ + ("_into_bigquery" if self.into is into_bigquery else "")


CASES: Final[Sequence[Case]] = (
    Case(kill_the_job),
    Case(kill_the_job, into_bigquery),
    Case(stop_the_job),
    Case(stop_the_job, into_bigquery),
    Case(cut_the_connection),
    Case(outlast_the_deadline),
    Case(stop_without_a_connection),
    Case(hold_the_warehouse),
    Case(lose_bigquery, into_bigquery),
    Case(lock_the_warehouse),
    Case(fail_a_write),
    Case(deliver_all_again),
)
