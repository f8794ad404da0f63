"""The receiver under load: `python -m benchmarks.receiver`. Each server is a process of its own, in turn; wrk sends.

python -m benchmarks.receiver            requests of one call of 1.7 kB, against uvicorn, which is the receiver's server
                                         too, with an application that takes the body and answers a constant, or stores
                                         the body as it is; against a constant by the receiver's own short way; and
                                         against Express with JSON.parse where npm is there (four minutes)
    --clients=64,128,256
python -m benchmarks.receiver job        batches of 100 calls, 5,000 calls a second, into a job on the directory
    --calls_per_second=5000 --seconds=20
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import uvicorn

from examples.generate import GeneratorSettings, stream
from receiver.asgi import SUCCESS, Answer, ReceiveEvent, Request, Scope, SendEvent
from receiver.server import Server
from receiver.sink import Message
from receiver.sinks.directory import DirectorySink

OF_CONSTANT_GOAL: Final = 0.5
OF_EXPRESS_GOAL: Final = 1.0
LAG_GOAL_S: Final = 3.0
CALL_BYTES: Final = 1_700
BATCH: Final = 100
_ROUNDS: Final = 3
_SECONDS: Final = 3
_WARM_UP_SECONDS: Final = 1
CLIENTS: Final = (64, 128, 256)
"""So many connections, each of which sends its next request once the last is answered."""
_LONGEST_ANSWER_SECONDS: Final = 10
_BODIES: Final = 500
_KEY: Final = "benchmark"
_CONNECTIONS: Final = """
connections:
  - name: site
    receive:
      write_keys: [${BENCHMARK_WRITE_KEY}]
"""
_WRK: Final = """
local bodies = {}
for line in io.lines(os.getenv("BENCHMARK_BODIES")) do bodies[#bodies + 1] = line end
local headers = {["Content-Type"] = "application/json", ["Authorization"] = os.getenv("BENCHMARK_AUTHORIZATION")}
local at = 0
request = function()
  at = at % #bodies + 1
  return wrk.format("POST", "/v1/track", headers, bodies[at])
end
done = function(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"requests": %d, "microseconds": %d, "p99": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(99), failed))
end
"""
_EXPRESS: Final = """
const express = require("express");
const app = express();
app.use(express.text({ type: () => true, limit: "1mb" }));
app.post("/v1/track", (request, response) => { JSON.parse(request.body); response.json({ success: true }); });
app.listen(Number(process.argv[2]), "127.0.0.1");
"""


class Load(NamedTuple):
    """What a server took: requests a second, and milliseconds that all but one of a hundred stayed below."""

    rate: float
    p99_ms: float


class ServerCommand(NamedTuple):
    """How a server is started; `{port}` stands for where it listens."""

    command: Sequence[str]
    folder: Path | None = None


class Constant:
    """An ASGI application that takes a body, and answers as the receiver does."""

    async def start(self) -> None:
        """There is nothing to start."""

    async def __call__(self, scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
        parts, more = [], True
        while more:
            event = await receive()
            parts.append(event.get("body", b""))
            more = event.get("more_body", False)
        await self.take(b"".join(parts))
        body = b'{"success":true}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def take(self, body: bytes) -> None:
        """What is done before the answer: nothing."""


class Whole(Constant):
    """The same, answered by the short way that the receiver's server has for a request that came whole."""

    is_stopping = False

    async def close(self) -> None:
        """There is nothing to close."""

    def answer_whole(self, request: Request, body: bytes, send: Callable[[Answer], None]) -> bool:
        asyncio.get_running_loop().call_soon(send, SUCCESS)
        return True


class Stored(Constant):
    """The same, with the body synced to disk before the answer: what durability alone costs."""

    def __init__(self, directory: str) -> None:
        self._sink = DirectorySink(Path(directory))

    async def start(self) -> None:
        await self._sink.start()

    async def take(self, body: bytes) -> None:
        await self._sink.store([Message(connection="site", payload=body)])


def serve(application: Constant, port: int) -> None:
    """Serves an application with the receiver's server, which is uvicorn, as it comes."""
    _Uvicorn(application, port).run()


