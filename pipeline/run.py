"""Runs the job: settings in, tables and a summary out."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

import apache_beam as beam
import msgspec
from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from pipeline import allocators, fn_api_runner
from pipeline.errors import UsageError
from pipeline.graph import build
from pipeline.job_kind import BATCH_RUNNER, STREAMING_RUNNER, JobKind
from pipeline.options import Settings
from pipeline.plurals import counted
from pipeline.progress import Expected, Progress
from pipeline.snapshots import Snapshots
from pipeline.sources import Source
from pipeline.summary import Summary
from pipeline.warehouses import JobRun, LogNotEmptyError, Warehouse, kind_of, open_warehouse
from schemas.tables import IDENTITY_CALLS, Timestamp
from transforms import metrics
from transforms.core.connections import account_mappings

_log = logging.getLogger(__name__)

_LOG_FROM: Final = "--log_from"
_CONTACTS_QUERY: Final = (
    "SELECT external_id, name, email, account_name FROM contacts_resolved ORDER BY last_identified_at DESC LIMIT 10"
)
"""To try where there are contacts and no events, in the SQL of every warehouse."""
_SWITCH_S: Final = 0.0005
"""How long the writing thread of a job on files waits for Python's lock, at most; by default ten times as long."""
_COLLECT: Final = (50_000, 20, 50)
"""How seldom Python looks for cycles of garbage: a job makes next to none, and a look walks all that is alive."""


_IN_SUMMARY: Final = (
    *(metrics.READ, metrics.RECEIVED, metrics.LOST, metrics.REREAD),
    *(metrics.READ_BYTES, metrics.LOG_ROWS),
)
"""Counters that have a line of their own in the summary, or are for the progress alone."""


class _Running:
    """The sources of the job that this process runs. `stop` may come before there are any."""

    def __init__(self) -> None:
        self._sources: tuple[Source, ...] = ()
        self._stopping = threading.Event()

    @contextlib.contextmanager
    def reading(self, sources: tuple[Source, ...]) -> Iterator[None]:
        """Has `stop` reach these sources while the block lasts."""
        self._sources = sources
        try:
            if self._stopping.is_set():
                self.stop()
            yield
        finally:
            self._sources = ()
            self._stopping.clear()

    def stop(self) -> None:
        self._stopping.set()
        for source in self._sources:
            source.stop()


_RUNNING: Final = _Running()


def run(settings: Settings, options: PipelineOptions, shown_options: str) -> Summary:
    """Runs the job to its end. Raises UsageError where it cannot start; every other error is the job's failure, and
    what was written until then stays: the same command goes on from there."""
    if settings.kind is JobKind.STREAMING:
        allocators.settle()  # before there are many threads
    _check(settings.sources)
    with _runner(settings, options), _interpreter_for_jobs(bounded=settings.kind.bounded):
        return _run(settings, options, shown_options)


def _runner(settings: Settings, options: PipelineOptions) -> AbstractContextManager[None]:
    """What the job's runner needs while it runs."""
    if settings.runner == BATCH_RUNNER:
        return fn_api_runner.quick()
    if settings.runner != STREAMING_RUNNER:
        return contextlib.nullcontext()
    from pipeline import prism  # with gRPC's services, which a job on files does not need

    return prism.started(options)


def _run(settings: Settings, options: PipelineOptions, shown_options: str) -> Summary:
    warehouse = open_warehouse(settings.warehouse, create=settings.create, update=settings.update)
    log = _log_of(settings)
    started = time.monotonic()
    try:
        job, pipeline = _prepared(settings, options, shown_options, warehouse, log)
        progress = _progress(settings, warehouse if log is None else log, job)
        with _RUNNING.reading(settings.sources), progress, _snapshots(settings) as snapshots:
            result = pipeline.run()
            result.wait_until_finish()
        warehouse.finish(job)
        if snapshots is not None:
            snapshots.renew()
        rows = warehouse.row_counts()
    except RuntimeError:
        failures = (warehouse.explain(), _failure(log), *(source.explain() for source in settings.sources))
        if (failure := next(filter(None, failures), None)) is not None:
            raise failure from None
        raise
    finally:
        unacknowledged = sum(source.close() for source in settings.sources)
        warehouse.close()
        if log is not None:
            log.close()
    if unacknowledged:
        messages = counted(unacknowledged, "message")
        _log.warning("%s could not be acknowledged; those come again, and count once", messages)
    query = warehouse.sample_query if log is None else _CONTACTS_QUERY
    return _summary(result.metrics(), settings.sources, warehouse, query, rows, time.monotonic() - started)


def launch(settings: Settings, options: PipelineOptions, shown_options: str) -> PipelineResult:
    """Hands the job to a runner that goes on by itself, and does not wait: for templates. Its last step enters its end.
    Raises UsageError where it cannot start."""
    _check(settings.sources)
    warehouse = open_warehouse(settings.warehouse, create=settings.create, update=settings.update)
    log = _log_of(settings)
    try:
        _, pipeline = _prepared(settings, options, shown_options, warehouse, log)
        return pipeline.run()
    finally:
        warehouse.close()
        if log is not None:
            log.close()


def stop() -> None:
    """Has a job without end read no more, write what it has read, close its windows, and end. Any thread, and a
    signal's handler, may call it."""
    _RUNNING.stop()


