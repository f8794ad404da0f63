"""Runs the job: settings in, tables and a summary out."""

from __future__ import annotations

import gc
import sys
import time

import apache_beam as beam
from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.errors import UsageError
from pipeline.graph import build
from pipeline.options import Settings
from pipeline.progress import TALLY, Progress
from pipeline.summary import Summary
from pipeline.warehouses import Warehouse, open_warehouse
from transforms import metrics

_SWITCH_S = 0.0005
"""How long the writing thread waits for Python's lock, at most; by default ten times as long."""

QUERY = "SELECT type, name, count(*) AS events FROM events GROUP BY ALL ORDER BY events DESC LIMIT 10"


def run(settings: Settings, options: PipelineOptions, shown_options: str) -> Summary:
    """Runs the job to its end. Raises UsageError where it cannot start; every other error is the job's failure, and
    what was written until then stays: the same command goes on from there."""
    if settings.input_subscription is not None:
        raise UsageError("this version reads files only", "give --input", option="--input_subscription")
    warehouse = open_warehouse(settings.warehouse, create=settings.create, update=settings.update)
    started = time.monotonic()
    try:
        job = warehouse.start(
            bounded=not settings.streaming,
            runner=settings.runner,
            options=shown_options,
            history=settings.history == "warehouse",
        )
        pipeline = beam.Pipeline(options=options)
        build(pipeline, settings, warehouse, job)
        gc.freeze()  # collections need not walk what was loaded: it is never garbage
        sys.setswitchinterval(_SWITCH_S)
        TALLY.clear()
        with Progress(TALLY):
            result = pipeline.run()
            result.wait_until_finish()
        warehouse.finish(job)
    finally:
        warehouse.close()
    return _summary(result.metrics(), warehouse, time.monotonic() - started)


def _summary(results: MetricResults, warehouse: Warehouse, elapsed_s: float) -> Summary:
    counted = metrics.counts(results)
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
