"""The receiver as a process, with what only a socket can do to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.receiver.asgi_client import WRITE_KEY, basic

ROOT = Path(__file__).parents[2]
CONNECTIONS = "connections: [{name: Site, receive: {write_keys: [${SITE_WRITE_KEY}], api_key: ${SITE_API_KEY}}}]"
CALL = b'{"userId":"u","event":"E"}'
AUTHORIZATION = basic(WRITE_KEY)["Authorization"]
HEAD = f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTHORIZATION}\r\n".encode()
HURRIED = (
    "import receiver.http_protocol, receiver.limits; receiver.http_protocol._HEAD_SECONDS = 1.0; "
    "receiver.limits.Limits.__init__.__kwdefaults__['body_seconds'] = 1.0; "
    "from receiver.__main__ import main; raise SystemExit(main())"
)
"""The command, which waits a second where it would wait 20 or 30."""


@dataclass
class Running:
    process: subprocess.Popen[str]
    line: str
    port: int
    directory: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def stored(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.directory.rglob("*.jsonl*")))

    def memory(self) -> int:
        """Bytes of memory that the process has now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def started(tmp_path: Path, *arguments: str) -> Running:
    connections = tmp_path / "connections.yaml"
    connections.write_text(CONNECTIONS)
    directory = tmp_path / "calls"
    process = subprocess.Popen(
        [*arguments, f"--connections={connections}", f"--directory={directory}", "--port=0"],
        cwd=ROOT,
        env={**os.environ, "SITE_WRITE_KEY": WRITE_KEY, "SITE_API_KEY": "an-api-key"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    port = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert port is not None, line + process.communicate()[1]
    return Running(process, line, int(port[1]), directory)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = started(tmp_path_factory.mktemp("receiver"), sys.executable, "-c", HURRIED)
    yield running
    assert running.process.poll() is None, "the receiver has ended"
    assert running.stop() == 0
    assert running.process.stderr is not None
    assert running.process.stderr.read() == ""


def answers(connection: socket.socket) -> bytes:
    """Everything that comes until the connection is closed."""
    received = b""
    with connection:
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionResetError:
                return received
            if not part:
                return received
            received += part


def posted(running: Running, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    connection.request("POST", "/v1/track", body, {"Authorization": AUTHORIZATION, **(headers or {})})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content)


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", received)]


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % size


# ---- its whole life ----


def test_a_receiver_starts_stores_and_stops(tmp_path: Path) -> None:
    running = started(tmp_path, sys.executable, "-m", "receiver")
    assert running.line == (
        f"segment-receiver: listening at http://127.0.0.1:{running.port}, storing in {running.directory}; "
        f"'Site': http://127.0.0.1:{running.port}/webhook/site, 1 write key\n"
    )
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    for _ in range(3):
        connection.request("POST", "/v1/track", CALL, {"Authorization": AUTHORIZATION})
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b'{"success":true}')
        assert "server" not in response.headers
    slow = running.connect()
    slow.sendall(HEAD + length(len(CALL)) + CALL[:5])
    time.sleep(0.3)
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    slow.sendall(CALL[5:])
    assert statuses(answers(slow)) == [200], "what was in flight at the end was not answered"
    assert running.process.wait(15) == 0
    assert running.process.communicate()[1] == ""
    assert len(running.stored().splitlines()) == 4
    assert list(running.directory.rglob("*.part")) == []
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "c.yaml").write_text(CONNECTIONS)
    return subprocess.run(
        [sys.executable, "-m", "receiver", f"--connections={tmp_path}/c.yaml", *arguments],
        cwd=ROOT,
        env={**os.environ, "SITE_WRITE_KEY": WRITE_KEY, "SITE_API_KEY": "an-api-key"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_port_in_use_is_told_in_a_line(running: Running, tmp_path: Path) -> None:
    ended = command(tmp_path, f"--directory={tmp_path}/d", f"--port={running.port}")
    expected = f"--port={running.port}: cannot be used, on 127.0.0.1: Address already in use"
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"segment-receiver: {expected}; give another --port or --host\n"


def test_a_directory_that_cannot_be_used_is_told_in_a_line(tmp_path: Path) -> None:
    ended = command(tmp_path, "--directory=/proc/calls", "--port=0")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"segment-receiver: /proc/calls\S*: .+\n", ended.stderr)


# ---- heads ----


@pytest.mark.parametrize(
    ("what", "sent", "expected"),
    [
        ("10,000 fields", HEAD + b"".join(b"x-%d: 1\r\n" % n for n in range(10_000)) + length(0), [431]),
        ("300 fields", HEAD + b"".join(b"x-%d: 1\r\n" % n for n in range(300)) + length(0), [431]),
        ("a long value", HEAD + b"x: " + b"x" * 1_000_000 + b"\r\n" + length(0), [431]),
        ("a value without an end", HEAD + b"x: " + b"x" * 1_000_000, [431]),
        ("a long path", b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [431]),
        ("a long method", b"G" * 1_000, [400]),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
        ("a null byte in the path", b"POST /v1/track\0 HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
        ("a null byte in a field", HEAD + b"x: \0\r\n" + length(0), [400]),
        ("white space before the colon", HEAD + b"Content-Length : 3\r\n\r\n", [400]),
        ("a field in two lines", HEAD + b"x: a\r\n b\r\n" + length(0), [400]),
    ],
)
def test_a_head_is_refused(what: str, sent: bytes, expected: list[int], running: Running) -> None:
    before = len(running.stored())
    connection = running.connect()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # where it is refused before it is complete
        connection.sendall(sent)
    received = answers(connection)
    assert statuses(received) in (expected, [])
    if received:
        assert json.loads(received.rpartition(b"\r\n\r\n")[2])["success"] is False
    assert len(running.stored()) == before


SECOND = HEAD + length(len(CALL)) + CALL
"""A request that must not be taken for one where it stands in the body of another."""


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("both lengths", b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("both lengths, the other first", b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"),
        ("two lengths", b"Content-Length: 0\r\nContent-Length: 4\r\n\r\n"),
        ("a list of lengths", b"Content-Length: 0, 4\r\n\r\n"),
        ("a length with a sign", b"Content-Length: +4\r\n\r\n"),
        ("a negative length", b"Content-Length: -4\r\n\r\n"),
        ("a length in hexadecimal", b"Content-Length: 0x4\r\n\r\n"),
        ("chunked, and something after it", b"Transfer-Encoding: chunked, identity\r\n\r\n"),
        ("chunked twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"),
        ("white space before the colon", b"Transfer-Encoding : chunked\r\n\r\n"),
        ("something like chunked", b"Transfer-Encoding: xchunked\r\n\r\n"),
    ],
)
def test_no_request_is_smuggled_in_another(what: str, fields: bytes, running: Running) -> None:
    connection = running.connect()
    connection.sendall(HEAD + fields + b"0\r\n\r\n" + SECOND)
    answered = statuses(answers(connection))
    assert answered in ([400], []), "a length that two may read in two ways was believed"


def test_requests_may_follow_each_other_without_a_wait(running: Running) -> None:
    connection = running.connect()
    connection.sendall(SECOND * 3 + HEAD + b"Connection: close\r\n" + length(len(CALL)) + CALL)
    assert statuses(answers(connection)) == [200] * 4


def test_a_body_may_come_in_chunks(running: Running) -> None:
    connection = running.connect()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in CALL)
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert statuses(answers(connection)) == [200]


def test_whoever_asks_to_go_on_is_told_to(running: Running) -> None:
    connection = running.connect()
    connection.sendall(HEAD + b"Expect: 100-continue\r\nConnection: close\r\n" + length(len(CALL)))
    assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
    connection.sendall(CALL)
    assert statuses(answers(connection)) == [200]


# ---- bodies ----


@pytest.mark.parametrize(
    ("what", "body", "encoding", "expected"),
    [
        ("8 MB of brackets", b"[" * 8_000_000, "", 413),
        ("8 MB of quotes", b'"' * 8_000_000, "", 400),
        ("too much", b" " * 9_000_000, "", 413),
        ("no UTF-8", b'{"event":"\xff\xfe"}', "", 400),
        ("millions of numbers", b"[" + b"1," * 3_900_000 + b"1]", "", 413),
        ("nested too deep", b'{"userId":"u","event":"E","properties":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "", 200),
    ],
)
def test_a_hostile_body(what: str, body: bytes, encoding: str, expected: int, running: Running) -> None:
    status, answer = posted(running, body, {"Content-Encoding": encoding} if encoding else {})
    assert (status, answer["success"]) == (expected, expected == 200)


def test_a_bomb_of_300_megabytes(running: Running) -> None:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    bomb = b"".join(compressor.compress(b"[" * 1_000_000) for _ in range(300)) + compressor.flush()
    status, answer = posted(running, bomb, {"Content-Encoding": "gzip"})
    assert (status, answer["success"]) == (413, False)


def test_hostile_bodies_leave_the_memory_as_it_was(running: Running) -> None:
    bodies = [
        b"[" * 500_000,
        b'{"batch":[' + b'{"a":"\\ud800"},' * 9_000 + b"{}]}",
        b'{"a":"' + b"\\\\" * 200_000 + b'\\ud800"}',
        b'{"writeKey":"' + b"x" * 7_900_000 + b'"}',
        b" " * 7_999_998 + b"{}",
    ]
    for body in bodies * 2:
        posted(running, body)
    before = running.memory()
    for body in bodies * 2:
        posted(running, body)
    assert running.memory() < before + 40_000_000
    assert before < 300_000_000


# ---- connections ----


def test_a_head_or_a_body_that_does_not_come_is_given_up(running: Running) -> None:
    began = time.monotonic()
    silent, headless, bodiless, dripping = (running.connect() for _ in range(4))
    headless.sendall(HEAD)
    bodiless.sendall(HEAD + length(len(CALL)) + CALL[:5])
    dripping.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while time.monotonic() < began + 8 and not select.select([dripping], [], [], 0.2)[0]:
        dripping.sendall(b"1\r\n \r\n")
    assert statuses(answers(dripping)) == [408]
    assert statuses(answers(bodiless)) == [408]
    assert answers(silent) == answers(headless) == b""
    assert time.monotonic() < began + 8


def test_a_connection_goes_on_after_a_body_that_was_refused(running: Running) -> None:
    connection = running.connect()
    connection.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDo=\r\n" + length(200_000))
    for _ in range(23):  # longer than the receiver waits for it
        connection.sendall(b"x" * 5_000)
        time.sleep(0.1)
    assert connection.recv(1000).startswith(b"HTTP/1.1 401")
    connection.sendall(b"x" * 85_000)
    time.sleep(1.5)  # longer than a head may take
    connection.sendall(HEAD + b"Connection: close\r\n" + length(len(CALL)) + CALL)
    assert statuses(answers(connection)) == [200]


def test_a_head_that_drips_is_given_up(running: Running) -> None:
    began = time.monotonic()
    connection = running.connect()
    connection.sendall(b"POST /v1/track HTTP/1.1\r\n")
    while time.monotonic() < began + 8 and not select.select([connection], [], [], 0.2)[0]:
        connection.sendall(b"x: y\r\n")
    assert answers(connection) == b""
    assert time.monotonic() < began + 5


def test_a_thousand_idle_connections_are_nothing(running: Running) -> None:
    before = running.memory()
    idle = [running.connect() for _ in range(1000)]
    for connection in idle:
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert all(connection.recv(1000).startswith(b"HTTP/1.1 200") for connection in idle)
    time.sleep(1.5)  # longer than a head may take
    began = time.monotonic()
    assert posted(running, CALL)[0] == 200
    assert time.monotonic() < began + 2
    idle[0].sendall(SECOND)
    assert idle[0].recv(1000).startswith(b"HTTP/1.1 200"), "an idle connection was closed"
    for connection in idle:
        connection.close()
    assert running.memory() < before + 60_000_000


def test_others_are_answered_while_a_long_body_is_read(running: Running) -> None:
    hostile = b'{"batch":[' + b"[" * 490_000 + b"]" * 490_000 + b"]}"
    connection = running.connect()
    connection.sendall(HEAD + b"Connection: close\r\n" + length(len(hostile)) + hostile)
    longest = 0.0
    while not select.select([connection], [], [], 0)[0]:
        began = time.monotonic()
        assert posted(running, CALL)[0] == 200
        longest = max(longest, time.monotonic() - began)
    assert statuses(answers(connection)) == [200]
    assert longest < 1.0
