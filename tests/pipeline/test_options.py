"""The command line: what it comes to, and the one line that each mistake gets."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import pickle
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, MatchResult
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.runner import create_runner
from apache_beam.testing.test_pipeline import TestPipeline

from pipeline.errors import UsageError
from pipeline.job_kind import JobKind
from pipeline.options import SegmentOptions, Settings, options_without_secrets, parse, template_arguments
from pipeline.sources.directory import Directory
from pipeline.sources.files import Files
from pipeline.sources.pubsub import Subscription
from pipeline.sources.redelivery import Redelivery
from schemas.tables import Timestamp
from transforms.core.connections import DEFAULT

INPUT = "--input=a.jsonl"
WAREHOUSE = "--warehouse=duckdb:///w.duckdb"
BIGQUERY = "--warehouse=bigquery://acme-web/segment"
SUBSCRIPTION = "--input_subscription=projects/acme-data/subscriptions/segment"
OTHER_LOG = (WAREHOUSE, "--rebuild", "--log_from=duckdb:///o.duckdb")
DATAFLOW = "--runner=DataflowRunner --region=europe-west1"

GIVEN = Settings(
    sources=(Files(("a.jsonl",)),),
    as_of=None,
    log_from=None,
    history="warehouse",
    warehouse="duckdb:///w.duckdb",
    create=True,
    update=False,
    connections=DEFAULT,
    connection=None,
    alias_window=60.0,
    deduplicate_for=86400.0,
    event_shards=16,
    snapshot=None,
    snapshot_every=60.0,
    runner="FnApiRunner",
    kind=JobKind.BATCH,
    in_process=True,
)
CALLS = Subscription("projects/acme-data/subscriptions/segment", native=False)
INBOX = Directory("/folder", ("default",))
FOLLOWING = replace(GIVEN, sources=(CALLS,), runner="PrismRunner", kind=JobKind.STREAMING, in_process=True)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few files, and a bucket with two."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.jsonl",
        "b.jsonl.gz",
        "c[1].jsonl",
        "d,e.jsonl",
        "folder/f.jsonl",
        "folder/more/g.jsonl",
        "days/1/h.gz",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "c.yaml").write_text("connections: [{name: Marketing site}, {name: Shop, project_ids: [x]}]")
    (tmp_path / "alike.yaml").write_text("connections: [{name: My shop}, {name: my-shop, project_ids: [x]}]")
    (tmp_path / "bad.yaml").write_text("connections: [{nam: x}]")
    local = FileSystems.match

    def match(patterns: list[str]) -> list[MatchResult]:
        bucket = {"gs://b/x.jsonl": ["x"], "gs://b/*.jsonl": ["x"], "gs://b/folder/*": ["y"], "gs://b/secret*": ["s"]}
        if patterns in (["gs://b/secret"], ["gs://closed/*"]):
            raise BeamIOError("Match operation failed", {patterns[0]: BeamIOError("denied", {"x": OSError("403")})})
        if not patterns[0].startswith("gs://"):
            return local(patterns)
        found = [
            FileMetadata("gs://b/secret" if name == "s" else "gs://b/x.jsonl", 1)
            for name in bucket.get(patterns[0], ())
        ]
        return [MatchResult(patterns[0], found)]

    monkeypatch.setattr(FileSystems, "match", match)
    monkeypatch.setattr(FileSystems, "exists", lambda path: True)
    return tmp_path


@pytest.mark.parametrize(
    ("what", "line", "expected"),
    [
        ("files alone", [INPUT, WAREHOUSE], GIVEN),
        ("values after a space", ["--warehouse", "duckdb:///w.duckdb", "--input", "a.jsonl"], GIVEN),
        (
            "several inputs, each once",
            [WAREHOUSE, "--input=folder/*.jsonl, a.jsonl", "--input=b.jsonl.gz", "--input=a.jsonl"],
            replace(GIVEN, sources=(Files(("./folder/*.jsonl", "a.jsonl", "b.jsonl.gz")),)),
        ),
        (
            "a pattern that begins with a wildcard",
            [WAREHOUSE, "--input=*.jsonl"],
            replace(GIVEN, sources=(Files(("./*.jsonl",)),)),
        ),
        (
            "a file in a bucket",
            [WAREHOUSE, "--input=gs://b/x.jsonl"],
            replace(GIVEN, sources=(Files(("gs://b/x.jsonl",)),)),
        ),
        (
            "files in a bucket",
            [WAREHOUSE, "--input=gs://b/*.jsonl"],
            replace(GIVEN, sources=(Files(("gs://b/*.jsonl",)),)),
        ),
        ("a subscription", [WAREHOUSE, SUBSCRIPTION], FOLLOWING),
        ("a directory", [WAREHOUSE, "--input_directory=/folder"], replace(FOLLOWING, sources=(INBOX,))),
        (
            "a subscription after files",
            [WAREHOUSE, SUBSCRIPTION, INPUT],
            replace(FOLLOWING, sources=(*GIVEN.sources, CALLS)),
        ),
        (
            "a project in a domain",
            [WAREHOUSE, "--input_subscription=projects/acme.com:web/subscriptions/calls"],
            replace(FOLLOWING, sources=(Subscription("projects/acme.com:web/subscriptions/calls", native=False),)),
        ),
        ("a rebuild", [WAREHOUSE, "--rebuild"], replace(GIVEN, sources=())),
        ("dead letters", [WAREHOUSE, "--redeliver=all"], replace(GIVEN, sources=(Redelivery(None),))),
        (
            "dead letters of some reasons",
            [WAREHOUSE, "--redeliver=missing_id, unknown_connection,missing_id"],
            replace(GIVEN, sources=(Redelivery(("missing_id", "unknown_connection")),)),
        ),
        ("a rebuild as templates ask for it", [WAREHOUSE, "--rebuild=true"], replace(GIVEN, sources=())),
        (
            "a rebuild of another log, as of a day",
            [*OTHER_LOG, "--as_of=2024-01-01"],
            replace(GIVEN, sources=(), as_of=Timestamp(1_704_067_200_000_000), log_from="duckdb:///o.duckdb"),
        ),
        ("no rebuild as templates ask for it", [WAREHOUSE, INPUT, "--rebuild=False"], GIVEN),
        ("no history", [WAREHOUSE, INPUT, "--history=none"], replace(GIVEN, history="none")),
        ("without --create", [INPUT, WAREHOUSE, "--create=false"], replace(GIVEN, create=False)),
        ("an update of a job that is not Dataflow's", [INPUT, WAREHOUSE, "--update"], GIVEN),
        ("BigQuery", [INPUT, "--warehouse=bigquery://p/d"], replace(GIVEN, warehouse="bigquery://p/d")),
        ("an absolute path", [INPUT, "--warehouse=duckdb:////x.db"], replace(GIVEN, warehouse="duckdb:////x.db")),
        ("the default's name", [WAREHOUSE, INPUT, "--connection=default"], replace(GIVEN, connection="default")),
        (
            "a copy to look at",
            [WAREHOUSE, INPUT, "--snapshot=s.duckdb", "--snapshot_every=5"],
            replace(GIVEN, snapshot="s.duckdb", snapshot_every=5.0),
        ),
        (
            "times",
            [WAREHOUSE, INPUT, "--alias_window=.5", "--deduplicate_for", "0", "--event_shards=64"],
            replace(GIVEN, alias_window=0.5, deduplicate_for=0.0, event_shards=64),
        ),
        (
            "a runner of one's own choice",
            [WAREHOUSE, INPUT, "--runner=PrismRunner"],
            replace(GIVEN, runner="PrismRunner", in_process=False),
        ),
        (
            "workers that are other processes",
            [WAREHOUSE, SUBSCRIPTION, "--environment_type=DOCKER"],
            replace(FOLLOWING, in_process=False),
        ),
        (
            "steps in this process, by name",
            [WAREHOUSE, SUBSCRIPTION, "--environment_type=LOOPBACK", "--job_endpoint=localhost:8099"],
            FOLLOWING,
        ),
        (
            "a job server that is there already",
            [WAREHOUSE, SUBSCRIPTION, "--job_endpoint=localhost:8099"],
            replace(FOLLOWING, in_process=False),
        ),
        (
            "another runner whose state outlives this process",
            [WAREHOUSE, SUBSCRIPTION, "--runner=FlinkRunner"],
            replace(FOLLOWING, runner="FlinkRunner", in_process=False),
        ),
        (
            "a runner, in short",
            [WAREHOUSE, INPUT, "--runner=direct"],
            replace(GIVEN, runner="DirectRunner", in_process=False),
        ),
        ("the runner that DirectRunner stands for", [WAREHOUSE, SUBSCRIPTION, "--runner=DirectRunner"], FOLLOWING),
        (
            "a runner by its class",
            [WAREHOUSE, INPUT, "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"],
            GIVEN,
        ),
        (
            "Dataflow",
            ["--input=gs://b/x.jsonl", BIGQUERY, *DATAFLOW.split(), "--project=acme-web"],
            replace(
                GIVEN,
                sources=(Files(("gs://b/x.jsonl",)),),
                warehouse="bigquery://acme-web/segment",
                runner="DataflowRunner",
                kind=JobKind.DATAFLOW_BATCH,
                in_process=False,
            ),
        ),
        (
            "an update on Dataflow",
            [
                "--warehouse=bigquery://acme-web/segment",
                *(SUBSCRIPTION, *DATAFLOW.split(), "--project=acme-web", "--update", "--job_name=calls"),
            ],
            replace(
                FOLLOWING,
                sources=(replace(CALLS, native=True),),
                warehouse="bigquery://acme-web/segment",
                runner="DataflowRunner",
                kind=JobKind.DATAFLOW_STREAMING,
                in_process=False,
                update=True,
            ),
        ),
    ],
)
def test_a_command_line_comes_to(what: str, line: list[str], expected: Settings) -> None:
    settings, options = parse(line)
    assert settings == expected
    standard = options.view_as(StandardOptions)
    assert (standard.runner, standard.streaming) == (settings.runner, not settings.kind.bounded)
    assert type(create_runner(standard.runner)).__name__ in (settings.runner, "SwitchingDirectRunner")


@pytest.mark.parametrize("workers", [0, 1, 64])
def test_a_number_of_workers_is_taken(workers: int) -> None:
    _, options = parse([WAREHOUSE, INPUT, f"--direct_num_workers={workers}"])
    assert options.view_as(DirectOptions).direct_num_workers == workers


def test_the_connections_file_is_read() -> None:
    settings, _ = parse([INPUT, WAREHOUSE, "--connections=c.yaml", "--connection", "Marketing site"])
    assert [connection.name for connection in settings.connections.connections] == ["Marketing site", "Shop"]
    assert settings.connection == "Marketing site"


def test_options_of_beam_are_passed_on() -> None:
    _, options = parse([INPUT, WAREHOUSE, "--num_workers=3", "--experiments=a,b", "--streaming"])
    assert options.view_as(WorkerOptions).num_workers == 3
    assert options.view_as(DebugOptions).experiments == ["a", "b"]
    assert options.view_as(StandardOptions).streaming
    assert options.get_all_options()["warehouse"] == "duckdb:///w.duckdb"


def test_a_view_of_the_options_is_made_once() -> None:
    _, options = parse([INPUT, WAREHOUSE, "--experiments=a"])
    view = options.view_as(DebugOptions)
    assert options.view_as(DebugOptions) is view
    view.experiments = ["b"]
    for copy in (deepcopy(options), pickle.loads(pickle.dumps(options))):
        copied = copy.view_as(DebugOptions)
        assert copied.experiments == ["b"]
        copied.experiments = ["c"]
        assert view.experiments == options.view_as(DebugOptions).experiments == ["b"]


def test_options_of_another_account_stay_here() -> None:
    """Beam leaves out the account that only the start of a job is for: no view may bring it back."""
    _, options = parse([INPUT, WAREHOUSE, "--impersonate_service_account=a@b.example"])
    assert options.view_as(GoogleCloudOptions).impersonate_service_account == "a@b.example"
    copy = pickle.loads(pickle.dumps(options))
    assert copy.view_as(GoogleCloudOptions).impersonate_service_account is None


def test_a_home_folder_is_found(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(files))
    settings, _ = parse([WAREHOUSE, "--input=~/folder/*"])
    assert settings.sources == (Files((f"{files}/folder/*",)),)


BAD_INPUT = "no such file; give a file, or a pattern, in quotes, that matches one"
TIMES = "give a number of seconds from"
FORMS = "give duckdb:///FILE or bigquery://PROJECT/DATASET"
SUBSCRIPTION_FORM = "give projects/PROJECT_ID/subscriptions/SUBSCRIPTION_ID"
REQUIRED = (
    "one of --input, --input_subscription, --input_directory, --redeliver and --rebuild is required; "
    "for example --input='calls/*.jsonl'"
)
LOG = "reads the identity_calls in the warehouse, as they were recorded, so it excludes"
TWICE = "is given more than once; give it once"
NO_TEXT = "is not text in UTF-8; write it in UTF-8"
LETTERS = "reads the dead letters in the warehouse, and nothing else, so it excludes"
REASONS = (
    "choose from too_large, invalid_json, unsupported_type, unknown_connection, invalid_field, missing_id, "
    "missing_field, out_of_partition_range, or all alone"
)
DESCRIBED = "--help and --help_beam say what it takes"
RUNNERS = "choose from FnApiRunner, PrismRunner, DirectRunner, DataflowRunner, FlinkRunner, SparkRunner"


@pytest.mark.parametrize(
    ("what", "line", "expected"),
    [
        ("nothing", [], REQUIRED),
        ("no input", [WAREHOUSE], REQUIRED),
        ("no input, in a template's way", [WAREHOUSE, "--rebuild=false"], REQUIRED),
        ("no warehouse", [INPUT], f"--warehouse: is required; {FORMS}"),
        (
            "a path for a warehouse",
            [INPUT, "--warehouse=w.duckdb"],
            "is not a warehouse's URL; give duckdb:///w.duckdb",
        ),
        ("two slashes", [INPUT, "--warehouse=duckdb://w.duckdb"], "is not the URL of a file; give duckdb:///w.duckdb"),
        ("no file in the URL", [INPUT, "--warehouse=duckdb:///"], "is not the URL of a file; give duckdb:///FILE"),
        (
            "another warehouse, with a password",
            [INPUT, "--warehouse=postgres://me:pa@ss@host/db"],
            f"--warehouse=postgres://me:REDACTED@host/db: is not a warehouse's URL; {FORMS}",
        ),
        (
            "a project without a dataset",
            [INPUT, "--warehouse=bigquery://acme-data"],
            "is not the URL of a dataset; give bigquery://PROJECT_ID/DATASET, such as bigquery://acme-data/segment",
        ),
        ("an empty warehouse", [INPUT, "--warehouse="], "--warehouse='': is empty; give it a value, or leave it out"),
        (
            "an unknown option",
            [INPUT, WAREHOUSE, "--qqq=1"],
            "--qqq: unknown option; --help and --help_beam show the options",
        ),
        ("a misspelt option", [WAREHOUSE, "--inputs=a"], "--inputs: unknown option; did you mean --input?"),
        (
            "a hyphen",
            [WAREHOUSE, "--alias-window", "3"],
            "--alias-window: unknown option; did you mean --alias_window?",
        ),
        ("an abbreviation", [INPUT, "--warehous=x"], "--warehous: unknown option; did you mean --warehouse?"),
        ("a misspelt option of Beam", [INPUT, WAREHOUSE, "--num_worker=3"], "did you mean --num_workers?"),
        ("one hyphen", [WAREHOUSE, "-input=a"], "-input: unknown option; did you mean --input?"),
        ("a secret after an unknown option", [INPUT, "--pass=hunter2"], "--pass: unknown option; "),
        (
            "a pattern that the shell expanded",
            [WAREHOUSE, "--input", "a.jsonl", "b.jsonl.gz"],
            "b.jsonl.gz: is not an option; files are given as --input='GLOB', in quotes",
        ),
        ("no value", [WAREHOUSE, "--input"], "--input: has no value; give --input=VALUE"),
        ("an option for a value", [WAREHOUSE, "--input", INPUT], "--input: has no value; give --input=VALUE"),
        ("a value for a switch", [INPUT, WAREHOUSE, "--streaming=yes"], "takes no value; give --streaming alone"),
        (
            "rebuild or not",
            [WAREHOUSE, "--rebuild=maybe"],
            "is neither true nor false; give one of them, or --rebuild alone",
        ),
        ("rebuild and files", [INPUT, WAREHOUSE, "--rebuild"], f"--rebuild: {LOG} --input; leave one of the two out"),
        (
            "rebuild and a subscription",
            [SUBSCRIPTION, WAREHOUSE, "--rebuild"],
            f"--rebuild: {LOG} --input_subscription",
        ),
        ("rebuild for one connection", [WAREHOUSE, "--rebuild", "--connection=default"], f"{LOG} --connection"),
        ("rebuild without history", [WAREHOUSE, "--rebuild", "--history=none"], f"{LOG} --history=none"),
        ("a time without a rebuild", [INPUT, WAREHOUSE, "--as_of=2024-01-01"], "--as_of=2024-01-01: is for a job that"),
        (
            "another log without a rebuild",
            [INPUT, WAREHOUSE, "--log_from=duckdb:///o.duckdb"],
            "--log_from=duckdb:///o.duckdb: is for a job that makes the keyed tables anew; add --rebuild, or leave it",
        ),
        (
            "a time of the warehouse itself",
            [WAREHOUSE, "--rebuild", "--as_of=2024-01-01"],
            "--as_of=2024-01-01: would leave this warehouse's contacts as they were then; give --log_from=URL as well",
        ),
        ("an empty time", [WAREHOUSE, "--rebuild", "--as_of="], "--as_of='': is empty; give it a value"),
        ("an empty log", [WAREHOUSE, "--rebuild", "--log_from="], "--log_from='': is empty; give it a value"),
        (
            "no time",
            [*OTHER_LOG, "--as_of=03/04/2024"],
            "--as_of=03/04/2024: is not a time; give one such as 2026-03-15",
        ),
        ("a time that comes", [*OTHER_LOG, "--as_of=9999-01-01"], "--as_of=9999-01-01: is in the future; give a time"),
        (
            "a log by its path",
            [WAREHOUSE, "--rebuild", "--log_from=o.duckdb"],
            "--log_from=o.duckdb: is not a warehouse's URL; give duckdb:///o.duckdb",
        ),
        (
            "the warehouse's own log",
            [WAREHOUSE, "--rebuild", "--log_from=duckdb:///folder/../w.duckdb"],
            "--log_from=duckdb:///folder/../w.duckdb: is --warehouse itself; leave it out, or name another",
        ),
        (
            "a local log on Dataflow",
            [BIGQUERY, "--rebuild", "--log_from=duckdb:///o.duckdb", *DATAFLOW.split(), "--project=acme-web"],
            "--log_from=duckdb:///o.duckdb: is a file of this machine, which Dataflow's workers cannot read; give big",
        ),
        ("rebuild and redeliver", [WAREHOUSE, "--rebuild", "--redeliver=all"], f"--rebuild: {LOG} --redeliver; "),
        (
            "an unknown reason",
            [WAREHOUSE, "--redeliver=missing_id,unknown"],
            f"--redeliver=missing_id,unknown: 'unknown' is not a reason of a dead letter; {REASONS}",
        ),
        (
            "all and another",
            [WAREHOUSE, "--redeliver=missing_id,all"],
            f"'all' is not a reason of a dead letter; {REASONS}",
        ),
        ("no reason", [WAREHOUSE, "--redeliver="], "--redeliver='': is empty; give it a value, or leave it out"),
        ("no reason at its end", [WAREHOUSE, "--redeliver=missing_id,"], f"a reason is empty; {REASONS}"),
        (
            "redeliver and files",
            [INPUT, WAREHOUSE, "--redeliver=all"],
            f"--redeliver=all: {LETTERS} --input; leave one",
        ),
        (
            "redeliver and a subscription",
            [SUBSCRIPTION, WAREHOUSE, "--redeliver=all"],
            f"{LETTERS} --input_subscription",
        ),
        ("redeliver and a directory", ["--input_directory=/folder", WAREHOUSE, "--redeliver=all"], LETTERS),
        ("a history", [INPUT, WAREHOUSE, "--history=file"], "--history=file: is unknown; choose from warehouse, none"),
        (
            "no time",
            [INPUT, WAREHOUSE, "--alias_window=1m"],
            "--alias_window=1m: is not a number; give one, such as 60",
        ),
        ("zero", [INPUT, WAREHOUSE, "--alias_window=0"], f"=0: is out of range; {TIMES} 0.001 to 31536000"),
        ("below zero", [INPUT, WAREHOUSE, "--alias_window", "-5"], "--alias_window=-5: is out of range"),
        ("not a number", [INPUT, WAREHOUSE, "--alias_window=nan"], "--alias_window=nan: is out of range"),
        ("for ever", [INPUT, WAREHOUSE, "--alias_window=inf"], "--alias_window=inf: is out of range"),
        ("too short for Beam", [INPUT, WAREHOUSE, "--alias_window=1e-9"], "--alias_window=1e-09: is out of range"),
        ("no shard at all", [INPUT, WAREHOUSE, "--event_shards=0"], "give a number from 1 to 1000"),
        (
            "a copy of a dataset",
            [INPUT, BIGQUERY, "--snapshot=s"],
            "--snapshot=s: copies a warehouse that is a file; big",
        ),
        ("a copy on itself", [INPUT, WAREHOUSE, "--snapshot=w.duckdb"], "--snapshot=w.duckdb: is the warehouse itself"),
        ("a copy without end", [INPUT, WAREHOUSE, "--snapshot_every=0"], "give a number of seconds from 0.1 to"),
        ("a copy of no name", [INPUT, WAREHOUSE, "--snapshot="], "is empty; give it a value, or leave it out"),
        ("remembering less than nothing", [INPUT, WAREHOUSE, "--deduplicate_for=-1"], f"{TIMES} 0 to 31536000"),
        ("no connections", [INPUT, WAREHOUSE, "--connections=no.yaml"], "--connections=no.yaml: no such file; "),
        (
            "a mistake in the connections",
            [INPUT, WAREHOUSE, "--connections=bad.yaml"],
            "--connections=bad.yaml, line 1, connections[0].nam: unknown key; did you mean name?",
        ),
        ("an empty name of a file", [INPUT, WAREHOUSE, "--connections="], "--connections='': is empty; "),
        (
            "an unknown connection",
            [INPUT, WAREHOUSE, "--connections=c.yaml", "--connection=Blog"],
            "--connection=Blog: no such connection; choose from Marketing site, Shop",
        ),
        (
            "a misspelt connection",
            [INPUT, WAREHOUSE, "--connections=c.yaml", "--connection=marketing Site"],
            "--connection='marketing Site': no such connection; did you mean Marketing site?",
        ),
        ("a connection of no file", [INPUT, WAREHOUSE, "--connection=x"], "no such connection; choose from default"),
        ("no file", [WAREHOUSE, "--input=x.jsonl"], f"--input=x.jsonl: {BAD_INPUT}"),
        ("no file among others", [WAREHOUSE, "--input=a.jsonl,x.jsonl"], f"--input=x.jsonl: {BAD_INPUT}"),
        ("no match", [WAREHOUSE, "--input=*.csv"], f"--input='*.csv': {BAD_INPUT}"),
        ("no folder", [WAREHOUSE, "--input=none/*"], f"--input='none/*': {BAD_INPUT}"),
        ("a line break in a name", [WAREHOUSE, "--input=x\ny"], f"--input='x\\ny': {BAD_INPUT}"),
        ("a folder", [WAREHOUSE, "--input=folder"], "is a folder; give the files in it, such as --input='folder/*'"),
        ("a folder of folders", [WAREHOUSE, "--input=days"], "such as --input='days/**'"),
        ("a folder with its slash", [WAREHOUSE, "--input=folder/"], "such as --input='folder/*'"),
        (
            "a comma in a name",
            [WAREHOUSE, "--input=d,e.jsonl"],
            f"--input=d: {BAD_INPUT}; a comma separates two: write ? for one in a name",
        ),
        (
            "brackets in a name",
            [WAREHOUSE, "--input=c[1].jsonl"],
            "no such file; this name reads as a pattern: write ? for each [ and * in it",
        ),
        (
            "no name",
            [WAREHOUSE, "--input="],
            "--input='': holds no name; give a file or a pattern on each side of a comma",
        ),
        ("a comma too many", [WAREHOUSE, "--input=a.jsonl,"], "--input=a.jsonl,: holds no name"),
        (
            "a pipe",
            [WAREHOUSE, "--input=pipe"],
            "--input=pipe: is not a regular file; write what it gives to a file first",
        ),
        ("a device", [WAREHOUSE, "--input=/dev/null"], "--input=/dev/null: is not a regular file"),
        ("standard input", [WAREHOUSE, "--input=-"], f"--input=-: {BAD_INPUT}"),
        (
            "an unknown scheme",
            [WAREHOUSE, "--input=ftp://host/x"],
            "is in no file system known here; give a local path or",
        ),
        ("nothing in a bucket", [WAREHOUSE, "--input=gs://b/none"], f"--input=gs://b/none: {BAD_INPUT}"),
        ("a folder in a bucket", [WAREHOUSE, "--input=gs://b/folder"], "is a folder; give the files in it"),
        ("a bucket", [WAREHOUSE, "--input=gs://b/"], "is a folder; give the files in it, such as --input='gs://b/*'"),
        ("a closed bucket", [WAREHOUSE, "--input=gs://closed/*"], "--input='gs://closed/*': cannot be read: 403; "),
        ("a closed file", [WAREHOUSE, "--input=gs://b/secret*"], "--input=gs://b/secret: cannot be read: 403; "),
        ("the short name of a subscription", [WAREHOUSE, "--input_subscription=x"], SUBSCRIPTION_FORM),
        (
            "a topic",
            [WAREHOUSE, "--input_subscription=projects/acme-web/topics/calls"],
            f"--input_subscription=projects/acme-web/topics/calls: is a topic; {SUBSCRIPTION_FORM}",
        ),
        (
            "the number of a project",
            [WAREHOUSE, "--input_subscription=projects/123456/subscriptions/calls"],
            f"is not the full name of a subscription; {SUBSCRIPTION_FORM}",
        ),
        ("a short project", [WAREHOUSE, "--input_subscription=projects/acme/subscriptions/calls"], SUBSCRIPTION_FORM),
        (
            "Google's names",
            [WAREHOUSE, "--input_subscription=projects/acme-web/subscriptions/goog1"],
            SUBSCRIPTION_FORM,
        ),
        (
            "a directory in a bucket",
            [WAREHOUSE, "--input_directory=gs://b/folder"],
            "--input_directory=gs://b/folder: is not a directory of this machine; give a local one",
        ),
        (
            "a directory on Dataflow",
            ["--input_directory=folder", BIGQUERY, *DATAFLOW.split(), "--project=acme-web"],
            "--input_directory=folder: is a directory of this machine, which Dataflow's workers cannot read; ",
        ),
        (
            "a directory of connections that fold alike",
            [WAREHOUSE, "--input_directory=folder", "--connections=alike.yaml"],
            "the connections 'My shop' and 'my-shop' both have the sub-directory my-shop; rename one of",
        ),
        ("two subscriptions", [WAREHOUSE, SUBSCRIPTION, f"{SUBSCRIPTION}2"], f"--input_subscription: {TWICE}"),
        ("one subscription twice", [WAREHOUSE, SUBSCRIPTION, SUBSCRIPTION], f"--input_subscription: {TWICE}"),
        ("two warehouses", [WAREHOUSE, INPUT, "--warehouse", "duckdb:///v.duckdb"], f"--warehouse: {TWICE}"),
        ("two times", [WAREHOUSE, INPUT, "--alias_window=5", "--alias_window=60"], f"--alias_window: {TWICE}"),
        ("a switch twice", [WAREHOUSE, "--rebuild", "--rebuild=true"], f"--rebuild: {TWICE}"),
        ("an option of Beam's twice", [WAREHOUSE, INPUT, "--num_workers=1", "--num_workers=1"], TWICE),
        ("a switch of Beam's twice", [WAREHOUSE, INPUT, "--streaming", "--streaming"], f"--streaming: {TWICE}"),
        ("a value that is no text", [WAREHOUSE, "--input=\udcff.jsonl"], f"--input='\\udcff.jsonl': {NO_TEXT}"),
        ("another one", [WAREHOUSE, INPUT, "--connection", "\udced\udca0"], f"'\\udced\\udca0': {NO_TEXT}"),
        ("half a surrogate", [WAREHOUSE, INPUT, "--connection=\ud800"], f"--connection='\\ud800': {NO_TEXT}"),
        ("an option that is no text", [WAREHOUSE, INPUT, "--\udcff=3"], f"'--\\udcff': {NO_TEXT}"),
        ("a warehouse that is no text", [INPUT, "--warehouse=duckdb:///\udcff"], f"'duckdb:///\\udcff': {NO_TEXT}"),
        ("a word that is no text", [INPUT, "\udcff"], f"'\\udcff': {NO_TEXT}"),
        (
            "an option of Beam's that is no text",
            [INPUT, WAREHOUSE, "--job_name=\udcff"],
            f"--job_name='\\udcff': {NO_TEXT}",
        ),
        ("an unknown runner", [INPUT, WAREHOUSE, "--runner=Storm"], f"--runner=Storm: is not a runner; {RUNNERS}"),
        ("a misspelt runner", [INPUT, WAREHOUSE, "--runner=fnapiruner"], "is not a runner; did you mean FnApiRunner?"),
        (
            "a runner that never fires a window",
            [SUBSCRIPTION, WAREHOUSE, "--runner=FnApiRunner"],
            "--runner=FnApiRunner: writes contacts and accounts only when its input has ended",
        ),
        (
            "a module for a runner",
            [INPUT, WAREHOUSE, "--runner=os.path"],
            f"--runner=os.path: is not a runner; {RUNNERS}",
        ),
        ("an unknown module", [INPUT, WAREHOUSE, "--runner=no.such"], "cannot be loaded: No module named 'no'; "),
        ("no runner", [INPUT, WAREHOUSE, "--runner="], f"--runner='': is not a runner; {RUNNERS}"),
        (
            "a value for Beam",
            [INPUT, WAREHOUSE, "--num_workers=x"],
            "--num_workers=x: is not a whole number; give one, such as 3",
        ),
        (
            "a choice of Beam's",
            [INPUT, WAREHOUSE, "--direct_running_mode", "x"],
            "--direct_running_mode=x: is unknown; choose from in_memory, multi_threading, multi_processing",
        ),
        ("JSON for Beam", [INPUT, WAREHOUSE, "--beam_services=x"], f"is nothing that it takes; {DESCRIBED}"),
        (
            "JSON that Beam trips over",
            [INPUT, "--gcs_custom_audit_entries={", WAREHOUSE],
            "--gcs_custom_audit_entries='{': cannot be read: Expecting property name",
        ),
        (
            "JSON of another kind than Beam wants",
            ["--gcs_custom_audit_entries", "[1]", INPUT, WAREHOUSE],
            "--gcs_custom_audit_entries='[1]': cannot be read: 'list' object",
        ),
        (
            "what Beam refuses without naming the option",
            [INPUT, WAREHOUSE, "--gcs_custom_audit_entry=" + 65 * "k"],
            f"in GCS custom audit entries exceeds the 64-character limit; {DESCRIBED}",
        ),
        (
            "workers below zero",
            [INPUT, WAREHOUSE, "--direct_num_workers=-5"],
            "--direct_num_workers=-5: is out of range; give a number from 1 to 64",
        ),
        (
            "workers without number",
            [INPUT, WAREHOUSE, "--direct_num_workers=1000"],
            "--direct_num_workers=1000: is out of range",
        ),
        (
            "processes",
            [INPUT, WAREHOUSE, "--direct_running_mode=multi_processing"],
            "multi_processing: starts processes, and only one can have the warehouse; ",
        ),
        (
            "a resource that is none",
            [INPUT, WAREHOUSE, "--resource_hint=min_ram=x"],
            "--resource_hint=min_ram=x: Resource hint min_ram has invalid value x; ",
        ),
        ("an unknown resource", [INPUT, WAREHOUSE, "--resource_hint=y"], "--resource_hint=y: "),
        (
            "a version that is none",
            [INPUT, WAREHOUSE, "--update_compatibility_version=x"],
            "=x: is not a version; give one of Beam",
        ),
        (
            "types at run time",
            [INPUT, WAREHOUSE, "--runtime_type_check"],
            "--runtime_type_check: checks types that the steps do not declare",
        ),
        (
            "types at run time, faster",
            [INPUT, WAREHOUSE, "--performance_runtime_type_check"],
            "--performance_runtime_type_check: checks types",
        ),
        (
            "a profile",
            [INPUT, WAREHOUSE, "--profile_cpu"],
            "--profile_cpu: needs a place for what it writes; give --profile_location=FOLDER",
        ),
        (
            "a profile of memory",
            [INPUT, WAREHOUSE, "--profile_memory"],
            "--profile_memory: needs a place for what it writes",
        ),
        (
            "splits of Beam's tests",
            [INPUT, WAREHOUSE, '--direct_test_splits={"a":1}'],
            "--direct_test_splits: is for Beam's own tests; leave it out",
        ),
        (
            "what Beam refuses in combination",
            [INPUT, WAREHOUSE, "--environment_type=PROCESS"],
            "--runner=FnApiRunner: Option process_command is required for environment type PROCESS",
        ),
        (
            "Dataflow without a project",
            ["--input=gs://b/x.jsonl", BIGQUERY, *DATAFLOW.split()],
            "--project: is required by DataflowRunner; give --project=...",
        ),
        (
            "a local warehouse on Dataflow",
            ["--input=gs://b/x.jsonl", WAREHOUSE, *DATAFLOW.split(), "--project=acme-web"],
            "--warehouse=duckdb:///w.duckdb: is a file of this machine, which Dataflow's workers cannot write; "
            "give bigquery://PROJECT/DATASET",
        ),
        (
            "a local input on Dataflow",
            [INPUT, BIGQUERY, *DATAFLOW.split(), "--project=acme-web"],
            "--input=a.jsonl: is a file of this machine, which Dataflow's workers cannot read; give gs://BUCKET/GLOB",
        ),
        (
            "at least once",
            [SUBSCRIPTION, WAREHOUSE, "--dataflow_service_options=streaming_mode_at_least_once"],
            "--dataflow_service_options=streaming_mode_at_least_once: would apply a message to the state of its keys "
            "several times, and what state counts would be wrong; leave it out: the job needs the default, exactly "
            "once",
        ),
        (
            "at least once among others",
            [SUBSCRIPTION, WAREHOUSE, "--dataflow_service_option=a,streaming_mode_at_least_once"],
            "--dataflow_service_options=streaming_mode_at_least_once: would apply a message to the state",
        ),
        (
            "at least once as an experiment",
            [SUBSCRIPTION, WAREHOUSE, "--experiments=use_runner_v2,streaming_mode_at_least_once"],
            "--experiments=streaming_mode_at_least_once: would apply a message to the state of its keys several times",
        ),
    ],
)
def test_a_mistake_gets_one_line(what: str, line: list[str], expected: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as refused:
        parse(line)
    line_shown = str(refused.value)
    assert expected in line_shown
    assert line_shown.isprintable()
    assert "hunter2" not in line_shown
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("what", "given", "expected"),
    [
        ("a value", ["--alias_window=10"], ["--alias_window=10"]),
        ("a switch that is on", ["--update=true", "--no_auth=True"], ["--update", "--no_auth"]),
        ("a switch that is off", ["--update=false"], []),
        ("a switch as it should be", ["--update"], ["--update"]),
        ("a switch with a value that says nothing", ["--update=soon"], ["--update=soon"]),
        ("an option of ours with an optional value", ["--rebuild=true"], ["--rebuild=true"]),
        ("an option that Beam does not know", ["--launcher_zone=a", "--rebuild"], ["--rebuild"]),
        ("what is no option", ["x.jsonl"], ["x.jsonl"]),
    ],
)
def test_the_arguments_of_a_template_are_read(
    what: str, given: list[str], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert template_arguments(given) == expected
    left_out = ["--launcher_zone: this version of Beam has no such option; it is left out"]
    assert caplog.messages == (left_out if what == "an option that Beam does not know" else [])


def test_a_file_that_may_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UsageError, match=r"^--input=\./a\.jsonl: cannot be read: Permission denied; "):
        parse([WAREHOUSE, "--input=a*"])


def test_a_file_that_goes_away_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSystems, "match", lambda patterns: [MatchResult(patterns[0], [FileMetadata("gone", 1)])])
    with pytest.raises(UsageError, match=r"^--input=gone: cannot be read: No such file or directory; "):
        parse([WAREHOUSE, INPUT])


def shown(capsys: pytest.CaptureFixture[str], option: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parse([INPUT, option])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_shows_our_options_each_with_its_default_and_an_example(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(shown(capsys, option).split())
    ours = argparse.ArgumentParser(add_help=False)
    SegmentOptions._add_argparse_args(ours)
    names = [action.dest for action in ours._actions]
    assert {"input", "rebuild", "warehouse"} <= set(names)
    for name in names:
        described = text.split(f" --{name} ", maxsplit=1)[1].split("Example: ", maxsplit=1)
        assert "Default: " in described[0]
        assert described[1].startswith(f"--{name}"), name
    assert "--help_beam" in text
    assert "--num_workers" not in text


def test_help_beam_shows_the_options_of_beam(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--help_beam")
    assert "--num_workers" in text
    assert "--runner" in text
    assert "--alias_window" not in text


@pytest.mark.parametrize(
    ("what", "line", "expected"),
    [
        ("nothing to hide", [INPUT, "--connection=Marketing site"], "--input=a.jsonl '--connection=Marketing site'"),
        ("a password in a URL", ["--warehouse=x://me:pa@ss@host/d"], "--warehouse=x://me:REDACTED@host/d"),
        ("a query", ["--x=y://h/d?a=1&password=p"], "'--x=y://h/d?a=REDACTED&password=REDACTED'"),
        ("a secret option", ["--s3_secret_access_key=k"], "--s3_secret_access_key=REDACTED"),
        ("a secret after a space", ["--s3_session_token", "-t", INPUT], "--s3_session_token REDACTED --input=a.jsonl"),
        ("a secret without a value", ["--s3_session_token", INPUT], "--s3_session_token --input=a.jsonl"),
        ("a connection string", ["--azure_connection_string=A=b;AccountKey=c"], "--azure_connection_string=REDACTED"),
        ("a secret in JSON", ['--x={"apiKey": "k", "b": 1}'], """'--x={"apiKey": "REDACTED", "b": 1}'"""),
        ("no secret", ["--dataflow_kms_key=projects/p"], "--dataflow_kms_key=projects/p"),
        ("bytes that are no text", ["--input=\udcff\n"], "'--input=\\udcff\\n'"),
    ],
)
def test_the_options_are_kept_without_secrets(what: str, line: list[str], expected: str) -> None:
    assert options_without_secrets(line) == expected


@pytest.mark.parametrize(
    ("what", "error", "expected"),
    [
        ("nothing but the problem", UsageError("is wrong"), "is wrong"),
        ("a value without an option", UsageError("is wrong", "stop", value="x y"), "'x y': is wrong; stop"),
        ("an option without a value", UsageError("is wrong", "stop", option="--x"), "--x: is wrong; stop"),
        (
            "everything",
            UsageError("is wrong", "stop", option="--x", value="y", where="line 3"),
            "--x=y, line 3: is wrong; stop",
        ),
        (
            "what would break the line or colour it",
            UsageError("a\r\nb", "\x1b[1m", option="--x", value="\u2028"),
            "--x='\\u2028': a\\r\\nb; \\x1b[1m",
        ),
        (
            "a long value, cut in its middle",
            UsageError("is wrong", option="--x", value="a" * 101 + "z" * 101),
            f"--x={'a' * 98}...{'z' * 98}: is wrong",
        ),
        ("a value of 200", UsageError("is wrong", option="--x", value="y" * 200), f"--x={'y' * 200}: is wrong"),
        ("a path, once", UsageError("/a/b is a folder", option="--x", value="/a/b"), "--x=/a/b: is a folder"),
        (
            "a path at the end, once",
            UsageError("there is no /a/b", option="--x", value="/a/b"),
            "--x=/a/b: there is no",
        ),
        ("a word that is not a path", UsageError("is a folder", value="folder"), "folder: is a folder"),
        ("a secret option", UsageError("is wrong", option="--api_key", value="k"), "--api_key=REDACTED: is wrong"),
        ("a secret in the problem", UsageError("no token=abc there"), "no token=REDACTED there"),
        ("a URL in the remedy", UsageError("no", "give x://me:pw@host"), "no; give x://me:REDACTED@host"),
    ],
)
def test_a_usage_error_is_one_line_without_secrets(what: str, error: UsageError, expected: str) -> None:
    assert str(error) == expected
    assert str(pickle.loads(pickle.dumps(error))) == expected


def test_other_pipelines_in_the_process_go_undisturbed() -> None:
    with contextlib.suppress(UsageError):
        parse([])
    TestPipeline(argv=[])
