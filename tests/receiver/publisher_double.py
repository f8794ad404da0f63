"""A Pub/Sub server in this process that answers as a test wants: what it has taken it keeps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.iam.v1 import iam_policy_pb2  # type: ignore[import-untyped]
from google.pubsub_v1.types import GetTopicRequest, PublishRequest, PublishResponse, Topic

from receiver.sink import Message
from receiver.sinks.pubsub import EMULATOR

TOPIC = "projects/test-project/topics/calls"

Refuses = Callable[[Message], bool]


class PublisherDouble:
    """`answer` is what publishing is answered with, None for an acknowledgement; `topic_answer` is for a look at the
    topic, `granted` is what the caller may do with it. `delay_s` comes before every answer to a publish request, and so
    does the wait for `answering`, which a test may clear."""

    def __init__(self) -> None:
        self.published: list[Message] = []
        self.requests: list[list[Message]] = []
        self.under_way = self.most_under_way = 0
        self.heal()

    def heal(self) -> None:
        self.answer: grpc.StatusCode | None = None
        self.topic_answer: grpc.StatusCode | None = None
        self.granted: list[str] = []
        self.delay_s = 0.0
        self.answering = asyncio.Event()
        self.answering.set()
        self.refuses: Refuses = lambda message: False

    async def publish(self, request: Any, context: Any) -> Any:
        messages = [Message(connection=pb.attributes["connection"], payload=pb.data) for pb in request.messages]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.delay_s)
            await self.answering.wait()
            await self._refuse(context, self.answer)
            self.requests.append(messages)
            if any(map(self.refuses, messages)):
                await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT)
            self.published += messages
        finally:
            self.under_way -= 1
        return PublishResponse.pb(PublishResponse(message_ids=["1"] * len(messages)))

    async def get_topic(self, request: Any, context: Any) -> Any:
        await self._refuse(context, self.topic_answer)
        return Topic.pb(Topic(name=request.topic))

    async def permissions(self, request: Any, context: Any) -> Any:
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=self.granted)

    async def _refuse(self, context: Any, answer: grpc.StatusCode | None) -> None:
        if answer is not None:
            await context.abort(answer, "as the test wants\nin two lines")


@contextlib.asynccontextmanager
async def serving(patch: pytest.MonkeyPatch, double: PublisherDouble | None = None) -> AsyncIterator[PublisherDouble]:
    """Runs a double while the block lasts; a sink that is started in it publishes to it."""
    double = double or PublisherDouble()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers(
        (
            _service("google.pubsub.v1.Publisher", "Publish", double.publish, PublishRequest, PublishResponse),
            _service("google.pubsub.v1.Publisher", "GetTopic", double.get_topic, GetTopicRequest, Topic),
            _permissions(double),
        )
    )
    port = server.add_insecure_port("localhost:0")
    await server.start()
    patch.setenv(EMULATOR, f"localhost:{port}")
    try:
        yield double
    finally:
        await server.stop(None)


def _service(service: str, method: str, handle: Any, request: Any, response: Any) -> grpc.GenericRpcHandler:
    handler = grpc.unary_unary_rpc_method_handler(handle, request.pb().FromString, response.pb().SerializeToString)
    return grpc.method_handlers_generic_handler(service, {method: handler})


def _permissions(double: PublisherDouble) -> grpc.GenericRpcHandler:
    handler = grpc.unary_unary_rpc_method_handler(
        double.permissions,
        iam_policy_pb2.TestIamPermissionsRequest.FromString,
        iam_policy_pb2.TestIamPermissionsResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("google.iam.v1.IAMPolicy", {"TestIamPermissions": handler})