def serve_whole(port: int) -> None:
    """Serves a constant with the receiver's own protocol."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        Server(Whole()).run(sockets=[listener])


class _Uvicorn(uvicorn.Server):
    def __init__(self, application: Constant, port: int) -> None:
        self._application = application
        super().__init__(uvicorn.Config(application, port=port, lifespan="off", access_log=False, log_level="error"))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._application.start()
        await super().serve(sockets)


def servers(folder: Path) -> Mapping[str, ServerCommand]:
    """The receiver, and what it is measured against."""
    started = {
        "constant": _served("serve(Constant(), {port})"),
        "whole": _served("serve_whole({port})"),
        "stored": _served(f"serve(Stored({str(folder / 'calls')!r}), {{port}})"),
        "receiver": receiver(folder),
    }
    if (express := _express(folder)) is not None:
        started["express"] = ServerCommand(["node", "express.js", "{port}"], express)
    return started


def _served(call: str) -> ServerCommand:
    program = f"from benchmarks.receiver import Constant, Stored, serve, serve_whole; {call}"
    return ServerCommand([sys.executable, "-c", program])


def receiver(folder: Path) -> ServerCommand:
    """The receiver, which syncs each call to disk."""
    connections = folder / "connections.yaml"
    connections.write_text(_CONNECTIONS)
    return ServerCommand(
        [
            *(sys.executable, "-m", "receiver", "--port={port}"),
            *(f"--connections={connections}", f"--directory={folder / 'calls'}"),
        ]
    )


def _express(folder: Path) -> Path | None:
    """Express in a folder of its own; None where npm cannot give it."""
    if shutil.which("npm") is None:
        return None
    home = folder / "express"
    home.mkdir(exist_ok=True)
    (home / "express.js").write_text(_EXPRESS)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "express@5"]
    return home if subprocess.run(install, cwd=home, stdout=sys.stderr, check=False).returncode == 0 else None


@contextlib.contextmanager
def running(server: ServerCommand) -> Iterator[int]:
    """Runs a server at a free port, which it gives."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "BENCHMARK_WRITE_KEY": _KEY}
    command = [argument.format(port=port) for argument in server.command]
    process = subprocess.Popen(command, cwd=server.folder, env=environment, stdout=subprocess.DEVNULL)
    try:
        _await_port(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"a server ended with exit status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit("a server did not begin to listen within 20 s")


def calls(number: int) -> Iterator[bytes]:
    """Generated calls of about 1.7 kB, each an object of its own."""
    lines = stream(GeneratorSettings(calls=2 * number, size=CALL_BYTES))
    return itertools.islice(filter(_is_call, lines), number)


def _is_call(line: bytes) -> bool:
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(fields, dict) and "batch" not in fields


def load(folder: Path, port: int, clients: int, seconds: int) -> Load:
    """Sends single calls from so many clients as fast as they are answered."""
    script, bodies = folder / "track.lua", folder / "bodies.jsonl"
    if not bodies.exists():
        script.write_text(_WRK)
        tracks = (call for call in calls(10 * _BODIES) if b'"type":"track"' in call)
        bodies.write_bytes(b"\n".join(itertools.islice(tracks, _BODIES)) + b"\n")
    environment = {
        **os.environ,
        "BENCHMARK_BODIES": str(bodies),
        "BENCHMARK_AUTHORIZATION": "Basic " + base64.b64encode(f"{_KEY}:".encode()).decode(),
    }
    address = f"http://127.0.0.1:{port}"
    sending = ["wrk", "--threads=1", f"--connections={clients}", f"--script={script}"]
    command = [*sending, f"--duration={seconds}s", f"--timeout={_LONGEST_ANSWER_SECONDS}s", address]
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(ran.stdout.splitlines()[-1])
    if result["failed"]:
        raise SystemExit(f"{result['failed']} of {result['requests']} requests failed")
    return Load(1e6 * result["requests"] / result["microseconds"], result["p99"] / 1000)


def requests(folder: Path, clients: Sequence[int]) -> None:
    """Prints what each server takes, and the ratios, for each number of clients."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    loads: dict[tuple[int, str], list[Load]] = defaultdict(list)
    for _ in range(_ROUNDS):
        for name, server in servers(folder).items():
            with running(server) as port:
                for count in clients:
                    load(folder, port, count, _WARM_UP_SECONDS)
                    loads[count, name].append(load(folder, port, count, _SECONDS))
            shutil.rmtree(folder / "calls", ignore_errors=True)
    print(f"requests with one call of about {CALL_BYTES} bytes, medians of {_ROUNDS}")
    for count in clients:
        _print_loads(count, {name: measured for (of, name), measured in loads.items() if of == count})


def _print_loads(clients: int, loads: Mapping[str, Sequence[Load]]) -> None:
    rates = {name: statistics.median(load.rate for load in measured) for name, measured in loads.items()}
    print(f"{clients} clients, each of which waits for its answer:")
    for name, measured in loads.items():
        p99 = statistics.median(load.p99_ms for load in measured)
        print(f"  {name:10} {rates[name]:9,.0f} a second   p99 {p99:6.1f} ms")
    print(f"  stored / constant:   {rates['stored'] / rates['constant']:.2f} (what durability alone leaves)")
    print(f"  receiver / constant: {rates['receiver'] / rates['constant']:.2f} (goal: {OF_CONSTANT_GOAL})")
    print(f"  receiver / whole:    {rates['receiver'] / rates['whole']:.2f} (a constant by the receiver's short way)")
    if "express" in rates:
        print(f"  receiver / express:  {rates['receiver'] / rates['express']:.2f} (goal: {OF_EXPRESS_GOAL})")


def job(folder: Path, rate: int, lasting: int) -> None:
    """Prints how far a job on the receiver's directory is behind when the last batch is answered."""
    batches = _batches(rate * lasting)
    directory = folder / "calls"
    directory.mkdir()
    command = [
        *(
            sys.executable,
            "-m",
            "pipeline",
            f"--input_directory={directory}",
            f"--warehouse=duckdb:///{folder}/w.duckdb",
        ),
        *(f"--connections={folder / 'connections.yaml'}", "--alias_window=1"),
    ]
    with running(receiver(folder)) as port:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            client = http.client.HTTPConnection("127.0.0.1", port)
            _send(client, batches[:10], rate)
            _await_read(directory)
            started = time.perf_counter()
            took = _send(client, batches[10:], rate)
            answered = time.perf_counter()
            _await_read(directory)
            lag = time.perf_counter() - answered
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)
    sent = BATCH * len(batches[10:])
    seconds = answered - started
    print(f"{sent:,} calls in batches of {BATCH} in {seconds:.1f} s: {sent / seconds:,.0f} a second")
    print(f"slowest answer: {1000 * max(took):.0f} ms, median {1000 * statistics.median(took):.0f} ms")
    print(f"all rows durable {lag:.1f} s after the last answer (goal: {LAG_GOAL_S:.0f} s)")


