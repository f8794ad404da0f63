"""Segment's own SDKs, sending to the receiver: what they say is in the tables, and once, however often they say it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.receiver.clients import faulty_server, installed, receiver_process, story
from tests.receiver.clients.faulty_server import Fault

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

    def tell(self, url: str, *options: str) -> None:
        command = [*self.command(), url, receiver_process.WRITE_KEY, *self.options, *options]
        ran = subprocess.run(
            command,
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def java() -> list[str]:
    return ["java", "-Dfile.encoding=UTF-8", "-cp", f"{installed.jars()}/*", str(HERE / "java" / "Client.java")]


EVERY_FAULT = (Fault.ERROR, Fault.RATE_LIMITED, Fault.NO_ANSWER, Fault.SILENCE, Fault.LOST_ANSWER)
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
        command=lambda: ["node", str(HERE / "node" / "client.js")],
        environment=lambda: {"NODE_PATH": str(installed.node_modules())},
        options_when_failing=["1"],  # a call a request, since its waits double
        faults=EVERY_FAULT * 2,
    ),
    "java": Client(
        library="analytics-java",
        command=java,
        options_when_failing=["1"],  # each call meets a fault of its own, since it waits a quarter of a minute
        faults=[fault for fault in EVERY_FAULT if fault is not Fault.SILENCE],
    ),
}


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
