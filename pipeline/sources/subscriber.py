"""This process's hold on a Pub/Sub subscription: pulls ahead, keeps what it holds leased, acknowledges what is written.

What one pull gave is a `PulledBatch` and stays together: it is handed out, leased and acknowledged as one. Two threads
pull while bundles work, up to a bound of messages and bytes; a third extends leases and acknowledges. What fails and
will pass, as an outage does, is tried again for as long as it lasts; any other failure ends the job.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import google.auth.exceptions
import grpc
import msgspec
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PullResponse

from schemas.tables import Timestamp
from transforms.core.reader import Received

EMULATOR: Final = "PUBSUB_EMULATOR_HOST"
"""The environment variable that names an emulator, HOST:PORT: https://cloud.google.com/pubsub/docs/emulator."""

_REQUEST_IDS: Final = 1_000
"""Messages that one pull asks for at most, and ids in one request: https://cloud.google.com/pubsub/quotas."""
_PULLS: Final = 2
_PULL_S: Final = 60.0
_EMPTY_S: Final = 0.05
_REQUEST_S: Final = 10.0
_HELD_MESSAGES: Final = 20_000
_HELD_BYTES: Final = 64_000_000
_TICK_S: Final = 1.0
_SHORTEST_LEASE_S: Final = 10.0
"""What was pulled is ours for so long at least, whatever the subscription's acknowledgement deadline."""
_LEASE_S: Final = 60
_LEASE_LEFT_S: Final = 7.0
"""A lease is extended when no more than this is left of it."""
_LONGEST_CLAIMED_S: Final = 600.0
"""What a bundle has claimed and not written by then, it has failed to write: it may come again."""
_CAUGHT_UP_S: Final = 1.0
"""When every pull has waited for so long, there was nothing to pull."""
_BEHIND_US: Final = 2_000_000
"""How far the watermark stays behind the clock when nothing is held: messages may be under way."""
_PARTING_S: Final = 10.0
"""How long a job that stops waits for its acknowledgements, where the connection is away."""
_LONGEST_BACKOFF_S: Final = 5.0
_NEVER: Final = float("inf")
_KEEPALIVE_S: Final = 30.0

_PASSING: Final = (
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.ServerError,
    exceptions.TooManyRequests,
    google.auth.exceptions.TransportError,
)
"""Failures that pass: an outage, a lost connection, a limit."""
FINAL: Final = (exceptions.ClientError, google.auth.exceptions.GoogleAuthError)
"""Failures that somebody must see to: nothing there, no permission, no credentials."""
passes = if_exception_type(*_PASSING)


class PulledBatch(msgspec.Struct, eq=False):
    """What one pull gave. `oldest` is the least publish time, `size` is in bytes; `leased_until` and `claimed_at`, None
    while no bundle has it, are seconds of the monotonic clock."""

    messages: list[Received]
    ack_ids: list[str]
    oldest: Timestamp
    size: int
    leased_until: float
    claimed_at: float | None = None


def connect() -> SubscriberClient:
    """A client of Pub/Sub, or of the emulator where one is named. Raises DefaultCredentialsError."""
    options: list[tuple[str, int]] = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_reconnect_backoff_ms", int(_LONGEST_BACKOFF_S * 1000)),
    ]
    if emulator := os.environ.get(EMULATOR):
        channel = grpc.insecure_channel(emulator, options)
    else:
        options.append(("grpc.keepalive_time_ms", int(_KEEPALIVE_S * 1000)))
        channel = SubscriberGrpcTransport.create_channel(options=options)
    return SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


