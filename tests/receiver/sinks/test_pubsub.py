"""The Pub/Sub sink: what it has stored Pub/Sub has acknowledged, and what Pub/Sub does not take it says within 3 s."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.auth.exceptions import DefaultCredentialsError

from pipeline.companion import free_endpoint
from receiver.sink import Message, MessageRefused, Unavailable
from receiver.sinks import pubsub
from receiver.sinks.pubsub import EMULATOR, PubSubSink
from tests import pubsub_emulator
from tests.receiver.publisher_double import TOPIC, PublisherDouble, serving
from tests.receiver.stored import web
from tests.receiver.waiting import until

NO_ANSWER_S = 0.6

Use = Callable[[PubSubSink, PublisherDouble], Awaitable[None]]


def run(patch: pytest.MonkeyPatch, use: Use, timeout_s: float = 20.0) -> PubSubSink:
    """Uses a sink on a double, from its start to its close."""

    async def used() -> PubSubSink:
        async with serving(patch) as double:
            sink = PubSubSink(TOPIC, timeout_s=timeout_s)
            await sink.start()
            assert sink.problem() is None
            try:
                await use(sink, double)
            finally:
                await sink.close()
            return sink

    return asyncio.run(used())


def test_messages_are_published_with_their_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [*web(b"{}", b"\xff\n\0"), Message(connection="Mobile app", payload=b"")]

    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        await sink.store(messages)
        assert double.published == messages

    sink = run(monkeypatch, use)
    assert (sink.stored, sink.refused, sink.publishes) == (3, 0, 1)


def test_requests_that_come_together_are_published_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        await asyncio.gather(*(sink.store(web(b"%d" % number, b"%d too" % number)) for number in range(1_200)))
        assert sorted(len(request) for request in double.requests) == [400, 1_000, 1_000]
        assert len(set(double.published)) == 2_400

    run(monkeypatch, use)


def test_a_publish_request_is_never_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        await asyncio.gather(*(sink.store(web(b"x" * 2_000_000)) for _ in range(10)))
        sizes = [sum(len(message.payload) for message in request) for request in double.requests]
        assert sorted(sizes) == [4_000_000, 8_000_000, 8_000_000]

    run(monkeypatch, use)


def test_a_few_publish_requests_are_under_way_while_others_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        double.delay_s = 0.1
        storing = []
        for number in range(50):
            storing.append(asyncio.ensure_future(sink.store(web(b"%d" % number))))
            await asyncio.sleep(0.001)
        await asyncio.gather(*storing)
        assert 1 < double.most_under_way <= 4
        assert len(double.requests) <= 12

    run(monkeypatch, use)


FAILURES = [
    (grpc.StatusCode.NOT_FOUND, f"there is no topic {TOPIC}: create it, or correct --topic", 60),
    (grpc.StatusCode.PERMISSION_DENIED, f"may not publish to {TOPIC}: grant roles/pubsub.publisher on it", 60),
    (grpc.StatusCode.UNAUTHENTICATED, f"may not publish to {TOPIC}: grant roles/pubsub.publisher on it", 60),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "Pub/Sub's quota is used up: as the test wants in two lines", 15),
    (grpc.StatusCode.UNAVAILABLE, "Pub/Sub cannot be reached: as the test wants in two lines", 5),
    (grpc.StatusCode.INTERNAL, "Pub/Sub cannot be reached: as the test wants in two lines", 5),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "Pub/Sub does not answer in time", 5),
]


@pytest.mark.parametrize(("answer", "problem", "retry_after_s"), FAILURES, ids=[str(row[0].name) for row in FAILURES])
def test_a_failure_is_told_in_one_line_to_everyone_who_waits(
    answer: grpc.StatusCode, problem: str, retry_after_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        double.answer = answer
        outcomes = await asyncio.gather(*(sink.store(web(b"1", b"2")) for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == [problem] * 3
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        assert [getattr(outcome, "retry_after_s", None) for outcome in outcomes] == [retry_after_s] * 3
        assert sink.problem() == problem
        double.heal()
        await sink.store(web(b"3"))
        assert sink.problem() is None

    sink = run(monkeypatch, use)
    assert (sink.stored, sink.refused) == (1, 6)


def test_pub_sub_that_does_not_answer_delays_no_one_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        double.delay_s = 20.0
        began = time.monotonic()
        storing = [asyncio.ensure_future(sink.store(web(b"%d" % number))) for number in range(5)]
        for number in range(5):  # these find every publish request under way
            await asyncio.sleep(0.02)
            storing.append(asyncio.ensure_future(sink.store(web(b"later %d" % number))))
        outcomes = await asyncio.gather(*storing, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {f"Pub/Sub has not answered within {NO_ANSWER_S} s"}
        assert time.monotonic() - began < 3 * NO_ANSWER_S
        double.heal()
        await until(lambda: sink.problem() is None)
        await sink.store(web(b"after"))
        assert double.published == web(b"after"), "what nobody waits for is published"

    run(monkeypatch, use, NO_ANSWER_S)


def test_what_nobody_waits_for_any_more_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        double.answering.clear()
        storing = []
        for number in range(6):  # the last two find every publish request under way
            storing.append(asyncio.ensure_future(sink.store(web(b"%d" % number))))
            await until(lambda: double.under_way == min(len(storing), pubsub._UNDER_WAY))
        await asyncio.sleep(0)
        storing[4].cancel()
        double.answering.set()
        await asyncio.gather(*storing, return_exceptions=True)
        assert {message.payload for message in double.published} == {b"0", b"1", b"2", b"3", b"5"}

    run(monkeypatch, use)


def test_a_message_that_is_refused_fails_its_own_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        double.refuses = lambda message: message.payload == b"bad"
        requests = [web(b"1", b"2"), web(b"3", b"bad", b"4"), *(web(b"%d" % number) for number in range(5, 20))]
        outcomes = await asyncio.gather(*(sink.store(messages) for messages in requests), return_exceptions=True)
        assert [outcome for outcome in outcomes if outcome is not None] == [outcomes[1]]
        assert isinstance(outcomes[1], MessageRefused)
        assert str(outcomes[1]) == "Pub/Sub does not take a message of 3 bytes: as the test wants in two lines"
        others = {b"1", b"2", *(b"%d" % number for number in range(5, 20))}
        assert {message.payload for message in double.published} - {b"3", b"4"} == others
        assert sink.problem() is None

    run(monkeypatch, use)


def test_a_message_beyond_pub_subs_limit_is_refused_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        with pytest.raises(MessageRefused, match=r"^Pub/Sub takes no message of 10,000,0\d\d bytes$"):
            await sink.store(web(b"1", b"x" * 10_000_000))
        assert double.requests == []

    run(monkeypatch, use)


def test_close_waits_for_what_is_being_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: PubSubSink, double: PublisherDouble) -> None:
        double.delay_s = 0.1
        storing = asyncio.gather(*(sink.store(web(b"x" * 4_000_000)) for _ in range(12)))
        await asyncio.sleep(0)
        await sink.close()
        await storing
        assert len(double.published) == 12
        with pytest.raises(Unavailable, match="the receiver is stopping"):
            await sink.store(web(b"1"))

    run(monkeypatch, use)


# ---- the start ----


def started(patch: pytest.MonkeyPatch, double: PublisherDouble) -> str | None:
    """The problem that a sink has once it is started."""

    async def start() -> str | None:
        async with serving(patch, double):
            sink = PubSubSink(TOPIC, timeout_s=20.0)
            await sink.start()
            problem = sink.problem()
            await sink.close()
            return problem

    return asyncio.run(start())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (grpc.StatusCode.NOT_FOUND, "there is no topic"),
        (grpc.StatusCode.PERMISSION_DENIED, "may not publish to"),
        (grpc.StatusCode.INVALID_ARGUMENT, "Pub/Sub refuses"),
    ],
)
def test_what_somebody_must_see_to_is_told_at_the_start(
    answer: grpc.StatusCode, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = PublisherDouble()
    double.topic_answer = answer
    with pytest.raises(Unavailable, match=problem):
        started(monkeypatch, double)


def test_whoever_may_publish_need_not_be_allowed_to_look_at_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    double = PublisherDouble()
    double.topic_answer, double.granted = grpc.StatusCode.PERMISSION_DENIED, ["pubsub.topics.publish"]
    assert started(monkeypatch, double) is None


def test_pub_sub_that_cannot_be_reached_does_not_keep_the_sink_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start() -> None:
        monkeypatch.setenv(EMULATOR, free_endpoint())
        sink = PubSubSink(TOPIC)
        await sink.start()
        assert str(sink.problem()).startswith("Pub/Sub cannot be reached: ")
        with pytest.raises(Unavailable, match=r"^Pub/Sub cannot be reached: .*Connection refused$"):
            await sink.store(web(b"1"))
        await sink.close()

    asyncio.run(start())


def test_missing_credentials_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(pubsub, "_connected", fails)
    with pytest.raises(Unavailable, match=r"^there are no credentials for Pub/Sub: gcloud auth"):
        asyncio.run(PubSubSink(TOPIC).start())


# ---- the emulator ----


def test_what_is_stored_can_be_pulled_from_pub_subs_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        monkeypatch.setenv(EMULATOR, pubsub_emulator.host())
        sink = PubSubSink(subscription.topic, timeout_s=20.0)
        await sink.start()
        assert sink.problem() is None
        await asyncio.gather(*(sink.store(web(b"%d" % number)) for number in range(1_500)))
        await sink.store(web(b"x" * 3_000_000))
        await sink.close()
        missing = PubSubSink(f"{subscription.topic}-2")
        with pytest.raises(Unavailable, match="there is no topic"):
            await missing.start()

    subscription = pubsub_emulator.Subscription(pubsub_emulator.host())
    asyncio.run(use())
    assert len(subscription.pull(1_501)) == 1_501
