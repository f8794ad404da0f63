"""The graph: what a running job can be updated by. Every transform under a label that stays, every coder declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.pipeline import AppliedPTransform
from apache_beam.pvalue import PCollection
from apache_beam.utils.timestamp import Duration

from pipeline.graph import build
from pipeline.job_kind import JobKind
from pipeline.options import parse
from pipeline.sources.history import History
from pipeline.sources.pubsub import Subscription
from pipeline.warehouses import JobRun, open_warehouse
from schemas.tables import Timestamp
from tests.golden.__main__ import DATAFLOW, Labels
from tests.templates import launched
from tests.templates.launched import LAUNCHES
from tests.transforms.running_job import STEPS
from transforms.core.rules_version import RULES_VERSION

SUBSCRIPTION = "--input_subscription=projects/acme-web/subscriptions/calls"
HERE = Path(__file__).parent
FILES = f"--input={__file__}"
DUCKDB = "--warehouse=duckdb:///never-opened.duckdb"
BIGQUERY = "--warehouse=bigquery://acme-data/segment"
ON_FILES = [FILES, DUCKDB]
ON_BOTH = [*ON_FILES, SUBSCRIPTION]


def built(arguments: list[str], runner: str | None = None, *, rereads_log: bool = False) -> beam.Pipeline:
    """A job that goes on from a log. Files and a runner need not go together."""
    settings, options = parse(arguments)
    if runner is not None:
        kind = JobKind.of(bounded=settings.kind.bounded, runner=runner)
        sources = tuple(
            replace(source, native=kind.on_dataflow) if isinstance(source, Subscription) else source
            for source in settings.sources
        )
        in_process = settings.in_process and settings.runner == runner
        settings = replace(settings, runner=runner, kind=kind, sources=sources, in_process=in_process)
    pipeline = beam.Pipeline(options=options)
    now = Timestamp(1_700_000_000_000_000)
    job = JobRun(now, now, now, settings.kind.bounded, rereads_log=rereads_log)
    build(pipeline, settings, open_warehouse(settings.warehouse), job)
    return pipeline


def graph(arguments: list[str]) -> str:
    """What a job keeps, as `launched.graph` has it."""
    return launched.graph(built(arguments).to_runner_api())


def transforms(
    arguments: list[str], runner: str | None = None, *, rereads_log: bool = False
) -> list[AppliedPTransform]:
    """The transforms of a job."""
    labels = Labels()
    built(arguments, runner, rereads_log=rereads_log).visit(labels)
    return [transform for transform in labels.transforms if transform.full_label]


def stages(arguments: list[str], runner: str | None = None, *, rereads_log: bool = False) -> set[str]:
    """The labels of its outermost transforms."""
    everything = transforms(arguments, runner, rereads_log=rereads_log)
    return {transform.full_label.partition("/")[0] for transform in everything}


@pytest.mark.parametrize("arguments", [ON_FILES, ON_BOTH, ["--redeliver=all", DUCKDB], ["--redeliver=all", BIGQUERY]])
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
        "ReadBlocksFiles",
        f"ReadHistoryForRules{RULES_VERSION}",
        f"ParseHistoryForRules{RULES_VERSION}",
        "MapAccountsFiles",
        f"MapAccountsHistoryForRules{RULES_VERSION}",
        "ResolveInProcess",
        "WriteEventsFiles",
        "WriteIdentityCallsFiles",
        "WriteDeadLettersFiles",
        "WriteContacts",
        "Publish",
    }


@pytest.mark.parametrize("warehouse", [DUCKDB, BIGQUERY])
def test_dead_letters_that_are_read_again_leave_with_their_rows(warehouse: str) -> None:
    labels = stages(["--redeliver=all", warehouse])
    assert labels >= {"ReadDeadLetters", "RereadDeadLetters", "ReplaceDeadLetters", "MapAccountsDeadLetters", "Publish"}
    assert not {label for label in labels if label.startswith(("Parse", "Classify"))} - {
        f"ParseHistoryForRules{RULES_VERSION}"
    }


def test_bigquery_removes_letters_after_everything_that_they_have_become() -> None:
    everything = {each.full_label: each for each in transforms(["--redeliver=all", BIGQUERY])}
    removal = everything["ReplaceDeadLetters/Remove"]
    assert [side.pvalue.producer.full_label for side in removal.side_inputs] == ["ReplaceDeadLetters/Written/Element"]
    waited_for = {value.producer.full_label for value in everything["ReplaceDeadLetters/Written/Others"].inputs}
    steps = {"Events/Refused", "IdentityCalls/Logged", "IdentityCalls/Refused", "DeadLetters/Append"}
    assert waited_for == {f"ReplaceDeadLetters/{step}" for step in steps}


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
    labels = stages(arguments, runner)
    assert any(label.startswith("WriteEvents") for label in labels)
    assert ("Deduplicate" in labels) is is_there


def consumed(label: str, arguments: list[str], runner: str | None = None) -> set[str]:
    """The outermost transforms whose outputs the transform with this label takes, by way of Flattens."""
    everything = transforms(arguments, runner)
    producers = {
        output: transform
        for transform in everything
        for output in transform.outputs.values()
        if isinstance(output, PCollection)
    }
    labels: set[str] = set()
    pending = [value for transform in everything if transform.full_label == label for value in transform.inputs]
    while pending:
        producer = producers[pending.pop()]
        if isinstance(producer.transform, beam.Flatten):
            pending += producer.inputs
        else:
            labels.add(producer.full_label.partition("/")[0])
    return labels


def test_facts_flow_from_what_the_log_took() -> None:
    history = f"HistoryForRules{RULES_VERSION}"
    taken = {"Files": "WriteIdentityCallsFiles", "PubSub": "WriteIdentityCallsPubSub", history: f"Parse{history}"}
    assert consumed("MapAccounts", ON_BOTH, "FlinkRunner") == {*taken.values()}
    assert consumed("ResolveInProcess/Gather", ON_BOTH) == {f"MapAccounts{source}" for source in taken}
    assert {source: consumed(f"MapAccounts{source}", ON_BOTH) for source in taken} == {
        source: {label} for source, label in taken.items()
    }


def test_a_local_job_on_files_keeps_no_calls_but_their_joined_facts() -> None:
    """Its runner holds in memory what goes into a Flatten."""
    assert consumed("MapAccountsFiles", ON_FILES) == {"WriteIdentityCallsFiles"}
    history = f"HistoryForRules{RULES_VERSION}"
    assert consumed(f"MapAccounts{history}", ON_FILES) == {f"Parse{history}"}
    assert consumed("ResolveInProcess/Gather", ON_FILES) == {"MapAccountsFiles", f"MapAccounts{history}"}
    by_keys = transforms(ON_FILES, "FlinkRunner")
    assert {each.full_label for each in by_keys} >= {"MapAccountsFiles", f"MapAccounts{history}", "Persons", "Accounts"}


def test_the_log_is_read_under_a_label_of_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """So an update under newer rules reads it again, and one under the same rules does not."""
    same = stages([SUBSCRIPTION, BIGQUERY], "DataflowRunner")
    assert same == stages([SUBSCRIPTION, BIGQUERY], "DataflowRunner", rereads_log=True)
    monkeypatch.setattr(History, "label", f"HistoryForRules{RULES_VERSION + 1}")
    newer = stages([SUBSCRIPTION, BIGQUERY], "DataflowRunner")
    assert newer - same == {f"{step}HistoryForRules{RULES_VERSION + 1}" for step in ("Read", "Parse", "Arrive")}


def test_on_dataflow_the_last_step_enters_the_end_of_the_job() -> None:
    assert "End" in stages([FILES, BIGQUERY], "DataflowRunner")
    assert "End" in stages([SUBSCRIPTION, BIGQUERY], "DataflowRunner"), "when it is drained"
    assert "End" not in stages(ON_FILES), "there the job is waited for"


@pytest.mark.parametrize(
    ("runner", "seconds", "keyed"),
    [("DataflowRunner", 120, (*STEPS, "Parts")), ("FlinkRunner", 60, (*STEPS, "Parts")), ("PrismRunner", 60, ("All",))],
)
def test_a_window_is_kept_for_two_of_its_length_at_most(runner: str, seconds: int, keyed: Sequence[str]) -> None:
    kept = [
        gathering.inputs[0].windowing.allowed_lateness
        for gathering in transforms([SUBSCRIPTION, BIGQUERY], runner)
        if re.fullmatch("(ResolveIdentities|FoldAccounts|ResolveInProcess)/(.+/)?Gather", gathering.full_label)
    ]
    assert kept == [Duration(seconds=seconds)] * len(keyed), "each step with a key; all steps together in process"


@pytest.mark.parametrize("arguments", [[SUBSCRIPTION, DUCKDB], ON_FILES], ids=["a stream", "files"])
def test_on_this_machine_facts_go_in_parcels_and_the_steps_run_in_the_process(arguments: list[str]) -> None:
    here, elsewhere = (
        {each.full_label: each for each in transforms(arguments, runner)} for runner in (None, "FlinkRunner")
    )
    assert "Parcel" in repr(here["ResolveInProcess/Gather"].outputs[None].element_type)
    assert not [label for label in here if re.match("ResolveIdentities|FoldAccounts", label)]
    assert not [label for label in elsewhere if "InProcess" in label]


def test_what_may_come_late_is_stamped_before_its_facts_are_gathered() -> None:
    """On Dataflow: the subscription's messages, and the log when it is read again."""
    both = [FILES, SUBSCRIPTION, BIGQUERY]
    stamped = {f"Arrive{source}" for source in ("PubSub", f"HistoryForRules{RULES_VERSION}")}
    assert {label for label in stages(both, "DataflowRunner") if label.startswith("Arrive")} == stamped
    assert not [label for label in stages(both) if label.startswith("Arrive")], "on Prism nothing is ever late"


