"""A Pub/Sub topic as a sink, with a group commit of its own on the asynchronous publisher.

What requests bring while publish requests are under way gathers, and goes into the next one. The publisher's own
batching, tries and timeouts are not used: they outlast those who wait for our answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

import grpc
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.pubsub_v1 import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage

from receiver.sink import Message, MessageRefused, Unavailable

EMULATOR: Final = "PUBSUB_EMULATOR_HOST"
"""The environment variable that names an emulator, HOST:PORT: https://cloud.google.com/pubsub/docs/emulator."""

TIMEOUT_S: Final = 3.0
"""How long a request waits for Pub/Sub: those that deliver to us wait no longer than 5 s."""
_LONGER_S: Final = 0.5
"""By so much a publish request outlives those that wait for it, so that each is told by its own time."""
_REQUEST_MESSAGES: Final = 1_000
_REQUEST_BYTES: Final = 9_000_000
"""Of one publish request; the limits are 1,000 and 10 MB: https://cloud.google.com/pubsub/quotas."""
_LARGEST_BYTES: Final = 9_900_000
"""Of a message that Pub/Sub takes, with its attribute: a publish request of 10 MB has to hold it."""
_UNDER_WAY: Final = 4
"""Publish requests at a time: with more, each is smaller."""
_WAITING_BYTES: Final = 128_000_000
_CONFIGURATION_RETRY_S: Final = 60
_QUOTA_RETRY_S: Final = 15
"""When a client should try again where somebody must see to the topic, and where a quota is used up."""
_PROBE_S: Final = 1.0
_LONGEST_BACKOFF_S: Final = 1.0
_KEEPALIVE_S: Final = 30.0
_PUBLISH: Final = "pubsub.topics.publish"
_FAILURES: Final = (exceptions.GoogleAPICallError, GoogleAuthError)

_log = logging.getLogger(__name__)