class Subscriber:
    """One subscription, for the bundles of this process."""

    _open: Final[dict[str, Subscriber]] = {}
    _lock: Final = threading.Lock()
    _stopping: Final = threading.Event()
    _stopped_at = 0.0

    def __init__(self, subscription: str) -> None:
        self._subscription = subscription
        self._client = connect()
        self._changed = threading.Condition()
        self._held: set[PulledBatch] = set()
        self._ready: deque[PulledBatch] = deque()
        self._written: deque[PulledBatch] = deque()
        self._lags_ms: list[int] = []
        self._retries = 0
        self._watermark = 0
        self._idle_since = [_NEVER] * _PULLS
        self._pulling = _PULLS
        self._failure: Exception | None = None
        self._ending = self._closed = False
        for work in (*(partial(self._pull, number) for number in range(_PULLS)), self._keep):
            threading.Thread(target=self._run, args=(work,), name="pubsub", daemon=True).start()

    @classmethod
    def of(cls, subscription: str) -> Subscriber:
        """The process's subscriber, opened where it has none yet."""
        with cls._lock:
            if subscription not in cls._open:
                cls._open[subscription] = cls(subscription)
            return cls._open[subscription]

    @classmethod
    def stop(cls) -> None:
        """From now on nothing is handed out. What no bundle has claimed goes back; the rest is still acknowledged."""
        cls._stopped_at = time.monotonic()
        cls._stopping.set()

    @classmethod
    def close(cls) -> int:
        """Ends the process's subscribers. What was not acknowledged goes back; returns how many messages that are."""
        with cls._lock:
            subscribers = list(cls._open.values())
            cls._open.clear()
        left = sum(subscriber._close() for subscriber in subscribers)
        cls._stopping.clear()
        return left

    @classmethod
    def failure(cls) -> Exception | None:
        """Why the process's subscribers cannot go on."""
        with cls._lock:
            failures = [subscriber._failure for subscriber in cls._open.values()]
        return next((failure for failure in failures if failure is not None), None)

    # ---- for bundles ----

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def is_done(self) -> bool:
        """Whether, since it was told to stop, everything has been acknowledged or has gone back, or cannot be."""
        with self._changed:
            return self.is_stopping and (not self._held or time.monotonic() > self._stopped_at + _PARTING_S)

    def next_batch(self, seconds: float) -> PulledBatch | None:
        """The next batch, or None where none comes within that time. Raises what the subscriber cannot go on from."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._failure, max(0.0, seconds))
            if self._failure is not None:
                raise self._failure
            if not self._ready or self.is_stopping:
                return None
            batch = self._ready.popleft()
            batch.claimed_at = time.monotonic()
            return batch

    def acknowledge(self, batches: Iterable[PulledBatch]) -> None:
        """Notes that these are durable, and returns at once."""
        now_us = time.time_ns() // 1000
        with self._changed:
            for batch in batches:
                self._written.append(batch)
                self._lags_ms.append(max(0, now_us - batch.oldest) // 1000)
            self._changed.notify_all()

    def watermark(self) -> Timestamp:
        """The publish time, in microseconds, before which no more is expected. It never goes back, and stays while
        something older is held."""
        with self._changed:
            if self._held:
                self._watermark = max(self._watermark, min(batch.oldest for batch in self._held))
            elif max(self._idle_since) < time.monotonic() - _CAUGHT_UP_S:
                self._watermark = max(self._watermark, time.time_ns() // 1000 - _BEHIND_US)
            return Timestamp(self._watermark)

    def observed(self) -> tuple[list[int], int]:
        """Since the last call: for each batch that became durable the milliseconds since its oldest message was
        published, and how many requests were tried again."""
        with self._changed:
            observed = self._lags_ms, self._retries
            self._lags_ms, self._retries = [], 0
            return observed

    # ---- threads ----

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # whatever it is, the bundle that waits for messages raises it
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _pull(self, number: int) -> None:
        # An emulator hands messages to pulls that wait for them, even where their client has gone: there none may wait.
        immediate = EMULATOR in os.environ
        while self._wait_for_room():
            self._idle_since[number] = min(self._idle_since[number], time.monotonic())
            request = {
                "subscription": self._subscription,
                "max_messages": _REQUEST_IDS,
                "return_immediately": immediate,
            }
            try:
                response = self._client.pull(
                    request=request,
                    retry=self._retry(exceptions.DeadlineExceeded, pull=number),
                    timeout=_REQUEST_S if immediate else _PULL_S,
                )
            except exceptions.DeadlineExceeded:  # there was nothing to pull
                continue
            batch = _batch(response)
            if batch is None:
                time.sleep(_EMPTY_S)
                continue
            self._idle_since[number] = _NEVER
            with self._changed:
                self._held.add(batch)
                self._ready.append(batch)
                self._changed.notify_all()
        with self._changed:
            self._pulling -= 1
            self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """Waits until more may be held; False when there is nothing more to pull."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ending or self._has_room())
            return not self._is_ending

    @property
    def _is_ending(self) -> bool:
        return self._ending or self.is_stopping

    def _has_room(self) -> bool:
        messages = sum(len(batch.ack_ids) for batch in self._held)
        return messages < _HELD_MESSAGES and sum(batch.size for batch in self._held) < _HELD_BYTES

    def _keep(self) -> None:
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._written or self._closed, _TICK_S)
                written, self._written = self._written, deque()
                returned: deque[PulledBatch] = deque()
                if self._is_ending:
                    returned, self._ready = self._ready, deque()
            self._request(self._client.acknowledge, written)
            self._let_go(written)
            self._request(self._client.modify_ack_deadline, returned, ack_deadline_seconds=0)
            self._let_go(returned)
            self._extend()

    def _extend(self) -> None:
        now = time.monotonic()
        with self._changed:
            # What waits for a bundle stays leased however long that takes: only what is claimed can be stale.
            stale = [batch for batch in self._held if (batch.claimed_at or now) < now - _LONGEST_CLAIMED_S]
            self._held.difference_update(stale)
            self._changed.notify_all()
            due = [batch for batch in self._held if batch.leased_until < now + _LEASE_LEFT_S]
        self._request(self._client.modify_ack_deadline, due, ack_deadline_seconds=_LEASE_S)
        for batch in due:
            batch.leased_until = now + _LEASE_S

    def _let_go(self, batches: Iterable[PulledBatch]) -> None:
        with self._changed:
            self._held.difference_update(batches)
            self._changed.notify_all()

    def _request(self, request: Callable[..., None], batches: Iterable[PulledBatch], **fields: Any) -> None:
        """Makes requests about all messages of these batches, until they succeed."""
        ids = itertools.chain.from_iterable(batch.ack_ids for batch in batches)
        while some := list(itertools.islice(ids, _REQUEST_IDS)):
            try:
                request(
                    request={"subscription": self._subscription, "ack_ids": some, **fields},
                    retry=self._retry(),
                    timeout=_REQUEST_S,
                )
            except exceptions.InvalidArgument:  # the lease of one has run out: it comes again
                self._retries += 1

    def _retry(self, *answers: type[Exception], pull: int | None = None) -> Retry:
        """How a request is tried again, as long as it takes; `answers` are no failures."""

        def count(_: Exception) -> None:
            self._retries += 1
            if pull is not None:
                self._idle_since[pull] = _NEVER

        return Retry(
            lambda error: passes(error) and not isinstance(error, answers),
            initial=0.1,
            maximum=_LONGEST_BACKOFF_S,
            timeout=None,
            on_error=count,
        )

    def _close(self) -> int:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._pulling and not self._held, _TICK_S)
            left = list(self._held)
            self._closed = True
        with contextlib.suppress(*_PASSING, *FINAL):
            for batch in left:
                self._client.modify_ack_deadline(
                    subscription=self._subscription,
                    ack_ids=batch.ack_ids,
                    ack_deadline_seconds=0,
                    retry=None,
                    timeout=_TICK_S,
                )
        self._client.transport.close()
        return sum(len(batch.ack_ids) for batch in left)


_NONE: Final[Mapping[str, str]] = {}


def _batch(response: PullResponse) -> PulledBatch | None:
    """What was pulled; it is read through the protocol buffers, since the client's own objects cost a multiple."""
    pulled = PullResponse.pb(response).received_messages
    if not pulled:
        return None
    messages, ack_ids, size = [], [], 0
    for received in pulled:
        message = received.message
        time_ = message.publish_time
        published_at = Timestamp(time_.seconds * 1_000_000 + time_.nanos // 1000)
        attributes = dict(message.attributes) if message.attributes else _NONE
        messages.append(Received(message.data, attributes, published_at, delivery_id=message.message_id))
        ack_ids.append(received.ack_id)
        size += received.ByteSize()
    oldest = min(message.published_at or Timestamp(0) for message in messages)
    return PulledBatch(messages, ack_ids, oldest, size, leased_until=time.monotonic() + _SHORTEST_LEASE_S)
