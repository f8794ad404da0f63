"""Faults around the receiver's sinks: what was acknowledged is there at the end, whatever was killed or full.

Who sends is `tests.faults.storing`, a process with the sinks that are tested; it says itself what was acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient

from examples import emulator
from pipeline.companion import free_endpoint, running
from pipeline.sources.subscriber import EMULATOR
from tests import pubsub_emulator, tcp_proxy
from tests.faults.faults import ROOT, Case
from tests.faults.storing import id_of
from tests.receiver.stored import parts, read_by_the_job
from tests.streaming import wait_until

TOPIC: Final = f"{pubsub_emulator.PROJECT}/topics/stored"
SUBSCRIPTION: Final = f"{pubsub_emulator.PROJECT}/subscriptions/stored"
DISK_BYTES: Final = 1 << 20
_EMPTY_PULLS: Final = 5
_EMPTY_S: Final = 0.1


class Storing:
    """A process that stores, and what it has said so far."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self.acknowledged: set[str] = set()
        self.refusals: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.storing", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def wait_for_more(self) -> None:
        """Waits until something is acknowledged again."""
        before = len(self.acknowledged)
        wait_until("something is stored", lambda: len(self.acknowledged) > before)

    def wait_until_full(self) -> None:
        wait_until("the disk is full", lambda: any("no space left on device" in text for text in self.refusals))

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def finish(self) -> None:
        """Has it send no more, and waits until its spool is empty and it has ended in order."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._end()
        assert self._process.returncode == 0

    def _end(self) -> None:
        self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            sign, *words = line.decode().split()
            if not line.endswith(b"\n"):
                continue  # it was killed while it said so
            if sign == "+":
                self.acknowledged.update(words)
            else:
                self.refusals.append(" ".join(words))


class Stored:
    """A sink that processes store in, one after the other; `acknowledged` is what all of them have said."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._processes: list[Storing] = []
        self.environment: dict[str, str] = {}

    @property
    def acknowledged(self) -> set[str]:
        return set().union(*(process.acknowledged for process in self._processes))

    def start(self) -> Storing:
        """Starts a process, and waits until it has stored something."""
        process = Storing(self._arguments, self.environment)
        self._processes.append(process)
        wait_until("something is stored", lambda: process.acknowledged)
        return process

    def ids(self) -> list[str]:
        """The ids of the messages in the sink."""
        raise NotImplementedError

    def check(self) -> None:
        assert self.acknowledged
        assert self.acknowledged - set(self.ids()) == set(), "what was acknowledged is lost"
        assert [text for process in self._processes for text in process.refusals if "Traceback" in text] == []


