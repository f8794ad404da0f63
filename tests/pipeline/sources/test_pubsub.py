"""A subscription as the source, on the real emulator and Prism: however messages come, the tables are the replay's."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

import apache_beam as beam
import duckdb
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError

from pipeline.__main__ import main
from pipeline.companion import free_endpoint
from pipeline.errors import UsageError
from pipeline.options import parse
from pipeline.progress import ReportedCounts
from pipeline.run import run
from pipeline.sources import pubsub, subscriber
from pipeline.sources.subscriber import EMULATOR, PulledBatch, Subscriber
from schemas.tables import Timestamp as Micros
from tests.golden.__main__ import Labels
from tests.histories import CONFIGS, Alphabet, Message, deal, history, line
from tests.streaming import PATIENCE_S, Stream, shuffled, wait_until
from tests.warehouse import tables
from transforms import metrics
from transforms.core.reader import Received

ROOT = Path(__file__).parents[3]
PEOPLE = Alphabet(ids=(*(f"p{number}" for number in range(12)), "p@initech.com"), seconds=30)


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A job keeps what is loaded from being collected, which is for a process that runs one."""
    yield
    gc.unfreeze()


def marker(number: int) -> Message:
    """An identify whose contact shows that the window of what came with it has been written."""
    return {
        "type": "identify",
        "messageId": f"marker-{number}",
        "timestamp": "2024-01-01",
        "userId": f"marker-{number}",
    }


def test_random_histories_over_several_windows_come_to_the_replay(stream: Stream) -> None:
    rng = Random(1)
    messages = history(rng, 120, PEOPLE)
    with stream.job() as job:
        for number, part in enumerate(deal(rng, messages, 4)):
            stream.publish(shuffled(rng, [*part, marker(number)]))
            shown = f"external_id = 'marker-{number}'"
            job.wait_until("its window is written", partial(stream.stored, "contacts", shown))
        job.wait_for_all()
    stream.check()


def test_files_are_the_history_and_the_subscription_goes_on(stream: Stream) -> None:
    messages = history(Random(2), 80, PEOPLE)
    first, second = deal(Random(2), messages, 2)
    file = stream.folder / "history.jsonl"
    file.write_bytes(b"".join(payload + b"\n" for payload in shuffled(Random(2), first)))
    stream.publish(shuffled(Random(3), second))
    stream.published += file.read_bytes().splitlines()
    with stream.job(f"--input={file}") as job:
        job.wait_for_all()
    stream.check()


def test_what_an_older_job_believed_goes_when_the_history_is_through_and_not_at_the_end(stream: Stream) -> None:
    group = {
        "type": "group",
        "messageId": "g",
        "timestamp": "2024-01-01",
        "userId": "ann",
        "groupId": "acme",
        "projectId": "s1",
    }
    stream.publish(shuffled(Random(1), [group]))
    stream.complete()
    assert tables(stream.file).accounts.keys() == {"acme"}
    stream.configure(CONFIGS["email_domain"])
    with stream.job() as job:
        job.wait_until("its account is gone", lambda: stream.stored("jobs", "history_done") == 2)
        assert stream.stored("accounts") == 0
        stream.publish(shuffled(Random(1), [marker(1)]))
        job.wait_until("a later window is written", lambda: stream.stored("contacts"))
    stream.check()


def test_what_comes_long_after_its_window_counts(stream: Stream) -> None:
    stream.publish(
        shuffled(Random(1), [{"type": "identify", "messageId": "late", "timestamp": "2024-01-01", "userId": "ann"}])
    )
    ack_ids = stream.subscription.pull(1)
    with stream.job() as job:
        for number in range(2):
            job.wait_until("it has read what there is", lambda: job.is_caught_up)
            stream.publish(shuffled(Random(1), [marker(number)]))
            shown = f"external_id = 'marker-{number}'"
            job.wait_until("its window is written", partial(stream.stored, "contacts", shown))
        stream.subscription.give_back(ack_ids)
        job.wait_for_all()
    stream.check()
    assert job.summary is not None
    assert job.summary.notes[metrics.LATE.phrase(1)] == 1


