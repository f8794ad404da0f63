"""Pub/Sub's emulator for tests: one for the whole run, started at the first test that needs it."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from google.cloud import pubsub_v1

from examples import emulator
from pipeline.sources.subscriber import EMULATOR

PROJECT = "projects/test-project"
ACK_DEADLINE_S = 10
"""The shortest that there is."""

_numbers = itertools.count()


@cache
def _started() -> tuple[str, str]:
    """(HOST:PORT, what is missing), one of them empty."""
    running = contextlib.ExitStack()
    try:
        host = running.enter_context(emulator.started())
    except emulator.MissingError as missing:
        return "", str(missing)
    atexit.register(running.close)
    return host, ""


def host() -> str:
    """The emulator's HOST:PORT. Skips the test where it cannot be started; in CI that is a failure."""
    endpoint, missing = _started()
    if missing:
        _skip(missing)
    return endpoint


def require() -> None:
    """Skips the test where no emulator can be started, without starting one; in CI that is a failure."""
    try:
        emulator.command("localhost:0")
    except emulator.MissingError as missing:
        _skip(str(missing))


def _skip(missing: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


class Subscription:
    """A topic and a subscription of it, both new."""

    def __init__(self, place: str) -> None:
        number = next(_numbers)
        self.topic = f"{PROJECT}/topics/calls-{os.getpid()}-{number}"
        self.name = f"{PROJECT}/subscriptions/calls-{os.getpid()}-{number}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(EMULATOR, place)
            self._publisher = pubsub_v1.PublisherClient()
            self._subscriber = pubsub_v1.SubscriberClient()
        self._publisher.create_topic(name=self.topic)
        self._subscriber.create_subscription(name=self.name, topic=self.topic, ack_deadline_seconds=ACK_DEADLINE_S)

    def delete(self) -> None:
        self._subscriber.delete_subscription(subscription=self.name)

    def publish(self, payloads: Iterable[bytes], **attributes: Any) -> list[str]:
        """Publishes, waits until all of it is, and returns the ids that the messages got."""
        published = [self._publisher.publish(self.topic, payload, **attributes) for payload in payloads]
        return [message_id.result() for message_id in published]

    def pull(self, count: int) -> list[str]:
        """Pulls so many messages, as another reader would, and keeps them for ten minutes; returns their ack ids."""
        ack_ids: list[str] = []
        while len(ack_ids) < count:
            pulled = self._subscriber.pull(subscription=self.name, max_messages=count - len(ack_ids))
            ack_ids += [received.ack_id for received in pulled.received_messages]
        self._subscriber.modify_ack_deadline(subscription=self.name, ack_ids=ack_ids, ack_deadline_seconds=600)
        return ack_ids

    def give_back(self, ack_ids: list[str]) -> None:
        """Has what was pulled come again, at once."""
        self._subscriber.modify_ack_deadline(subscription=self.name, ack_ids=ack_ids, ack_deadline_seconds=0)
