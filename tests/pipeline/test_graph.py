"""The graph: what a running job can be updated by. Every transform under a label that stays, every coder declared."""

from __future__ import annotations

import re
from dataclasses import replace

import apache_beam as beam
import pytest
from apache_beam.pipeline import AppliedPTransform
from apache_beam.pvalue import PCollection
from apache_beam.utils.timestamp import Duration

from pipeline.graph import build
from pipeline.options import parse
from pipeline.warehouses import JobRun, open_warehouse
from schemas.tables import Timestamp
from tests.golden.__main__ import DATAFLOW, Labels
from tests.templates.launched import LAUNCHES

SUBSCRIPTION = "--input_subscription=projects/acme-web/subscriptions/calls"
FILES = f"--input={__file__}"
DUCKDB = "--warehouse=duckdb:///never-opened.duckdb"
BIGQUERY = "--warehouse=bigquery://acme-data/segment"
ON_FILES = [FILES, DUCKDB]
ON_BOTH = [*ON_FILES, SUBSCRIPTION]


def transforms(arguments: list[str], runner: str | None = None) -> list[AppliedPTransform]:
    """The transforms of a job that goes on from a log."""
    settings, options = parse(arguments)
    settings = replace(settings, runner=runner or settings.runner)
    pipeline = beam.Pipeline(options=options)
    now = Timestamp(1_700_000_000_000_000)
    build(pipeline, settings, open_warehouse(settings.warehouse), JobRun(now, now, now, not settings.streaming))
    labels = Labels()
    pipeline.visit(labels)
    return [transform for transform in labels.transforms if transform.full_label]


def stages(arguments: list[str], runner: str | None = None) -> set[str]:
    """The labels of its outermost transforms."""
    return {transform.full_label.partition("/")[0] for transform in transforms(arguments, runner)}


@pytest.mark.parametrize("arguments", [ON_FILES, ON_BOTH], ids=["files", "both"])
def test_no_label_is_made_up_by_beam(arguments: list[str]) -> None:
    """Beam makes one of a class or a function, which a refactoring changes. What stands inside a transform of Beam's is
    Beam's to name."""
    made_up = [
        transform.full_label
        for transform in transforms(arguments)
        if "(" in transform.full_label.rpartition("/")[2]
        and (transform.parent is None or not type(transform.parent.transform).__module__.startswith("apache_beam."))
    ]
    assert made_up == []


def test_the_graph_is_read_as_it_is_drawn() -> None:
    assert stages(ON_FILES) >= {
        "ReadFiles",
        "Parse",
        "Classify",
        "ReadLog",
        "ParseHistory",
        "MapAccounts",
        "ResolveIdentities",
        "FoldAccounts",
        "WriteEvents",
        "WriteIdentityCalls",
        "WriteDeadLetters",
        "WriteContacts",
        "Publish",
    }


DEDUPLICATED: list[tuple[str, list[str], str, bool]] = [
    ("files, which are there to be read again", [FILES, BIGQUERY], "FnApiRunner", True),
    ("a subscription on Dataflow, whose state outlives a worker", [SUBSCRIPTION, BIGQUERY], "DataflowRunner", True),
    ("it is turned off", [SUBSCRIPTION, BIGQUERY, "--deduplicate_for=0"], "DataflowRunner", False),
    ("a subscription on Prism, which forgets what was acknowledged", [SUBSCRIPTION, BIGQUERY], "PrismRunner", False),
    ("a warehouse that enforces keys", ON_FILES, "FnApiRunner", False),
]


@pytest.mark.parametrize(
    ("what", "arguments", "runner", "is_there"), DEDUPLICATED, ids=[each[0] for each in DEDUPLICATED]
)
def test_events_wait_for_others_where_nothing_can_be_lost_by_it(
    what: str, arguments: list[str], runner: str, is_there: bool
) -> None:
    built = stages(arguments, runner)
    assert "WriteEvents" in built
    assert ("Deduplicate" in built) is is_there


@pytest.mark.parametrize(("runner", "seconds"), [("DataflowRunner", 60 * 86_400), ("PrismRunner", 60)])
def test_a_window_is_kept_for_as_long_as_its_source_may_be_late(runner: str, seconds: int) -> None:
    kept = [
        output.windowing.allowed_lateness
        for each in transforms([SUBSCRIPTION, BIGQUERY], runner)
        if each.full_label.endswith("/Window") and not each.full_label.startswith("Publish")
        for output in each.outputs.values()
        if isinstance(output, PCollection)
    ]
    assert kept == [Duration(seconds=seconds)] * 5, "one for each step with a key"


@pytest.mark.parametrize("name", LAUNCHES)
def test_what_a_running_job_keeps_is_in_a_declared_encoding(name: str) -> None:
    """Of what the runner keeps between two elements, state and what waits for a key, nothing is a pickle: those name
    classes, and outlive no refactoring. Beam's own primitives are no pickles."""
    lines = (DATAFLOW / f"{name}.txt").read_text("utf-8").splitlines()
    stage, kept = "", []
    for line in lines:
        if line.startswith(" "):
            kept.append((stage.split("/")[0], line.strip()))
        else:
            stage = line
    ours = [each for each in kept if each[0].startswith(("ResolveIdentities", "FoldAccounts", "Write"))]
    assert len(ours) >= 5
    assert [each for each in ours if not re.search("in encoding [0-9]", each[1])] == []