def _batches(number: int) -> list[bytes]:
    sent = calls(number + 10 * BATCH)
    batches = []
    while batch := list(itertools.islice(sent, BATCH)):
        batches.append(b'{"batch":[%b]}' % b",".join(batch))
    return batches


def _send(client: http.client.HTTPConnection, batches: Sequence[bytes], rate: int) -> list[float]:
    """Sends batches at a rate of calls a second, and returns the seconds of each answer."""
    headers = {"Authorization": "Basic " + base64.b64encode(f"{_KEY}:".encode()).decode()}
    started = time.perf_counter()
    took = []
    for index, batch in enumerate(batches):
        due = started + index * BATCH / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        sent = time.perf_counter()
        client.request("POST", "/v1/batch", batch, headers)
        answer = client.getresponse()
        answer.read()
        took.append(time.perf_counter() - sent)
        if answer.status != 200:
            raise SystemExit(f"a batch was answered {answer.status}")
    return took


def _await_read(directory: Path) -> None:
    """Waits until the job has moved every file away."""
    while any(path.relative_to(directory).parts[0] != "read" for path in directory.rglob("*.jsonl*")):
        time.sleep(0.05)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiver", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["requests", "job"], default="requests")
    parser.add_argument("--clients", type=_numbers, default=CLIENTS)
    parser.add_argument("--calls_per_second", type=int, default=5_000)
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "requests":
            requests(Path(folder), given.clients)
        else:
            job(Path(folder), given.calls_per_second, given.seconds)


if __name__ == "__main__":
    main()