BEAMS = ("Tuple", "VarInt", "StrUtf8", "Bytes", "Boolean", "Iterable", "Nullable", "Timestamp", "PaneInfo")
"""Coders of Beam's that are no pickles."""
UNDECLARED = rf"\b(?!(?:{'|'.join(BEAMS)})\b)\w"


def kept(graph: str) -> Iterator[tuple[str, str, str]]:
    """(transform, what it keeps, how that is encoded or bounded) of each line of `launched.graph`."""
    transform = ""
    for line in graph.splitlines():
        if not line.startswith(" "):
            transform = line
            continue
        what, _, how = line.strip().partition(": " if ": " in line else " ")
        yield transform, what, how


def undeclared(graph: str) -> list[str]:
    """What a graph keeps in an encoding that outlives no refactoring: pickles name classes."""
    found = []
    for transform, what, how in kept(graph):
        if what == "restriction":  # of a reader that has no watermark of its own, the estimator's state is None
            how = how.removesuffix(", FastPrimitives)")
        if what == "side input":  # Dataflow's runner gives each a coder of its own; bounded jobs alone have them
            assert transform == "ReplaceDeadLetters/Remove" or transform.endswith(("/Load/Days", "/Element"))
        elif what == "keeps" or what.startswith(("state", "restriction")):
            names = re.sub(r"\w+ in encoding \d+", "", how)
            found += [f"{transform} {what} {how}"] if re.search(UNDECLARED, names) else []
    return found


