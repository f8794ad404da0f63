"""Runs the job: settings in, tables and a summary out."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from pipeline import allocators, prism
from pipeline.graph import build
from pipeline.options import UNBOUNDED_RUNNER, Settings
from pipeline.progress import TALLY, Progress
from pipeline.sources.pubsub import check_subscription, explained
from pipeline.sources.subscriber import Subscriber
from pipeline.summary import Summary
from pipeline.warehouses import JobRun, Warehouse, open_warehouse
from transforms import metrics

_log = logging.getLogger(__name__)

_SWITCH_S = 0.0005
"""How long the writing thread waits for Python's lock, at most; by default ten times as long."""
_COLLECT = (50_000, 20, 50)
"""How seldom Python looks for cycles of garbage: a job makes next to none, and a look walks all that is alive."""

QUERY = "SELECT type, name, count(*) AS events FROM events GROUP BY ALL ORDER BY events DESC LIMIT 10"


def run(settings: Settings, options: PipelineOptions, shown_options: str) -> Summary:
    """Runs the job to its end. Raises UsageError where it cannot start; every other error is the job's failure, and
    what was written until then stays: the same command goes on from there."""
    if settings.input_subscription is not None:
        allocators.settle()
        check_subscription(settings.input_subscription)
    with prism.started(options) if settings.runner == UNBOUNDED_RUNNER else contextlib.nullcontext():
        return _run(settings, options, shown_options)


def _run(settings: Settings, options: PipelineOptions, shown_options: str) -> Summary:
    warehouse = open_warehouse(settings.warehouse, create=settings.create, update=settings.update)
    started = time.monotonic()
    try:
        job, pipeline = _prepared(settings, options, shown_options, warehouse)
        gc.freeze()  # collections need not walk what was loaded: it is never garbage
        gc.set_threshold(*_COLLECT)
        sys.setswitchinterval(_SWITCH_S)
        TALLY.clear()
        with Progress(TALLY):
            result = pipeline.run()
            result.wait_until_finish()
        warehouse.finish(job)
    except RuntimeError:
        if settings.input_subscription is not None and (failure := Subscriber.failure()) is not None:
            raise explained(failure, settings.input_subscription) from None
        raise
    finally:
        unacknowledged = Subscriber.close()
        warehouse.close()
    if unacknowledged:
        _log.warning("%d messages could not be acknowledged; they come again, and count once", unacknowledged)
    return _summary(metrics.counts(result.metrics()), warehouse, time.monotonic() - started)


def launch(settings: Settings, options: PipelineOptions, shown_options: str) -> PipelineResult:
    """Hands the job to a runner that goes on by itself, and does not wait: for templates. Raises UsageError where it
    cannot start."""
    if settings.input_subscription is not None:
        check_subscription(settings.input_subscription)
    warehouse = open_warehouse(settings.warehouse, create=settings.create, update=settings.update)
    try:
        _, pipeline = _prepared(settings, options, shown_options, warehouse)
        return pipeline.run()
    finally:
        warehouse.close()


def _prepared(
    settings: Settings, options: PipelineOptions, shown_options: str, warehouse: Warehouse
) -> tuple[JobRun, beam.Pipeline]:
    """Enters the job in the warehouse, and builds its graph."""
    job = warehouse.start(
        bounded=not settings.streaming,
        runner=settings.runner,
        options=shown_options,
        history=settings.history == "warehouse",
    )
    pipeline = beam.Pipeline(options=options)
    build(pipeline, settings, warehouse, job)
    return job, pipeline


def stop() -> None:
    """Has a job on a subscription read no more, write what it has read, close its windows, and end. Any thread, and a
    signal's handler, may call it."""
    Subscriber.stop()


def _summary(counted: dict[str, int], warehouse: Warehouse, elapsed_s: float) -> Summary:
    notes = {
        counter.meaning: counted[counter.name]
        for counter in metrics.COUNTERS
        if not counter.labels and counter is not metrics.READ and counted.get(counter.name)
    }
    unreadable_history = sum(metrics.family(counted, metrics.UNREADABLE_HISTORY).values())
    if unreadable_history:
        notes[metrics.UNREADABLE_HISTORY.meaning] = unreadable_history
    return Summary(
        read=counted.get(metrics.READ.name, 0),
        outcomes=metrics.family(counted, metrics.OUTCOMES),
        by_type=metrics.family(counted, metrics.TYPES),
        written=metrics.family(counted, metrics.WRITTEN),
        dead_letters=metrics.family(counted, metrics.DEAD_LETTERS),
        notes=notes,
        unreadable=tuple(TALLY.unreadable),
        elapsed_s=elapsed_s,
        warehouse_hint=warehouse.open_command(),
        query=QUERY,
    )