class PubSubSink:
    """Publishes to `projects/P/topics/T`, or to that of the emulator. `stored` and `refused` count messages,
    `publishes` the publish requests.

    It starts while Pub/Sub cannot be reached, and has a problem until it can; it does not start where that takes
    somebody's hand: without the topic, the right to publish, or credentials.
    """

    def __init__(self, topic: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.stored = 0
        self.refused = 0
        self.publishes = 0
        self._topic = topic
        self._timeout_s = timeout_s
        self._client: PublisherAsyncClient | None = None
        self._waiting: deque[_Publication] = deque()
        self._waiting_bytes = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_woken = False
        self._is_closing = False
        self._problem: str | None = None
        self._probing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        try:
            self._client = _connected()
            await self._check()
        except DefaultCredentialsError as error:
            raise Unavailable("there are no credentials for Pub/Sub: gcloud auth application-default login") from error
        except _FAILURES as error:
            problem = _unavailable(error, self._topic)
            if isinstance(error, _CONFIGURATION):
                await self.close()
                raise problem from error
            self._failed(problem)

    async def store(self, messages: Sequence[Message]) -> None:
        if self._client is None or self._is_closing:
            raise Unavailable("the receiver is starting" if self._client is None else "the receiver is stopping")
        if not messages:
            return
        if self._waiting_bytes > _WAITING_BYTES:
            raise Unavailable("too many messages wait for Pub/Sub")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        request = _Request(len(messages), done)
        publications = [_Publication(message, request) for message in messages]
        if (largest := max((publication.size for publication in publications), default=0)) > _LARGEST_BYTES:
            self.refused += len(messages)
            raise MessageRefused(f"Pub/Sub takes no message of {largest:,} bytes")
        for publication in publications:
            self._wait(publication)
        self._wake()
        try:
            await asyncio.wait_for(done, self._timeout_s)
        except asyncio.TimeoutError:
            self.refused += len(messages)
            problem = Unavailable(f"Pub/Sub has not answered within {self._timeout_s:g} s")
            self._failed(problem)
            raise problem from None
        except Unavailable:
            self.refused += len(messages)
            raise
        self.stored += len(messages)

    def problem(self) -> str | None:
        return "the receiver is starting" if self._client is None else self._problem

    async def close(self) -> None:
        self._is_closing = True
        while self._waiting or self._under_way:
            self._publish_waiting()
            await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing
        if self._client is not None:
            await self._client.transport.close()  # type: ignore[no-untyped-call]

    # ---- publishing ----

    def _wait(self, publication: _Publication) -> None:
        self._waiting.append(publication)
        self._waiting_bytes += publication.size

    def _wake(self) -> None:
        """Publishes what waits, after all requests that the loop is about to handle have brought theirs."""
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._publish_waiting)

    def _publish_waiting(self) -> None:
        self._is_woken = False
        while self._waiting and len(self._under_way) < _UNDER_WAY:
            group = self._next_group()
            if group:
                self._begin(group)

    def _begin(self, group: Sequence[_Publication]) -> None:
        task = asyncio.get_running_loop().create_task(self._publish(group))
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._publish_waiting()

    def _next_group(self) -> list[_Publication]:
        """What goes into one publish request. What nobody waits for any more, its client sends again."""
        group: list[_Publication] = []
        size = 0
        while self._waiting and len(group) < _REQUEST_MESSAGES:
            publication = self._waiting[0]
            if group and size + publication.size > _REQUEST_BYTES:
                break
            self._waiting.popleft()
            self._waiting_bytes -= publication.size
            if not publication.request.done.done():
                group.append(publication)
                size += publication.size
        return group

    async def _publish(self, group: Sequence[_Publication]) -> None:
        """Publishes a group, and tells those that wait. A message that Pub/Sub does not take fails its own request."""
        assert self._client is not None
        pb = PublishRequest.pb(PublishRequest(topic=self._topic))
        pb.messages.extend(publication.message for publication in group)
        try:
            self.publishes += 1
            await self._client.publish(PublishRequest.wrap(pb), retry=None, timeout=self._timeout_s + _LONGER_S)
        except exceptions.InvalidArgument as error:
            if len(group) == 1:
                size = len(group[0].message.data)
                _fail(group, MessageRefused(f"Pub/Sub does not take a message of {size:,} bytes: {_line(error)}"))
            else:
                for half in (group[: len(group) // 2], group[len(group) // 2 :]):
                    if waiting := [publication for publication in half if not publication.request.done.done()]:
                        await self._publish(waiting)
        except _FAILURES as error:
            problem = _unavailable(error, self._topic)
            self._failed(problem)
            _fail(group, problem)
        else:
            self._problem = None
            for publication in group:
                publication.request.published()

    # ---- whether it can be published ----

    def _failed(self, problem: Unavailable) -> None:
        """Notes why it cannot be published now, and finds out when it can again: no request may come."""
        if self._problem is None:
            _log.error("%s", problem)
        self._problem = str(problem)
        if (self._probing is None or self._probing.done()) and not self._is_closing:
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        while self._problem is not None:
            await asyncio.sleep(_PROBE_S)
            try:
                await self._check()
            except _FAILURES as error:
                self._problem = str(_unavailable(error, self._topic))
            else:
                self._problem = None

    async def _check(self) -> None:
        """Raises one of the failures where the topic cannot be published to. Who may publish to it need not have the
        right to look at it."""
        assert self._client is not None
        end = time.monotonic() + self._timeout_s
        try:
            await self._client.get_topic(topic=self._topic, retry=None, timeout=self._timeout_s)
        except exceptions.PermissionDenied:
            granted = await self._client.test_iam_permissions(
                {"resource": self._topic, "permissions": [_PUBLISH]}, retry=None, timeout=end - time.monotonic()
            )
            if _PUBLISH not in granted.permissions:
                raise


class _Request:
    """The messages of one call of `store`, which are published in one publish request or in several."""

    def __init__(self, left: int, done: asyncio.Future[None]) -> None:
        self.done = done
        self._left = left

    def published(self) -> None:
        """One more message is published."""
        self._left -= 1
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, problem: Unavailable) -> None:
        if not self.done.done():
            self.done.set_exception(problem)


class _Publication:
    """A message on its way."""

    def __init__(self, message: Message, request: _Request) -> None:
        self.message = PubsubMessage.pb()(data=message.payload, attributes={"connection": message.connection})
        self.size: int = self.message.ByteSize()
        self.request = request


def _fail(group: Sequence[_Publication], problem: Unavailable) -> None:
    for publication in group:
        publication.request.fail(problem)


_CONFIGURATION: Final = (
    exceptions.NotFound,
    exceptions.Forbidden,
    exceptions.Unauthorized,
    exceptions.InvalidArgument,
    DefaultCredentialsError,
)
"""Failures that somebody must see to."""


def _unavailable(error: Exception, topic: str) -> Unavailable:
    if isinstance(error, exceptions.NotFound):
        return Unavailable(
            f"there is no topic {topic}: create it, or correct --topic", retry_after_s=_CONFIGURATION_RETRY_S
        )
    if isinstance(error, (exceptions.Forbidden, exceptions.Unauthorized)):
        problem = f"may not publish to {topic}: grant roles/pubsub.publisher on it"
        return Unavailable(problem, retry_after_s=_CONFIGURATION_RETRY_S)
    if isinstance(error, exceptions.InvalidArgument):
        return Unavailable(f"Pub/Sub refuses {topic}: {_line(error)}", retry_after_s=_CONFIGURATION_RETRY_S)
    if isinstance(error, exceptions.TooManyRequests):
        return Unavailable(f"Pub/Sub's quota is used up: {_line(error)}", retry_after_s=_QUOTA_RETRY_S)
    if isinstance(error, exceptions.GatewayTimeout):
        return Unavailable("Pub/Sub does not answer in time")
    return Unavailable(f"Pub/Sub cannot be reached: {_line(error)}")


def _line(error: Exception) -> str:
    """What an error says, on one line."""
    text = error.message if isinstance(error, exceptions.GoogleAPICallError) else str(error)
    return " ".join(str(text).split())[:200]


def _connected() -> PublisherAsyncClient:
    """A client of Pub/Sub, or of the emulator where one is named. Raises DefaultCredentialsError."""
    options: list[tuple[str, int]] = [("grpc.max_reconnect_backoff_ms", int(_LONGEST_BACKOFF_S * 1000))]
    if emulator := os.environ.get(EMULATOR):
        channel = grpc.aio.insecure_channel(emulator, options)
    else:
        options.append(("grpc.keepalive_time_ms", int(_KEEPALIVE_S * 1000)))
        channel = PublisherGrpcAsyncIOTransport.create_channel(options=options)
    return PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
