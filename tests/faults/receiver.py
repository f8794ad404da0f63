"""Faults around the receiver, under load: whatever is killed or full, each call that was answered 200 is a row, once.

What was answered 200 is the clients' own list, see `tests.faults.senders`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import duckdb
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient

from examples import emulator
from pipeline.companion import free_endpoint, running
from pipeline.sources.subscriber import EMULATOR
from receiver.sinks.directory import as_line, folder_name
from tests import pubsub_emulator, tcp_proxy
from tests.faults.faults import Case
from tests.faults.senders import Senders
from tests.receiver.clients.receiver_process import ReceiverProcess
from tests.receiver.stored import parts
from tests.streaming import PATIENCE_S, wait_until

DISK_BYTES: Final = 1 << 19
FULL: Final = "no space left on device"
AWAY: Final = "Pub/Sub cannot be reached"
_EMPTY_PULLS: Final = 5
_EMPTY_S: Final = 0.1


class Loaded:
    """A receiver to which clients send, and a directory, `taken`, of what was taken from where it stores, for a job."""

    def __init__(self, folder: Path, storing: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.taken = folder / "taken"
        self.senders = Senders()
        self.receiver = ReceiverProcess(folder, storing=storing, environment=environment)

    def begin(self) -> None:
        """Has clients send."""
        self.receiver.wait()
        self.senders.start(self.receiver.host)
        self.wait_for_more()

    def wait_for_more(self) -> None:
        """Waits until something is answered 200 again."""
        before = len(self.senders.answered)
        wait_until("something is stored", lambda: len(self.senders.answered) > before)

    def wait_until_refused(self, why: str) -> None:
        """Waits until clients are told to send again, and `/ready` says why."""
        before = len(self.senders.refusals)
        wait_until("something is refused", lambda: len(self.senders.refusals) > before)
        wait_until(f"the receiver says: {why}", lambda: why in (self.receiver.problem() or ""))

    def restart(self) -> None:
        """Starts the receiver that was killed, and waits until it stores again."""
        self.receiver.start()
        self.receiver.wait()
        assert self.senders.broken, "there was no load"
        self.wait_for_more()

    def finish(self) -> None:
        """Has every call answered, and the receiver end in order."""
        self.senders.finish(PATIENCE_S)
        wait_until("the receiver is ready", lambda: self.receiver.problem() is None)
        self.empty()
        assert self.receiver.stop() == 0

    def close(self) -> None:
        self.senders.abandon()
        self.receiver.kill()

    def empty(self) -> None:
        """Waits until all is where it is taken from."""

    def take(self) -> None:
        """Takes what can be taken now."""
        raise NotImplementedError

    def check(self) -> None:
        """Each call that was answered 200 is a row, once, and there is no other; who was not answered so was told to
        send again, and when."""
        self.take()
        with duckdb.connect(str(self.receiver.run_job(self.taken)), read_only=True) as connection:
            rows = Counter(
                message_id for (message_id,) in connection.execute("SELECT message_id FROM events").fetchall()
            )
            dead = connection.execute("SELECT * FROM dead_letters").fetchall()
        answered = self.senders.answered
        assert answered
        assert answered - rows.keys() == set(), "what was answered 200 is lost"
        assert rows == Counter(answered)
        assert dead == []
        for refusal in self.senders.refusals:
            assert refusal.status == 503, refusal
            assert int(refusal.retry_after or 0) > 0, refusal
        assert "Traceback" not in self.receiver.log


class LoadedDirectory(Loaded):
    """A receiver with a directory."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "calls"
        super().__init__(folder, [f"--directory={self.directory}"])

    def take(self) -> None:
        """Takes the complete files away, as the job does."""
        for file in self.directory.rglob("*.jsonl"):
            target = self.taken / file.relative_to(self.directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, target)

    def take_until_more(self) -> None:
        """Takes until something is answered 200 again."""
        before = len(self.senders.answered)

        def is_more() -> bool:
            self.take()
            return len(self.senders.answered) > before

        wait_until("something is stored", is_more)

    def check(self) -> None:
        assert parts(self.directory) == []
        super().check()


