"""`python -m tests.faults.storing (--directory=DIR | --topic=TOPIC --spool=DIR)`: stores in a sink as fast as it can.

What it prints of each request is a line: `+` and the ids of its messages where they are stored, `-` and why where they
are not. When its input ends it sends no more, waits until the spool is empty, and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from random import Random

from receiver.sink import Message, Sink, Unavailable
from receiver.sinks.directory import DirectorySink
from receiver.sinks.pubsub import PubSubSink
from receiver.spool import SpooledSink

_REQUESTERS = 20
_LOOK_S = 0.02
_AGAIN_S = 0.05
_PATIENCE_S = 120.0


def payload(message_id: str) -> bytes:
    """A message with one call of that id."""
    call = {"type": "track", "event": "Stored", "userId": "u", "messageId": message_id, "properties": {"x": "x" * 400}}
    return json.dumps({"batch": [call]}).encode()


def id_of(payload: bytes) -> str:
    """The id of the one call in a message."""
    (call,) = json.loads(payload)["batch"]
    return str(call["messageId"])


async def store_until(stopped: asyncio.Event, sink: Sink) -> None:
    run = os.urandom(4).hex()

    async def request(requester: int) -> None:
        rng, number = Random(requester), 0
        while not stopped.is_set():
            ids = [f"{run}-{requester}-{number}-{part}" for part in range(rng.randint(1, 3))]
            number += 1
            try:
                await sink.store([Message(connection="Web", payload=payload(name)) for name in ids])
            except Unavailable as unavailable:
                print("-", unavailable, flush=True)
                await asyncio.sleep(_AGAIN_S)
            else:
                print("+", *ids, flush=True)

    await asyncio.gather(*map(request, range(_REQUESTERS)))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--topic", default="")
    parser.add_argument("--spool", type=Path)
    given = parser.parse_args()
    sink: Sink = DirectorySink(given.directory, complete_s=0.1) if given.directory else PubSubSink(given.topic)
    spooled = SpooledSink(sink, given.spool, segment_bytes=100_000) if given.spool else None
    sink = spooled or sink
    await sink.start()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stopped.set)
    storing = asyncio.ensure_future(store_until(stopped, sink))
    await stopped.wait()
    loop.remove_reader(sys.stdin.fileno())
    await storing
    end = time.monotonic() + _PATIENCE_S
    while spooled is not None and spooled.backlog().messages and time.monotonic() < end:
        await asyncio.sleep(_LOOK_S)
    await sink.close()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(main())