def test_a_message_that_cannot_be_read_is_kept_with_its_attributes_and_costs_nobody_else(stream: Stream) -> None:
    poison = [
        b"",
        b"\xff",
        b"{",
        b"5",
        b'{"type": "track", "timestamp": "2024-01-01"}',
        line({"type": "page", "userId": 5})[:-1],
    ]
    stream.publish(poison, source="legacy")
    stream.publish(shuffled(Random(4), history(Random(4), 40, PEOPLE)))
    stream.complete()
    stream.check()
    with duckdb.connect(str(stream.file), read_only=True) as connection:
        rows = connection.execute("SELECT payload FROM dead_letters WHERE attributes->>'source' = 'legacy'").fetchall()
    assert sorted(payload for (payload,) in rows) == sorted(poison)
    with stream.job() as job:
        job.wait_until("it has read what there is", lambda: job.is_caught_up)
    assert job.summary is not None
    assert job.summary.read == 0, "what was refused came again"


def test_what_no_bundle_has_claimed_goes_back_at_a_stop(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, stream.host)
    stream.publish(shuffled(Random(6), history(Random(6), 60, PEOPLE)))
    held = Subscriber.of(stream.subscription.name)
    wait_until("messages are pulled", lambda: held._held)
    Subscriber.stop()
    wait_until("they are given back", lambda: held.is_done)
    assert held.next_batch(0) is None
    assert Subscriber.close() == 0
    stream.complete()
    stream.check()


def test_no_more_is_held_than_the_bound(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, stream.host)
    monkeypatch.setattr(subscriber, "_HELD_MESSAGES", 40)
    monkeypatch.setattr(subscriber, "_REQUEST_IDS", 20)
    stream.publish([b"%d" % number for number in range(300)])
    held = Subscriber.of(stream.subscription.name)
    claimed: list[PulledBatch] = []
    payloads: set[bytes] = set()
    try:
        while len(payloads) < 300:
            if batch := held.next_batch(1):
                claimed.append(batch)
                payloads |= {message.payload for message in batch.messages}
            else:
                held.acknowledge(claimed)
                claimed.clear()
            assert sum(len(batch.ack_ids) for batch in held._held) <= 40 + 2 * 20, "each pull may have begun before"
    finally:
        Subscriber.close()


def test_the_watermark_waits_for_what_is_held_and_never_goes_back(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EMULATOR, stream.host)
    stream.publish([b"{}"])
    held = Subscriber.of(stream.subscription.name)
    try:
        batch = held.next_batch(60)
        assert batch is not None
        assert held.watermark() == batch.oldest
        held.acknowledge([batch])
        wait_until("it is let go", lambda: not held._held)
        wait_until("it follows the clock", lambda: held.watermark() > batch.oldest)
        before = held.watermark()
        stream.publish([b"{}"])
        later = held.next_batch(60)
        assert later is not None
        assert held.watermark() >= before
        held.acknowledge([later])
        wait_until("it follows the clock again", lambda: held.watermark() > later.oldest)
        held._held.add(batch)
        before = held.watermark()
        time.sleep(1.5)
        assert held.watermark() == before, "it waits for what is held and came late"
    finally:
        Subscriber.close()


def test_what_is_late_arrives_with_the_watermark() -> None:
    messages = [Received(b"{}", {}, Micros(published_at)) for published_at in (3, 5, 9)]
    reading = pubsub._PullFn("projects/p-roject/subscriptions/sub")
    batch = PulledBatch(messages, ["a", "b", "c"], Micros(3), 6, 0.0, 0.0)
    stamped = list(reading._stamped(batch, Micros(5)))
    assert [(value.value.published_at, value.timestamp.micros) for value in stamped] == [(3, 5), (5, 5), (9, 9)]
    assert reading.tally == {metrics.LATE.name: 1}


@pytest.mark.parametrize(
    ("what", "name", "line"),
    [
        ("none of that name", "projects/test-project/subscriptions/none", "there is no such subscription; make it"),
        ("no such project", "projects/other-project/subscriptions/none", "there is no such subscription; make it"),
    ],
)
def test_a_subscription_that_cannot_be_read_is_one_line(
    what: str, name: str, line: str, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EMULATOR, stream.host)
    arguments = [f"--input_subscription={name}", f"--warehouse=duckdb:///{stream.file}"]
    with pytest.raises(UsageError, match=f"--input_subscription={name}: {line}"):
        run(*parse(arguments), "")
    assert not stream.file.exists()