@pytest.mark.parametrize("name", LAUNCHES)
def test_what_a_launched_job_keeps_is_in_a_declared_encoding(name: str) -> None:
    """State, what waits for a key, what crosses a shuffle, and where a reader stands."""
    graph = (DATAFLOW / f"{name}.txt").read_text("utf-8")
    assert len([line for line in kept(graph) if line[1] == "keeps"]) >= 5
    assert undeclared(graph) == []


@pytest.mark.parametrize(
    "arguments",
    [ON_FILES, ON_BOTH, [FILES, BIGQUERY], ["--redeliver=all", DUCKDB], [f"--input_directory={HERE}", DUCKDB]],
    ids=" ".join,
)
def test_what_a_local_job_keeps_is_in_a_declared_encoding(arguments: list[str]) -> None:
    assert undeclared(graph(arguments)) == []


def test_a_pickle_is_noticed() -> None:
    for coder in ("FastPrimitives", "Pickle", "DeterministicFastPrimitivesCoderV2", "Tuple(StrUtf8, FastPrimitives)"):
        assert undeclared(f"Some/GroupByKey\n    keeps {coder}\n") == [f"Some/GroupByKey keeps {coder}"]
    assert undeclared("Some/GroupByKey\n    keeps Tuple(StrUtf8, Iterable(Known in encoding 2))\n") == []


@pytest.mark.parametrize("name", ["streaming", "both"])
def test_a_launched_job_takes_nothing_late_by_more_than_two_windows_and_has_few_timers(name: str) -> None:
    """A timer for each key of a window is what lateness costs. Here are those of pages, which are set for the heaviest
    keys alone, and one for each shard of events and each bucket of keyed rows."""
    lines = list(kept((DATAFLOW / f"{name}.txt").read_text("utf-8")))
    late = {transform.split("/")[1]: how for transform, what, how in lines if what == "takes"}
    assert late == dict.fromkeys((*STEPS, "Parts"), "what is 120 s late")
    timers: dict[str, set[str]] = {}
    for transform, what, how in lines:
        if what.startswith("timer"):
            timers.setdefault(how, set()).add(transform)
    assert {transform.split("/")[1] for transform in timers.pop("next_page, EVENT_TIME")} == set(STEPS)
    assert timers.pop("flush, PROCESSING_TIME") == {"WriteEvents/Append"}
    buckets = timers.pop("give, PROCESSING_TIME")
    assert all(transform.startswith(("Write", "Publish/Sweep")) for transform in buckets)
    assert timers == {}


@pytest.mark.parametrize("name", LAUNCHES)
def test_what_a_step_defers_is_in_a_declared_encoding(name: str) -> None:
    lines = (DATAFLOW / f"{name}.txt").read_text("utf-8").splitlines()
    deferred = [line for line in lines if line.startswith("    restriction: ")]
    assert len(deferred) >= 5, "the history or dead letters, and the keys of each table"
    assert [line for line in deferred if not re.search("in encoding [0-9]", line)] == []
