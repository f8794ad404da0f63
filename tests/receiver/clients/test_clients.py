"""Segment's own SDKs, sending to the receiver: what they say is in the tables, and once, however often they say it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.receiver.clients import faulty_server, installed, receiver_process, story
from tests.receiver.clients.faulty_server import Fault
from tests.receiver.clients.receiver_process import PAIR_KEY, WRITE_KEY
from tests.streaming import wait_until

HERE = Path(__file__).parent
_PATIENCE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Client:
    """A program that is given the endpoint and the write key, tells the story, and ends when all is delivered."""

    library: str
    command: Callable[[], Sequence[str]]
    options: Sequence[str] = ()
    options_when_failing: Sequence[str] = ()
    faults: Sequence[Fault]
    environment: Callable[[], Mapping[str, str]] = field(default=dict)

    def tell(self, url: str, *options: str, key: str = WRITE_KEY) -> None:
        """Runs it to its end."""
        with self.telling(url, *options, key=key):
            pass

    @contextmanager
    def telling(self, url: str, *options: str, key: str = WRITE_KEY) -> Iterator[None]:
        """Runs it beside the block, and then to its end."""
        command = [*self.command(), url, key, *self.options, *options]
        with subprocess.Popen(
            command,
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as program:
            try:
                yield
                output, _ = program.communicate(timeout=_PATIENCE_S)
            finally:
                program.kill()
        assert program.returncode == 0, output


def java() -> list[str]:
    return ["java", "-Dfile.encoding=UTF-8", "-cp", f"{installed.jars()}/*", str(HERE / "java" / "Client.java")]


def node_path() -> dict[str, str]:
    return {"NODE_PATH": str(installed.node_modules())}


EVERY_FAULT = (Fault.ERROR, Fault.RATE_LIMITED, Fault.NO_ANSWER, Fault.SILENCE, Fault.LOST_ANSWER)
ANSWERED_OR_CUT = [fault for fault in EVERY_FAULT if fault is not Fault.SILENCE]
CLIENTS = {
    "python": Client(
        library="analytics-python",
        command=lambda: [sys.executable, str(HERE / "python" / "client.py")],
        faults=EVERY_FAULT,
    ),
    "python, gzip": Client(
        library="analytics-python",
        command=lambda: [sys.executable, str(HERE / "python" / "client.py")],
        options=["--gzip"],
        faults=EVERY_FAULT,
    ),
    "node": Client(
        library="@segment/analytics-node",
        command=lambda: ["node", str(HERE / "node" / "segment.js")],
        environment=node_path,
        options_when_failing=["1"],  # a call a request, since its waits double
        faults=EVERY_FAULT * 2,
    ),
    "java": Client(
        library="analytics-java",
        command=java,
        options_when_failing=["1"],  # each call meets a fault of its own, since it waits a quarter of a minute
        faults=ANSWERED_OR_CUT,
    ),
    "rudderstack": Client(
        library="analytics-node",
        command=lambda: ["node", str(HERE / "node" / "rudderstack.js")],
        environment=node_path,
        faults=ANSWERED_OR_CUT,  # it does not send again what it has waited for in vain
    ),
}
JITSU = Client(
    library="@jitsu/js",
    command=lambda: ["node", str(HERE / "node" / "jitsu.js")],
    environment=node_path,
    faults=(),  # it sends nothing again
)


@pytest.mark.parametrize("name", CLIENTS)
def test_what_a_client_says_is_in_the_tables(name: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    with receiver_process.running(tmp_path) as receiver:
        client.tell(receiver.url)
        tables = receiver.tables()
    story.check(tables, client.library)


@pytest.mark.parametrize("name", CLIENTS)
def test_what_a_client_says_again_is_in_the_tables_once(name: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    with (
        receiver_process.running(tmp_path) as receiver,
        faulty_server.before(receiver.host, client.faults) as server,
    ):
        client.tell(server.url, *client.options_when_failing)
        tables = receiver.tables()
    assert server.is_through
    assert server.refused == []
    assert server.delivered == {*tables.events, *tables.identity_calls}
    story.check(tables, client.library)


def test_what_jitsu_says_is_in_the_tables(tmp_path: Path) -> None:
    with receiver_process.running(tmp_path) as receiver:
        JITSU.tell(receiver.url, key=PAIR_KEY)
        tables = receiver.tables()
    assert tables.dead_letters == []
    assert sorted(str(event["name"]) for event in tables.events.values()) == ["Item Purchased", "Pricing"]
    assert sorted(str(call["type"]) for call in tables.identity_calls.values()) == ["group", "identify"]
    for row in (*tables.events.values(), *tables.identity_calls.values()):
        assert row["context"]["library"]["name"] == JITSU.library
    (contact,) = tables.contacts.values()
    assert (contact["external_id"], contact["account_id"]) == (story.FIRST_ID, story.COMPANY)
    assert contact["email"] == "pgibbons@example.com"


QUICK = ("python", "node")
"""Clients that send again within seconds."""


@pytest.mark.parametrize("name", QUICK)
def test_what_was_stored_before_a_kill_is_in_the_tables_once(name: str, tmp_path: Path) -> None:
    """The receiver stores the calls, and is killed before the client knows; the next one is sent them again."""
    client = CLIENTS[name]

    def restart() -> None:
        receiver.kill()
        receiver.start()

    with (
        receiver_process.running(tmp_path) as receiver,
        faulty_server.before(receiver.host, [Fault.LOST_ANSWER]) as server,
    ):
        server.before_loss = restart
        client.tell(server.url)
        assert server.is_through
        assert len(receiver.lines()) >= 2
        tables = receiver.tables()
    assert server.delivered == {*tables.events, *tables.identity_calls}
    story.check(tables, client.library)


@pytest.mark.parametrize("name", QUICK)
def test_what_cannot_be_stored_is_sent_again(name: str, tmp_path: Path) -> None:
    """A file stands where the directory was, until the receiver has answered that it can store nothing."""
    client = CLIENTS[name]
    with receiver_process.running(tmp_path) as receiver, faulty_server.before(receiver.host, []) as server:
        away = receiver.directory.rename(tmp_path / "away")
        receiver.directory.touch()
        with client.telling(server.url):
            wait_until("the receiver refuses the calls", lambda: server.refused)
            receiver.directory.unlink()
            away.rename(receiver.directory)
        tables = receiver.tables()
    assert set(server.refused) == {503}
    story.check(tables, client.library)
