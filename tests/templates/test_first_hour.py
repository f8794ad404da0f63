"""The script that tries the job on a real project: what it runs, that each command's own parser takes it, and that it
leaves nothing behind."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.schema_command import main as create_tables
from pipeline.warehouses.bigquery import ddl
from receiver.sources import load_sources
from schemas import tables, views
from tests.schemas import googlesql
from tests.templates import cloud_sdk

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "templates" / "first_hour.sh"
NAMES = {"PROJECT": "acme-web", "REGION": "europe-west1", "PYTHON": "interpreter", "PAUSE": "0", "PATIENCE": "0"}
ANSWERS = {
    "AS jobs FROM": "jobs\n1",
    "AS events FROM": "events\n6",
    "AS through": "through\n1",
    "networks describe default": "default",
    "%{http_code}": "200 0.042",
}
"""What is answered to the queries that are waited for, and to the look at the network."""
PRESENT = ("bq show", "storage buckets describe", "pubsub topics describe")
"""Looks at what must not be there before."""


def hour(
    folder: Path,
    *arguments: str,
    exists: bool = False,
    refused: Mapping[str, str] | None = None,
    answers: Mapping[str, str] = ANSWERS,
    **names: str,
) -> cloud_sdk.Ran:
    """What the script does where nothing exists, and every command that is waited for has its answer at once."""
    line = " ".join(["cd", f"{ROOT};", str(SCRIPT), *arguments])
    others = ("make", "interpreter", "curl")
    given = {**NAMES, **names}
    return cloud_sdk.ran(line, folder, given, exists=exists, others=others, answers=answers, refused=refused)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> cloud_sdk.Ran:
    done = hour(tmp_path_factory.mktemp("hour"))
    assert (done.status, done.errors) == (0, "")
    return done


def steps(text: str) -> list[str]:
    """The numbers of the steps, in their order."""
    return re.findall(r"^==== (\d+)\. ", text, re.MULTILINE)


def test_every_step_is_taken_in_its_order(whole: cloud_sdk.Ran) -> None:
    written = re.findall(r'^step "(\d+)\. ', SCRIPT.read_text("utf-8"), re.MULTILINE)
    assert written == [str(number) for number in range(1, len(written) + 1)]
    assert steps(whole.output) == written


def test_the_sdk_takes_every_command(whole: cloud_sdk.Ran) -> None:
    sdks = [command for command in whole.commands if command[0] in {"gcloud", "bq"}]
    assert len(sdks) > 80
    # Of queries that differ in their SQL alone, one: each SQL is analyzed below.
    commands = list(
        {tuple(command[:-1]) if "query" in command else tuple(command): command for command in sdks}.values()
    )
    problems = cloud_sdk.problems(cloud_sdk.require(), commands)
    found = dict(zip(map(" ".join, commands), problems, strict=True))
    assert {command: problem for command, problem in found.items() if problem} == {}


def test_googlesql_takes_every_query(whole: cloud_sdk.Ran) -> None:
    analyzer = googlesql.available()
    for table in tables.ALL:
        analyzer.create(ddl.create_table(table, "acme-web.segment_first_hour"))
    for view in views.ALL:
        analyzer.create(ddl.create_view(view, "acme-web.segment_first_hour"))
    for place, name, columns in [
        ("segment_first_hour", "TABLE_OPTIONS", "table_name STRING, option_name STRING, option_value STRING"),
        ("segment_first_hour", "TABLES", "table_name STRING, upsert_stream_apply_watermark TIMESTAMP"),
        # https://cloud.google.com/bigquery/docs/information-schema-write-api
        (
            "region-europe-west1",
            "WRITE_API_TIMELINE",
            "start_timestamp TIMESTAMP, dataset_id STRING, table_id STRING, stream_type STRING, error_code STRING, "
            "total_requests INT64, total_rows INT64, total_input_bytes INT64",
        ),
    ]:
        analyzer.create(f"CREATE TABLE `acme-web`.`{place}`.INFORMATION_SCHEMA.{name} ({columns})")
    asked = [command[-1] for command in whole.commands if command[0] == "bq" and "query" in command]
    selects = [sql for sql in asked if sql.startswith("SELECT")]
    assert len(selects) > 12
    assert [sql for sql in asked if sql not in selects and not sql.startswith("GRANT ")] == []
    for sql in selects:
        analyzer.analyze(sql)


def test_the_programs_of_this_repository_know_every_option(whole: cloud_sdk.Ran) -> None:
    commands = [command[2:] for command in whole.commands if command[0] == "interpreter"]
    assert {module for module, *_ in commands} == {
        *("templates.append_probe", "schemas", "examples.generate", "examples.publish", "pipeline.audit")
    }
    for module, *arguments in commands:
        program = create_tables if module == "schemas" else importlib.import_module(module).main
        asked = [word for word in arguments if not word.startswith("-")]
        with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
            program([*asked, "--help"])
        known = set(re.findall(r"--[a-z]\w*", printed.getvalue()))
        assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= known, module


def made_by(target: str, commands: list[list[str]]) -> list[list[str]]:
    return [command for command in commands if command[:2] == ["make", target]]


@pytest.mark.parametrize("target", ["template", "receiver-image"])
def test_it_builds_as_the_account_that_it_made(target: str, whole: cloud_sdk.Ran) -> None:
    (make,) = made_by(target, whole.commands)
    assert "BUILDER=segment-first-hour-build@acme-web.iam.gserviceaccount.com" in make
    assert "REPOSITORY=segment-first-hour" in make


def test_the_receiver_is_deployed_twice_for_nobody_but_the_owner(whole: cloud_sdk.Ran, tmp_path: Path) -> None:
    deployments = made_by("receiver-deploy", whole.commands)
    assert [command[-1] for command in deployments] == [
        *("ACCESS=--no-allow-unauthenticated", "OPTIONS=--update-env-vars=REVISION=2")
    ]
    lines = [" ".join(map(shlex.quote, command)) for command in deployments]
    ran = cloud_sdk.run_by(f"cd {ROOT}\n" + "\n".join(lines), tmp_path, exists=True)
    assert cloud_sdk.problems(cloud_sdk.require(), ran) == ["", ""]
    for command in ran:
        assert {"segment-first-hour", "--no-allow-unauthenticated"} <= set(command)
        assert "--service-account=segment-first-hour-receive@acme-web.iam.gserviceaccount.com" in command
        assert any("--topic=projects/acme-web/topics/segment-first-hour," in word for word in command)
        assert any(
            word.endswith("=segment-first-hour-connections:latest,WRITE_KEY=segment-first-hour-key:1")
            for word in command
        )


def test_the_receiver_takes_its_connections(whole: cloud_sdk.Ran, tmp_path: Path) -> None:
    (content,) = re.findall(r"printf '(connections: .*)\\n'", SCRIPT.read_text("utf-8"))
    path = tmp_path / "connections.yaml"
    path.write_text(content, "utf-8")
    (connection,) = load_sources(str(path), {"WRITE_KEY": "key"}).connections
    assert connection.write_keys == ("key",)
    calls = [command for command in whole.commands if command[0] == "curl" and "-d" in command]
    assert len(calls) > 20
    assert all(json.loads(command[command.index("-d") + 1])["event"] for command in calls)
    assert "answered 200" in whole.output


def test_the_rows_of_interest_are_published(whole: cloud_sdk.Ran) -> None:
    text = SCRIPT.read_text("utf-8")
    for number in ("67.174118", "1760509016.282637"):
        assert text.count(number) == 2
    assert "for distance in -6 -11 2; do" in text


def made_and_removed(commands: list[list[str]]) -> tuple[set[str], set[str]]:
    """The kinds of things that were made, and that were removed."""
    made, removed = set(), set()
    for command in commands:
        words = [word for word in command if not word.startswith("-")]
        if words[:2] == ["make", "receiver-deploy"]:
            made.add("run services")
        elif "create" in words and words[0] == "gcloud" and words[1] != "alpha":
            made.add(" ".join(words[1 : words.index("create")]))
        elif "mk" in words:
            made.add("dataset")
        elif "delete" in words and words[1] != "alpha":
            removed.add(" ".join(words[1 : words.index("delete")]))
        elif "rm" in words:
            removed.add("dataset" if words[0] == "bq" else "storage buckets")
    return made, removed


EVERYTHING = {
    *("artifacts repositories", "storage buckets", "dataset", "pubsub topics", "pubsub subscriptions"),
    *("iam service-accounts", "secrets", "run services"),
}


def test_what_it_makes_it_removes(whole: cloud_sdk.Ran) -> None:
    made, removed = made_and_removed(whole.commands)
    assert made == removed == EVERYTHING
    granted = {
        tuple(command[4:6]) for command in whole.commands if command[1:3] == ["projects", "add-iam-policy-binding"]
    }
    revoked = {
        tuple(command[4:6]) for command in whole.commands if command[1:3] == ["projects", "remove-iam-policy-binding"]
    }
    assert granted == revoked
    assert len(granted) == 6
    assert [command for command in whole.commands if command[1:4] == ["dataflow", "jobs", "cancel"]]


def test_it_removes_nothing_if_told_to_keep_it(tmp_path: Path) -> None:
    done = hour(tmp_path, "--keep")
    assert done.status == 0
    assert made_and_removed(done.commands) == (EVERYTHING, set())
    assert "kept, as you asked" in done.output


@pytest.mark.parametrize("broken", ["services enable", "flex-template run"])
def test_a_step_that_fails_leaves_nothing_behind(broken: str, tmp_path: Path) -> None:
    done = hour(tmp_path, refused={broken: "it is refused"})
    assert done.status != 0
    assert made_and_removed(done.commands)[1] == EVERYTHING


def test_a_job_that_does_not_run_ends_it_with_its_log(tmp_path: Path) -> None:
    done = hour(tmp_path, refused={"state=Running": "none"})
    assert done.status == 2
    assert "templates/first_hour.sh: the job does not run: its log is above" in done.errors
    assert [command for command in done.commands if command[1:3] == ["logging", "read"]]
    assert "it runs: NOT within 0 s" in done.output


@pytest.mark.parametrize("look", PRESENT)
def test_it_refuses_to_run_where_something_exists(look: str, tmp_path: Path) -> None:
    done = hour(tmp_path, answers={look: "here it is"})
    assert done.status == 2
    assert re.fullmatch(r"templates/first_hour.sh: \w+ \S+ exists: .+\n", done.errors)
    assert made_and_removed(done.commands) == (set(), set())


def test_without_credentials_for_python_it_makes_nothing(tmp_path: Path) -> None:
    done = hour(tmp_path, refused={"print-access-token": "none"})
    assert done.status == 2
    assert "run gcloud auth application-default login" in done.errors
    assert len(done.commands) == 1


def test_a_launch_takes_the_options_of_the_network(tmp_path: Path) -> None:
    options = "--subnetwork=regions/europe-west1/subnetworks/own --disable-public-ips"
    launches = [
        command
        for command in hour(tmp_path, LAUNCH_OPTIONS=options).commands
        if command[1:4] == ["dataflow", "flex-template", "run"]
    ]
    assert len(launches) == 3
    assert all(set(options.split()) <= set(command) for command in launches)
    assert [("--update" in command) for command in launches] == [False, True, False]
    assert not any(cloud_sdk.problems(cloud_sdk.require(), launches))


SHELLCHECK = Path(sys.executable).with_name("shellcheck")
"""Of the environment that the tests run in."""


@pytest.mark.parametrize("script", sorted((ROOT / "templates").glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    checked = subprocess.run([SHELLCHECK, script], capture_output=True, text=True)
    assert checked.stdout == ""


@pytest.mark.parametrize("script", sorted((ROOT / "templates").glob("*.sh")), ids=lambda path: path.name)
def test_bash_can_read_it(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
