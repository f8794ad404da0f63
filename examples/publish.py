"""Publishes the lines of a file to a Pub/Sub topic, a message each, as Segment's Pub/Sub destination publishes calls.

    python -m examples.publish --topic=projects/P/topics/T                          # the sample, as fast as it goes
    python -m examples.publish --topic=projects/P/topics/T --rate=100 --rounds=10   # slowly, and again and again

`PUBSUB_EMULATOR_HOST` names an emulator. What was published before is a duplicate, and changes no table.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path

from transforms.core import google_clients

try:
    from google.api_core.exceptions import AlreadyExists, GoogleAPIError
    from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
except ImportError as error:
    sys.exit(f"examples.publish: {google_clients.missing(error)}")

SAMPLE = Path(__file__).with_name("events.jsonl")
_UNDER_WAY = 2_000
"""Messages that may wait to be taken: memory is bounded, and a slow topic slows the publisher down."""


def create(topic: str, subscription: str) -> None:
    """Makes the topic, and a pull subscription of it, where they are not there yet."""
    with contextlib.suppress(AlreadyExists):
        PublisherClient().create_topic(name=topic)
    with contextlib.suppress(AlreadyExists), SubscriberClient() as subscriber:
        subscriber.create_subscription(name=subscription, topic=topic)


def publish(topic: str, payloads: Iterable[bytes], rate: float = 0.0, until: threading.Event | None = None) -> int:
    """Publishes until all is taken, or until told to end: so many messages a second, or with 0 as fast as it goes.
    Returns how many were taken. Raises GoogleAPIError."""
    publisher = PublisherClient()
    under_way: deque[Future[str]] = deque()
    started = time.monotonic()
    count = 0
    for count, payload in enumerate(payloads, 1):
        if until is not None and until.is_set():
            break
        if rate:
            time.sleep(max(0.0, started + count / rate - time.monotonic()))
        under_way.append(publisher.publish(topic, payload))
        if len(under_way) >= _UNDER_WAY:
            under_way.popleft().result()
    for each in under_way:
        each.result()
    return count


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.publish", description=__doc__.splitlines()[0])
    parser.add_argument("--topic", required=True, help="projects/P/topics/T")
    parser.add_argument("--input", type=Path, default=SAMPLE, help="a file with a message on each line; the sample")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0, the default: as fast as it goes")
    parser.add_argument("--rounds", type=int, default=1, help="how many times; 0: without end")
    given = parser.parse_args(argv)
    lines = given.input.read_bytes().splitlines()
    rounds = itertools.repeat(lines) if given.rounds == 0 else itertools.repeat(lines, given.rounds)
    try:
        count = publish(given.topic, itertools.chain.from_iterable(rounds), given.rate)
    except GoogleAPIError as error:
        print(f"{given.topic}: {error}", file=sys.stderr)
        return 1
    print(f"{count:,} messages published to {given.topic}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
