"""Pub/Sub as a source: each message of a subscription, stamped with the time it was published.

Dataflow reads with its own source. Elsewhere a splittable DoFn reads, which acknowledges a message when the bundle that
read it has been committed: what is fused with it has written the message's rows by then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import apache_beam as beam
import google.auth.exceptions
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils import timestamp
from apache_beam.utils.windowed_value import WindowedValue
from google.api_core import exceptions
from google.api_core.retry import Retry

from pipeline.errors import UsageError
from pipeline.sources.endless import END, Endless, advance, later
from pipeline.sources.subscriber import EMULATOR, FINAL, PulledBatch, Subscriber, connect, passes
from pipeline.sources.subscription_kind import refused
from pipeline.warehouses import JobRun, Warehouse
from schemas.tables import Timestamp
from transforms import metrics
from transforms.core.reader import Received

_READERS: Final = 2
_BUNDLE_S: Final = 0.5
_BUNDLE_MESSAGES: Final = 10_000
_BUNDLE_BYTES: Final = 16_000_000
"""How long a bundle gathers messages, and how many: a warehouse writes many rows for little more than one."""
_RESUME_S: Final = 0.1
_START_S: Final = 15.0


@dataclass(frozen=True)
class Subscription:
    """The messages of `projects/P/subscriptions/S`. `native` reads them by the runner's own source."""

    name: str
    native: bool

    label: ClassVar[str] = "PubSub"
    bounded: ClassVar[bool] = False
    reads_warehouse: ClassVar[bool] = False

    @property
    def may_be_late(self) -> bool:
        """Messages of Dataflow's own source may be, by as long as Pub/Sub keeps one. Ours never are."""
        return self.native

    @property
    def bytes(self) -> int:
        return 0

    def check(self) -> None:
        check_subscription(self.name)

    def read(self, warehouse: Warehouse, job: JobRun) -> ReadPubSub:
        return ReadPubSub(self.name, native=self.native)

    def read_blocks(self, job: JobRun) -> None:
        return None

    def stop(self) -> None:
        Subscriber.stop()

    def close(self) -> int:
        return Subscriber.close()

    def explain(self) -> Exception | None:
        failure = Subscriber.failure()
        return None if failure is None else explained(failure, self.name)

    def likely_mistake(self) -> str:
        return ""


class ReadPubSub(beam.PTransform):
    """PBegin → `Received`, one for each message of `projects/P/subscriptions/S`; its timestamp is the publish time.

    `native` reads by the runner's own source, whose messages may be late. Ours are never: one that was published before
    the watermark arrives with it.
    """

    def __init__(self, subscription: str, *, native: bool) -> None:
        super().__init__()
        self.subscription = subscription
        self.native = native

    def expand(self, begin: PBegin) -> PCollection[Received]:
        if self.native:
            messages = begin | "Read" >> ReadFromPubSub(subscription=self.subscription, with_attributes=True)
            return messages | "Received" >> beam.Map(received).with_output_types(Received)
        readers = begin | "Readers" >> beam.Create(range(_READERS))
        return readers | "Pull" >> beam.ParDo(_PullFn(self.subscription)).with_output_types(Received)


def received(
    message: PubsubMessage,
    published: Any = beam.DoFn.TimestampParam,
) -> Received:
    """A message of Beam's own source, whose timestamp is the publish time."""
    published_at = Timestamp(published.micros)
    return Received(message.data, message.attributes or {}, published_at, delivery_id=message.message_id)


class _PullFn(metrics.CountingFn):
    """Hands on what the process's subscriber has pulled, for a moment at a time."""

    def __init__(self, subscription: str) -> None:
        super().__init__()
        self.subscription = subscription

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        reader: int,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = beam.DoFn.RestrictionParam(Endless()),  # noqa: B008
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[WindowedValue]:
        subscriber = Subscriber.of(self.subscription)
        batches: list[PulledBatch] = []
        # Even where there will be none: a runner may finalize every bundle, which is an error without this.
        finalizer.register(partial(subscriber.acknowledge, batches))
        self._observe(subscriber)
        position = tracker.current_restriction().start
        end = time.monotonic() + _BUNDLE_S
        messages = size = 0
        # The position is claimed before the batch: one whose claim fails would be held by nobody.
        while self._has_room(end, messages, size) and tracker.try_claim(position):
            position += 1
            batch = subscriber.next_batch(end - time.monotonic())
            if batch is None:
                break
            batches.append(batch)
            messages += len(batch.ack_ids)
            size += batch.size
            self.tally[metrics.RECEIVED.name] += len(batch.ack_ids)
            self.tally.report()
            yield from self._stamped(batch, later(subscriber.watermark(), estimator))
        if subscriber.is_done:
            tracker.try_claim(END)
        else:
            advance(estimator, subscriber.watermark())
            tracker.defer_remainder(timestamp.Duration(_RESUME_S) if subscriber.is_stopping else None)

    def _has_room(self, end: float, messages: int, size: int) -> bool:
        return time.monotonic() < end and messages < _BUNDLE_MESSAGES and size < _BUNDLE_BYTES

    def _stamped(self, batch: PulledBatch, watermark: Timestamp) -> Iterator[WindowedValue]:
        windows = (GlobalWindow(),)
        messages, batch.messages = batch.messages, []
        for message in messages:
            arrived_at = message.published_at or watermark
            if arrived_at < watermark:
                arrived_at = watermark
                self.tally[metrics.LATE.name] += 1
            yield WindowedValue(message, timestamp.Timestamp(micros=arrived_at), windows)

    def _observe(self, subscriber: Subscriber) -> None:
        lags_ms, retries = subscriber.observed()
        for lag_ms in lags_ms:
            metrics.observe(metrics.LAG, lag_ms)
        if retries:
            self.tally[metrics.RETRIES.name] += retries


def check_subscription(name: str) -> None:
    """Raises UsageError where the subscription cannot be read from."""
    try:
        with connect() as client:
            subscription = client.get_subscription(
                subscription=name, retry=Retry(passes, timeout=_START_S), timeout=_START_S
            )
    except (*FINAL, exceptions.ServerError, exceptions.RetryError) as error:
        raise explained(error, name) from None
    if subscription.push_config.push_endpoint or subscription.bigquery_config.table:
        raise refused(name, "delivers by itself", "make another one of the type pull")


def explained(error: Exception, name: str) -> UsageError:
    """Why a subscription cannot be read from, for the user."""
    cause = error.cause if isinstance(error, exceptions.RetryError) else error
    message = getattr(cause, "message", None) or str(cause)
    if isinstance(cause, exceptions.NotFound):
        return refused(name, "there is no such subscription", "make it, or correct the name")
    if isinstance(cause, exceptions.Forbidden):
        remedy = "grant pubsub.subscriptions.consume and .get on it: roles/pubsub.subscriber and roles/pubsub.viewer"
        return refused(name, f"may not be read: {message}", remedy)
    if isinstance(cause, (google.auth.exceptions.GoogleAuthError, exceptions.Unauthorized)):
        remedy = f"run gcloud auth application-default login, or name an emulator in {EMULATOR}"
        return refused(name, "there are no Google Cloud credentials that are valid", remedy)
    if isinstance(cause, exceptions.ServerError):
        emulator = os.environ.get(EMULATOR)
        problem = f"Pub/Sub does not answer{f' at {EMULATOR}={emulator}' if emulator else ''}: {message}"
        return refused(name, problem, "start the emulator" if emulator else "look at the network")
    return refused(name, f"cannot be read: {message}", "make a subscription of the type pull")