def _progress(settings: Settings, warehouse: Warehouse, job: JobRun) -> Progress:
    """Shows how far the job is: of what ends by itself, its part; of what does not, the rows of the tables."""
    if not settings.kind.bounded:
        return Progress(rows=warehouse.row_counts)
    history = warehouse.row_counts().get(IDENTITY_CALLS.name, 0) if job.log_until is not None else 0
    return Progress(expected=Expected(bytes=sum(source.bytes for source in settings.sources), log_rows=history))


def _snapshots(settings: Settings) -> contextlib.AbstractContextManager[Snapshots | None]:
    """Keeps the copy of the warehouse, where one is asked for, while the block lasts."""
    if settings.snapshot is None:
        return contextlib.nullcontext()
    snapshot = kind_of(settings.warehouse).snapshot(settings.warehouse, settings.snapshot)
    return Snapshots(snapshot, settings.snapshot, settings.snapshot_every)


def _check(sources: tuple[Source, ...]) -> None:
    for source in sources:
        source.check()


def _prepared(
    settings: Settings, options: PipelineOptions, shown_options: str, warehouse: Warehouse, log: Warehouse | None
) -> tuple[JobRun, beam.Pipeline]:
    """Enters the job in the warehouse, and builds its graph. A log of another one is opened before: where it cannot be
    read, nothing is made."""
    log_until = None if log is None else _opened(log, settings)
    try:
        job = warehouse.start(
            bounded=settings.kind.bounded,
            runner=settings.runner,
            options=shown_options,
            history=settings.history == "warehouse" and log is None,
            new=log is not None or not all(source.reads_warehouse for source in settings.sources),
            account_mappings=account_mappings(settings.connections).decode(),
        )
    except LogNotEmptyError:
        if log is None:
            raise
        noun = kind_of(settings.warehouse).noun
        problem = "has a log of its own, and contacts made from another one's would be wrong"
        raise UsageError(problem, f"name a new {noun}", option="--warehouse", value=settings.warehouse) from None
    if log_until is not None:
        job = msgspec.structs.replace(job, log_until=log_until)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, settings, warehouse, job, log)
    return job, pipeline


def _log_of(settings: Settings) -> Warehouse | None:
    """The warehouse whose log is read in the place of the job's own, None where it is the job's own."""
    return None if settings.log_from is None else open_warehouse(settings.log_from)


def _opened(log: Warehouse, settings: Settings) -> Timestamp:
    """Opens the other warehouse; returns how far its log goes. Raises UsageError where there is none."""
    try:
        until = log.open_log()
    except UsageError as error:
        raise error.of_option(_LOG_FROM) from None
    if until is None:
        problem, remedy = "has no identity_calls yet", "name a warehouse that a job has filled"
        raise UsageError(problem, remedy, option=_LOG_FROM, value=settings.log_from)
    return until


def _failure(log: Warehouse | None) -> UsageError | None:
    """Why another warehouse's log could be read no longer."""
    failure = None if log is None else log.explain()
    return None if failure is None else failure.of_option(_LOG_FROM)


@contextlib.contextmanager
def _interpreter_for_jobs(*, bounded: bool) -> Iterator[None]:
    """Sets Python's garbage collection and thread switching to what a job needs, while the block lasts. A job without
    end has many threads for its runner's messages, and loses by switching between them more often."""
    is_enabled, thresholds, switch_s = gc.isenabled(), gc.get_threshold(), sys.getswitchinterval()
    gc.freeze()  # collections need not walk what was loaded: it is never garbage
    gc.set_threshold(*_COLLECT)
    gc.enable()
    if bounded:
        sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(switch_s)
        gc.set_threshold(*thresholds)
        if not is_enabled:
            gc.disable()
        gc.unfreeze()


def _summary(
    results: MetricResults,
    sources: tuple[Source, ...],
    warehouse: Warehouse,
    query: str,
    rows: Mapping[str, int],
    elapsed_s: float,
) -> Summary:
    """`rows` are those that the tables have at the end."""
    counts = metrics.counts(results)
    notes = {
        counter.phrase(count): count
        for counter in metrics.COUNTERS
        if not counter.labels and counter not in _IN_SUMMARY and (count := counts.get(counter.name, 0))
    }
    for counter in (metrics.UNREADABLE_TIMES, metrics.UNUSABLE_IDS):
        if by_field := metrics.family(counts, counter):
            fields = ", ".join(f"{field} {count:,}" for field, count in by_field.items())
            notes[f"{counter.phrase(sum(by_field.values()))} ({fields})"] = sum(by_field.values())
    unreadable_history = sum(metrics.family(counts, metrics.UNREADABLE_HISTORY).values())
    if unreadable_history:
        notes[metrics.UNREADABLE_HISTORY.phrase(unreadable_history)] = unreadable_history
    summary = Summary(
        read=counts.get(metrics.READ.name, 0),
        outcomes=metrics.family(counts, metrics.OUTCOMES),
        by_type=metrics.family(counts, metrics.TYPES),
        written=metrics.family(counts, metrics.WRITTEN),
        rows=rows,
        dead_letters=metrics.family(counts, metrics.DEAD_LETTERS),
        notes=notes,
        unreadable=metrics.noted(results, metrics.UNREADABLE_PARTS),
        lost=metrics.noted(results, metrics.LOST_FILES),
        elapsed_s=elapsed_s,
        warehouse_hint=warehouse.open_command(),
        query=query,
        reread=counts.get(metrics.REREAD.name, 0),
        unreadable_letters=metrics.family(counts, metrics.UNREADABLE_LETTERS),
    )
    if not summary.is_mostly_refused:
        return summary
    mistakes = (source.likely_mistake() for source in sources)
    return replace(summary, likely_mistake=next(filter(None, mistakes), ""))