@pytest.mark.parametrize("name", ["calls.json", "calls.jsonl", "calls.csv", ":memory:"])
def test_nothing_is_pulled_for_a_warehouse_that_would_keep_nothing(
    name: str, stream: Stream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(EMULATOR, stream.host)
    monkeypatch.chdir(stream.folder)
    if name != ":memory:":
        (stream.folder / name).write_bytes(b'{"a": 1}\n{"a": 2}\n')
    before = {path: path.read_bytes() for path in stream.folder.iterdir()}
    stream.subscription.publish([b"{}"] * 3)
    pulled: list[object] = []
    monkeypatch.setattr(Subscriber, "of", pulled.append)
    monkeypatch.setattr(pubsub, "check_subscription", pulled.append)
    assert main([f"--input_subscription={stream.subscription.name}", f"--warehouse=duckdb:///{name}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert pulled == []
    assert {path: path.read_bytes() for path in stream.folder.iterdir()} == before
    assert len(stream.subscription.pull(3)) == 3


def test_a_server_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, free_endpoint())
    monkeypatch.setattr(pubsub, "_START_S", 0.5)
    with pytest.raises(UsageError, match="does not answer at PUBSUB_EMULATOR_HOST=localhost"):
        pubsub.check_subscription("projects/test-project/subscriptions/calls")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (exceptions.NotFound("no"), "there is no such subscription; make it, or correct the name"),
        (exceptions.PermissionDenied("no"), "may not be read: no; grant pubsub.subscriptions.consume and .get on it: "),
        (exceptions.Unauthenticated("no"), "there are no Google Cloud credentials that are valid; run gcloud auth "),
        (DefaultCredentialsError("no"), "there are no Google Cloud credentials that are valid; run gcloud auth "),
        (exceptions.FailedPrecondition("push"), "cannot be read: push; make a subscription of the type pull"),
        (exceptions.RetryError("", exceptions.ServiceUnavailable("away")), "Pub/Sub does not answer: away; "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_why_it_cannot_be_read_is_explained(error: Exception, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EMULATOR, raising=False)
    assert str(pubsub.explained(error, "projects/p/subscriptions/s")).startswith(
        f"--input_subscription=projects/p/subscriptions/s: {line}"
    )


def test_a_subscription_that_goes_away_ends_the_job_with_one_line(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "_PULL_S", 1.0)  # the emulator tells it to the next pull only
    with stream.job() as job:
        job.wait_until("the job reads", lambda: job.is_reading)
        stream.subscription.delete()
        wait_until("the job ends", lambda: job.error)
    assert isinstance(job.error, UsageError)
    assert "there is no such subscription" in str(job.error)


def test_on_dataflow_its_own_source_reads() -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(streaming=True))
    _ = pipeline | "ReadPubSub" >> pubsub.ReadPubSub("projects/p-roject/subscriptions/sub", native=True)
    labels = Labels()
    pipeline.visit(labels)
    reads = [node.transform for node in labels.transforms if isinstance(node.transform, ReadFromPubSub)]
    assert [(read._source.full_subscription, read.with_attributes) for read in reads] == [
        ("projects/p-roject/subscriptions/sub", True)
    ]
    message = PubsubMessage(b"{}", {"connection": "web"}, message_id="4711")
    assert pubsub.received(message, Timestamp(micros=1_700_000_000_000_001)) == Received(
        b"{}", {"connection": "web"}, Micros(1_700_000_000_000_001), delivery_id="4711"
    )


def test_our_own_source_gives_what_that_one_gives(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, stream.host)
    before = time.time_ns() // 1000
    ids = stream.subscription.publish([b"one", b"two"], connection="web")
    reading = Subscriber.of(stream.subscription.name)
    messages: list[Received] = []
    try:
        while len(messages) < len(ids):
            batch = reading.next_batch(1.0)
            messages += batch.messages if batch else ()
    finally:
        Subscriber.close()
    messages.sort(key=lambda received: received.payload)
    assert [received.delivery_id for received in messages] == ids
    assert [(received.payload, received.attributes) for received in messages] == [
        (b"one", {"connection": "web"}),
        (b"two", {"connection": "web"}),
    ]
    assert all(received.published_at and received.published_at >= before - 1000 for received in messages)


IMMOVABLE = """
import sys
import pipeline.__main__
import pipeline.run
pipeline.run.stop = lambda: None
sys.exit(pipeline.__main__.main())
"""


def test_a_second_signal_ends_the_job_at_once(stream: Stream) -> None:
    stream.publish(shuffled(Random(7), history(Random(7), 40, PEOPLE)))
    with subprocess.Popen(
        [sys.executable, "-c", IMMOVABLE, *stream.arguments()],
        cwd=ROOT,
        env={**os.environ, EMULATOR: stream.host},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        wait_until("the job opens the warehouse", stream.file.exists)
        process.send_signal(signal.SIGINT)
        assert "stopping" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 130
    stream.complete()
    stream.check()


class Bundles:
    """The reader's bundles without a runner: it claims every position, and no watermark was restored, unless a test
    says otherwise."""

    def __init__(self, subscription: str) -> None:
        self.subscription = subscription
        self.tracker, self.estimator = mock.Mock(), mock.Mock()
        self.tracker.current_restriction.return_value.start = 0
        self.estimator.current_watermark.return_value = None

    def pulled(self, batches: int) -> Subscriber:
        """The process's subscriber, once so many batches wait in it."""
        held = Subscriber.of(self.subscription)
        wait_until("they are pulled", lambda: len(held._ready) == batches)
        return held

    def bundle(self) -> Iterator[WindowedValue]:
        """What the reader gives in one bundle."""
        return pubsub._PullFn(self.subscription).process(0, mock.Mock(), self.tracker, self.estimator)


@pytest.fixture
def reader(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bundles]:
    monkeypatch.setenv(EMULATOR, stream.host)
    yield Bundles(stream.subscription.name)
    Subscriber.close()


def test_what_waits_for_a_bundle_stays_leased_however_long_that_takes(stream: Stream, reader: Bundles) -> None:
    stream.publish([b"one"])
    held = reader.pulled(1)
    (batch,) = held._ready
    batch.leased_until -= 700.0
    leased_until = batch.leased_until
    wait_until("its lease is extended", lambda: batch.leased_until > leased_until + 700.0)
    assert held._held == {batch}, "it is neither let go nor pulled a second time"
    assert held.next_batch(0) is batch
    assert batch.claimed_at is not None
    batch.claimed_at -= 601.0
    wait_until("what a bundle failed to write is let go", lambda: batch not in held._held)


def test_a_batch_whose_claim_fails_is_left_for_the_next_bundle(stream: Stream, reader: Bundles) -> None:
    reader.tracker.try_claim.return_value = False
    stream.publish([b"one"])
    held = reader.pulled(1)
    assert list(reader.bundle()) == []
    assert len(held._ready) == 1
    assert held._ready[0].claimed_at is None


def test_a_bundle_ends_in_time_though_there_is_more(
    stream: Stream, reader: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "_REQUEST_IDS", 1)
    monkeypatch.setattr(pubsub, "_BUNDLE_S", 0.2)
    stream.publish([b"%d" % number for number in range(50)])
    held = reader.pulled(50)
    seen = 0
    for _ in reader.bundle():
        time.sleep(0.05)  # what follows the source is slow
        seen += 1
    assert 1 <= seen < 20
    assert len(held._ready) == 50 - seen


@pytest.mark.parametrize(("bound", "limit", "expected"), [("_BUNDLE_MESSAGES", 3, 3), ("_BUNDLE_BYTES", 1, 1)])
def test_a_bundle_has_no_more_than_its_bound(
    bound: str, limit: int, expected: int, stream: Stream, reader: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "_REQUEST_IDS", 1)
    monkeypatch.setattr(pubsub, "_BUNDLE_S", 60.0)
    monkeypatch.setattr(pubsub, bound, limit)
    stream.publish([b"%d" % number for number in range(10)])
    held = reader.pulled(10)
    assert len(list(reader.bundle())) == expected
    assert len(held._ready) == 10 - expected


def test_what_is_received_and_its_lag_are_reported_with_every_batch(
    stream: Stream, reader: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "_REQUEST_IDS", 1)
    stream.publish([b"one", b"two"])
    held = reader.pulled(2)
    batch = held.next_batch(0)
    assert batch is not None
    counts = ReportedCounts()
    with metrics.observed_by(counts):
        next(reader.bundle())
        assert counts.messages == 1, "before the bundle ends"
        assert counts.lag_ms() is None
        held.acknowledge([batch])
        list(reader.bundle())
        lag_ms = counts.lag_ms()
    assert lag_ms is not None
    assert 0 <= lag_ms < 1000 * PATIENCE_S


def test_no_message_is_behind_a_watermark_that_a_checkpoint_has_restored(stream: Stream, reader: Bundles) -> None:
    restored = Timestamp(micros=time.time_ns() // 1000 + 60_000_000)
    reader.estimator.current_watermark.return_value = restored
    stream.publish([b"one"])
    reader.pulled(1)
    (value,) = reader.bundle()
    assert value.timestamp == restored
