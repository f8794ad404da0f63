"""The script that makes the job's resources: what it runs, and that the Cloud SDK's own parsers take it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.templates import cloud_sdk

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "templates" / "setup.sh"
NAMES = {"PROJECT": "acme-web", "REGION": "europe-west1", "BUCKET": "acme-web-segment", "LOCATION": "EU"}


def run(folder: Path, *, exists: bool) -> list[list[str]]:
    return cloud_sdk.run_by(str(SCRIPT), folder, exists=exists, **NAMES)


def made(commands: list[list[str]]) -> list[list[str]]:
    return [command for command in commands if "create" in command or "mk" in command]


def test_the_sdk_takes_every_command(tmp_path: Path) -> None:
    commands = run(tmp_path, exists=False)
    assert len(commands) > 20
    said = dict(zip(map(" ".join, commands), cloud_sdk.problems(cloud_sdk.require(), commands), strict=True))
    assert {command: problem for command, problem in said.items() if problem} == {}


def test_the_sdk_s_parsers_refuse_what_is_wrong() -> None:
    wrong = [
        ["gcloud", "pubsub", "topics", "create", "segment", "--projct=acme-web"],
        ["gcloud", "pubsub", "subscriptions", "create", "segment", "--message-retention-duration=31d"],
        ["gcloud", "storage", "bucket", "create", "gs://acme-web-segment"],
        ["bq", "mk", "--datasets", "acme-web:segment"],
    ]
    assert all(cloud_sdk.problems(cloud_sdk.require(), wrong))


def test_what_is_missing_is_made(tmp_path: Path) -> None:
    assert [command[1:4] for command in made(run(tmp_path, exists=False))] == [
        ["artifacts", "repositories", "create"],
        ["storage", "buckets", "create"],
        ["--location=EU", "mk", "--dataset"],
        ["pubsub", "topics", "create"],
        ["pubsub", "subscriptions", "create"],
        ["iam", "service-accounts", "create"],
    ]


def test_a_second_run_makes_nothing(tmp_path: Path) -> None:
    again = run(tmp_path, exists=True)
    assert made(again) == []
    others = [command for command in again if not {"describe", "show"} & set(command)]
    assert all({"enable", "add-iam-policy-binding", "query"} & set(command) for command in others)


def test_a_subscription_keeps_what_nobody_reads(tmp_path: Path) -> None:
    (created,) = (
        command for command in run(tmp_path, exists=False) if command[1:4] == ["pubsub", "subscriptions", "create"]
    )
    assert {"--expiration-period=never", "--message-retention-duration=31d", "--ack-deadline=600"} <= set(created)
    assert not [word for word in created if re.search("ordering|exactly-once|dead-letter", word)]


def test_no_role_is_broader_than_it_must_be(tmp_path: Path) -> None:
    commands = run(tmp_path, exists=True)
    granted = {word.removeprefix("--role=") for command in commands for word in command if word.startswith("--role=")}
    assert granted == {
        *("roles/dataflow.worker", "roles/dataflow.viewer", "roles/bigquery.jobUser", "roles/bigquery.readSessionUser"),
        *("roles/pubsub.subscriber", "roles/pubsub.viewer", "roles/pubsub.publisher"),
        *("roles/storage.objectUser", "roles/storage.legacyBucketReader", "roles/artifactregistry.reader"),
    }
    projects = [command for command in commands if command[1] == "projects"]
    assert len(projects) == 4


@pytest.mark.parametrize("name", ["PROJECT", "REGION", "BUCKET"])
def test_a_name_that_is_not_given_is_asked_for(name: str, tmp_path: Path) -> None:
    given = {each: value for each, value in NAMES.items() if each != name}
    with pytest.raises(subprocess.CalledProcessError):
        cloud_sdk.run_by(str(SCRIPT), tmp_path, exists=True, **given)
    assert (tmp_path / "record").read_text() == ""