class StoredInDirectory(Stored):
    """A directory that the job would read."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "inbox"
        super().__init__([f"--directory={self.directory}"])
        self._read: list[str] = []

    def take(self) -> None:
        """Reads the complete files as the job does, and removes them."""
        files = list(self.directory.rglob("*.jsonl"))
        self._read += [id_of(message.payload) for message in read_by_the_job(self.directory)]
        for file in files:
            file.unlink()

    def ids(self) -> list[str]:
        assert parts(self.directory) == []
        self.take()
        return self._read


class StoredInPubSub(Stored):
    """A topic of an emulator behind a proxy, with a spool before it.

    The emulator keeps nothing when it is killed, which Pub/Sub would. So that a kill costs no more than it would cost
    there, the connections are cut first, what was acknowledged until then is pulled, and then the emulator is killed.
    """

    def __init__(self, folder: Path, proxy: tcp_proxy.Proxy, endpoint: str) -> None:
        self.spool = folder / "spool"
        super().__init__([f"--topic={TOPIC}", f"--spool={self.spool}"])
        self.proxy = proxy
        self.environment = {EMULATOR: proxy.host}
        self._endpoint = endpoint
        self._pulled: list[str] = []
        self._emulators = contextlib.ExitStack()
        self._start()
        self._make_topic()

    def kill(self) -> None:
        self.proxy.cut()
        self._pull()
        self._kill()

    def restart(self, rng: Random) -> None:
        """Starts the emulator again; for a moment it may be there without the topic."""
        self._start()
        if rng.random() < 0.5:
            self.proxy.heal()
            time.sleep(rng.uniform(0, 0.5))
        self._make_topic()
        self.proxy.heal()

    def ids(self) -> list[str]:
        self._pull()
        return self._pulled

    def close(self) -> None:
        self._emulators.close()

    def _kill(self) -> None:
        os.killpg(self._emulator.pid, signal.SIGKILL)
        self._emulators.close()

    def _start(self) -> None:
        self._emulator = self._emulators.enter_context(
            running(emulator.command(self._endpoint), output=subprocess.DEVNULL)
        )
        emulator.wait_for(self._endpoint)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(EMULATOR, self._endpoint)
            self._publisher, self._subscriber = PublisherClient(), SubscriberClient()

    def _make_topic(self) -> None:
        self._publisher.create_topic(name=TOPIC)
        self._subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC, ack_deadline_seconds=600)

    def _pull(self) -> None:
        """Pulls all there is."""
        empty = 0
        while empty < _EMPTY_PULLS:
            request = {"subscription": SUBSCRIPTION, "max_messages": 1_000, "return_immediately": True}
            received = self._subscriber.pull(request).received_messages
            if received:
                self._pulled += [id_of(pulled.message.data) for pulled in received]
                self._subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[pulled.ack_id for pulled in received])
                empty = 0
            else:
                empty += 1
                time.sleep(_EMPTY_S)


@contextlib.contextmanager
def in_a_directory(folder: Path) -> Iterator[StoredInDirectory]:
    yield StoredInDirectory(folder)


@contextlib.contextmanager
def in_pubsub(folder: Path) -> Iterator[StoredInPubSub]:
    pubsub_emulator.require()
    endpoint = free_endpoint()
    with tcp_proxy.before(endpoint) as proxy:
        stored = StoredInPubSub(folder, proxy, endpoint)
        try:
            yield stored
        finally:
            stored.close()


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
def in_a_small_directory(folder: Path) -> Iterator[StoredInDirectory]:
    with small_disk(folder / "inbox"):
        yield StoredInDirectory(folder)


@contextlib.contextmanager
def in_pubsub_and_a_small_spool(folder: Path) -> Iterator[StoredInPubSub]:
    with small_disk(folder / "spool"), in_pubsub(folder) as stored:
        yield stored


def kill_who_stores(stored: StoredInDirectory, rng: Random) -> None:
    """`kill -9` at any moment, and a restart, a few times."""
    for _ in range(3):
        process = stored.start()
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
    process = stored.start()
    process.finish()


def kill_who_stores_and_pubsub_in_turn(stored: StoredInPubSub, rng: Random) -> None:
    """`kill -9` of the one, then of the other, then of the one while the other is away; each is started again."""
    process = stored.start()
    time.sleep(rng.uniform(0, 0.5))
    process.kill()
    process = stored.start()
    time.sleep(rng.uniform(0, 0.5))
    stored.kill()
    process.wait_for_more()
    time.sleep(rng.uniform(0, 0.5))
    process.kill()
    process = stored.start()
    stored.restart(rng)
    time.sleep(rng.uniform(0, 0.5))
    process.kill()
    process = stored.start()
    process.finish()


def lose_pubsub(stored: StoredInPubSub, rng: Random) -> None:
    """The network swallows everything, is cut, is slow: what is acknowledged meanwhile is in the spool."""
    process = stored.start()
    for fault in rng.sample(("swallow", "cut", "delay"), 3):
        if fault == "swallow":
            stored.proxy.swallows = True
        elif fault == "cut":
            stored.proxy.cut()
        else:
            stored.proxy.delay_s = 0.05
        process.wait_for_more()
        time.sleep(rng.uniform(0, 0.5))
        stored.proxy.heal()
        time.sleep(rng.uniform(0, 0.5))
    process.finish()


def fill_the_disk(stored: StoredInDirectory, rng: Random) -> None:
    """The disk is full, and has room again, which the reader makes; once it is killed while the disk is full."""
    for is_killed in (True, False):
        process = stored.start()
        process.wait_until_full()
        time.sleep(rng.uniform(0, 0.3))
        if is_killed:
            process.kill()
        stored.take()
    process.wait_for_more()
    process.finish()


def fill_the_spool(stored: StoredInPubSub, rng: Random) -> None:
    """The disk of the spool is full while Pub/Sub is away: nothing is acknowledged, and what was is not lost."""
    process = stored.start()
    stored.proxy.cut()
    process.wait_until_full()
    time.sleep(rng.uniform(0, 0.3))
    if rng.random() < 0.5:
        process.kill()
        stored.proxy.heal()
        process = stored.start()
    stored.proxy.heal()
    process.wait_for_more()
    process.finish()


CASES: Final[Sequence[Case]] = (
    Case(kill_who_stores, in_a_directory),
    Case(kill_who_stores_and_pubsub_in_turn, in_pubsub),
    Case(lose_pubsub, in_pubsub),
    Case(fill_the_disk, in_a_small_directory),
    Case(fill_the_spool, in_pubsub_and_a_small_spool),
)