class LoadedPubSub(Loaded):
    """A receiver, with a spool or without, and a topic of the emulator at HOST:PORT behind a proxy."""

    def __init__(self, folder: Path, proxy: tcp_proxy.Proxy, host: str, *, has_spool: bool = True) -> None:
        self.proxy = proxy
        self.spool = folder / "spool"
        name = f"stored-{os.urandom(4).hex()}"
        self._topic = f"{pubsub_emulator.PROJECT}/topics/{name}"
        self._subscription = f"{pubsub_emulator.PROJECT}/subscriptions/{name}"
        self._host = host
        self._pulls = 0
        self.make_topic()
        storing = [f"--topic={self._topic}", *([f"--spool={self.spool}"] if has_spool else [])]
        super().__init__(folder, storing, {EMULATOR: proxy.host})

    def make_topic(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(EMULATOR, self._host)
            publisher, self._subscriber = PublisherClient(), SubscriberClient()
        publisher.create_topic(name=self._topic)
        self._subscriber.create_subscription(name=self._subscription, topic=self._topic, ack_deadline_seconds=600)

    def empty(self) -> None:
        wait_until("the spool is empty", lambda: not [*self.spool.glob("*.spool*")])

    def take(self) -> None:
        """Pulls all there is, into the sub-directories of the connections that messages name."""
        empty = 0
        while empty < _EMPTY_PULLS:
            request = {"subscription": self._subscription, "max_messages": 1_000, "return_immediately": True}
            received = self._subscriber.pull(request).received_messages
            if received:
                for pulled in received:
                    self._keep(pulled.message.attributes["connection"], pulled.message.data)
                ack_ids = [pulled.ack_id for pulled in received]
                self._subscriber.acknowledge(subscription=self._subscription, ack_ids=ack_ids)
                self._pulls += 1
                empty = 0
            else:
                empty += 1
                time.sleep(_EMPTY_S)

    def _keep(self, connection: str, payload: bytes) -> None:
        file = self.taken / folder_name(connection) / f"{self._pulls:04}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as lines:
            lines.write(as_line(payload))


class Emulator:
    """An emulator of Pub/Sub that can be killed, and started again at the same endpoint."""

    def __init__(self) -> None:
        self.endpoint = free_endpoint()
        self._running = contextlib.ExitStack()
        self.start()

    def start(self) -> None:
        command = emulator.command(self.endpoint)
        self._process = self._running.enter_context(running(command, output=subprocess.DEVNULL))
        emulator.wait_for(self.endpoint)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self._running.close()


class LoadedEmulator(LoadedPubSub):
    """The same with an emulator of its own.

    The emulator keeps nothing when it is killed, which Pub/Sub would. So that a kill costs no more than it would cost
    there, the connections are cut first, what was acknowledged until then is pulled, and then the emulator is killed.
    """

    def __init__(self, folder: Path, proxy: tcp_proxy.Proxy, own: Emulator, *, has_spool: bool) -> None:
        super().__init__(folder, proxy, own.endpoint, has_spool=has_spool)
        self._emulator = own

    def kill_pubsub(self) -> None:
        self.proxy.cut()
        self.take()
        self._emulator.kill()

    def restart_pubsub(self, rng: Random) -> None:
        """For a moment the emulator may be there without the topic."""
        self._emulator.start()
        if rng.random() < 0.5:
            self.proxy.heal()
            time.sleep(rng.uniform(0, 0.5))
            self.proxy.cut()  # what is published before the topic has its subscription goes nowhere
        self.make_topic()
        self.proxy.heal()


LoadedT = TypeVar("LoadedT", bound=Loaded)


@contextlib.contextmanager
def under_load(loaded: LoadedT) -> Iterator[LoadedT]:
    with contextlib.closing(loaded):
        loaded.begin()
        yield loaded


@contextlib.contextmanager
def into_a_directory(folder: Path) -> Iterator[LoadedDirectory]:
    with under_load(LoadedDirectory(folder)) as loaded:
        yield loaded


@contextlib.contextmanager
def into_pubsub(folder: Path) -> Iterator[LoadedPubSub]:
    host = pubsub_emulator.host()
    with tcp_proxy.before(host) as proxy, under_load(LoadedPubSub(folder, proxy, host)) as loaded:
        yield loaded


@contextlib.contextmanager
def into_an_emulator(folder: Path, *, has_spool: bool = True) -> Iterator[LoadedEmulator]:
    pubsub_emulator.require()
    with (
        contextlib.closing(Emulator()) as own,
        tcp_proxy.before(own.endpoint) as proxy,
        under_load(LoadedEmulator(folder, proxy, own, has_spool=has_spool)) as loaded,
    ):
        yield loaded


@contextlib.contextmanager
def into_an_emulator_alone(folder: Path) -> Iterator[LoadedEmulator]:
    with into_an_emulator(folder, has_spool=False) as loaded:
        yield loaded


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Makes the folder a disk of its own. Skips the test where this user may not."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def into_a_small_directory(folder: Path) -> Iterator[LoadedDirectory]:
    with small_disk(folder / "calls"), into_a_directory(folder) as loaded:
        yield loaded


@contextlib.contextmanager
def into_pubsub_and_a_small_spool(folder: Path) -> Iterator[LoadedPubSub]:
    with small_disk(folder / "spool"), into_pubsub(folder) as loaded:
        yield loaded


def kill_the_receiver(loaded: LoadedDirectory, rng: Random) -> None:
    """`kill -9` at any moment, and a restart, twice."""
    for _ in range(2):
        time.sleep(rng.uniform(0, 1.2))
        loaded.receiver.kill()
        loaded.restart()
    loaded.finish()


def kill_the_receiver_and_pubsub_in_turn(loaded: LoadedEmulator, rng: Random) -> None:
    """`kill -9` of the one, then of the other, then of the one while the other is away; each is started again."""
    time.sleep(rng.uniform(0, 0.5))
    loaded.receiver.kill()
    loaded.restart()
    time.sleep(rng.uniform(0, 0.5))
    loaded.kill_pubsub()
    loaded.wait_for_more()
    time.sleep(rng.uniform(0, 0.5))
    loaded.receiver.kill()
    loaded.restart()
    loaded.restart_pubsub(rng)
    time.sleep(rng.uniform(0, 0.5))
    loaded.receiver.kill()
    loaded.restart()
    loaded.finish()


def kill_pubsub_without_a_spool(loaded: LoadedEmulator, rng: Random) -> None:
    """`kill -9` of Pub/Sub where there is no spool: nothing is answered 200 until it is back; then of the receiver."""
    time.sleep(rng.uniform(0, 0.5))
    loaded.kill_pubsub()
    loaded.wait_until_refused(AWAY)
    loaded.restart_pubsub(rng)
    loaded.wait_for_more()
    time.sleep(rng.uniform(0, 0.5))
    loaded.receiver.kill()
    loaded.restart()
    loaded.finish()


def lose_pubsub(loaded: LoadedPubSub, rng: Random) -> None:
    """The network swallows everything, is cut, is slow: what is answered 200 meanwhile is in the spool."""
    for fault in rng.sample(("swallow", "cut", "delay"), 3):
        if fault == "swallow":
            loaded.proxy.swallows = True
        elif fault == "cut":
            loaded.proxy.cut()
        else:
            loaded.proxy.delay_s = 0.05
        loaded.wait_for_more()
        time.sleep(rng.uniform(0, 0.5))
        loaded.proxy.heal()
        time.sleep(rng.uniform(0, 0.5))
    loaded.finish()


def fill_the_disk(loaded: LoadedDirectory, rng: Random) -> None:
    """The disk is full, and has room again, which the reader makes; once it is killed while the disk is full."""
    for is_killed in (True, False):
        loaded.wait_until_refused(FULL)
        time.sleep(rng.uniform(0, 0.3))
        if is_killed:
            loaded.receiver.kill()
            loaded.receiver.start()
        loaded.take_until_more()
    loaded.finish()


def fill_the_spool(loaded: LoadedPubSub, rng: Random) -> None:
    """The disk of the spool is full while Pub/Sub is away: nothing is answered 200, and what was is not lost. When
    Pub/Sub is back there is room again, and it goes on."""
    loaded.proxy.cut()
    loaded.wait_until_refused(FULL)
    time.sleep(rng.uniform(0, 0.3))
    if rng.random() < 0.5:
        loaded.receiver.kill()
        loaded.receiver.start()
    loaded.proxy.heal()
    loaded.wait_for_more()
    loaded.finish()


CASES: Final[Sequence[Case]] = (
    Case(kill_the_receiver, into_a_directory),
    Case(kill_the_receiver_and_pubsub_in_turn, into_an_emulator),
    Case(kill_pubsub_without_a_spool, into_an_emulator_alone, is_test=False),
    Case(lose_pubsub, into_pubsub, is_test=False),
    Case(fill_the_disk, into_a_small_directory),
    Case(fill_the_spool, into_pubsub_and_a_small_spool),
)
