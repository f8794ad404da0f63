"""The script that makes the job's resources: what it runs, and that the Cloud SDK's own parsers take it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.templates import cloud_sdk

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "templates" / "setup.sh"
NAMES = {"PROJECT": "acme-web", "REGION": "europe-west1", "BUCKET": "acme-web-segment", "LOCATION": "EU"}
EVERYTHING = {
    **NAMES,
    "LAUNCHER": "group:data@acme.example",
    "SUBNETWORK": "regions/europe-west1/subnetworks/dataflow",
    "KEEP_ACKNOWLEDGED": "1",
    "SECRETS": "site-api-key site-write-key",
}
WORKER, BUILDER, RECEIVER = (
    f"serviceAccount:segment-{name}@acme-web.iam.gserviceaccount.com" for name in ("worker", "builder", "receiver")
)
SEGMENT = "serviceAccount:pubsub@segment-integrations.iam.gserviceaccount.com"


def run(folder: Path, *, exists: bool, **names: str) -> list[list[str]]:
    return cloud_sdk.run_by(str(SCRIPT), folder, exists=exists, **{**NAMES, **names})


def set_up(
    folder: Path, *, exists: bool = True, refused: Mapping[str, str] | None = None, **names: str
) -> cloud_sdk.Ran:
    """What the script does where commands are refused."""
    given = {**NAMES, "PAUSE": "0", **names}
    return cloud_sdk.ran(str(SCRIPT), folder, given, exists=exists, refused=refused)


def granted(commands: list[list[str]]) -> set[tuple[str, str, str]]:
    """Whom which role is granted on which kind of thing."""
    found = set()
    for command in commands:
        if "add-iam-policy-binding" in command:
            options = dict(word.split("=", 1) for word in command if word.startswith(("--member=", "--role=")))
            on = " ".join(command[1 : command.index("add-iam-policy-binding")])
            found.add((options["--member"], options["--role"].removeprefix("roles/"), on))
    return found


def made(commands: list[list[str]]) -> list[list[str]]:
    return [command for command in commands if "create" in command or "mk" in command]


def test_the_sdk_takes_every_command(tmp_path: Path) -> None:
    commands = run(tmp_path, exists=False, **EVERYTHING)
    assert len(commands) >= 40
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
        ["iam", "service-accounts", "create"],
        ["iam", "service-accounts", "create"],
    ]


def test_a_second_run_makes_nothing(tmp_path: Path) -> None:
    again = run(tmp_path, exists=True)
    assert made(again) == []
    others = [command for command in again if not {"describe", "show"} & set(command)]
    assert len(others) > 15
    assert all({"enable", "add-iam-policy-binding", "query"} & set(command) for command in others)


@pytest.mark.parametrize("keep", ["", "1"])
def test_a_subscription_keeps_what_nobody_reads_and_the_rest_only_if_told(keep: str, tmp_path: Path) -> None:
    done = set_up(tmp_path, exists=False, KEEP_ACKNOWLEDGED=keep)
    (created,) = (command for command in done.commands if command[1:4] == ["pubsub", "subscriptions", "create"])
    assert {"--expiration-period=never", "--message-retention-duration=31d", "--ack-deadline=600"} <= set(created)
    assert not [word for word in created if re.search("ordering|exactly-once|dead-letter", word)]
    assert ("--retain-acked-messages" in created) is bool(keep)
    assert ("USD a month" in done.errors) is bool(keep)


def test_the_price_that_is_told_is_that_of_what_is_kept() -> None:
    stored = 5_000 * 1_700 * 86_400 * 31
    assert round(stored / 2**40) == 21
    assert round(stored / 2**30 * 0.27, -2) == 5_700


def test_no_role_is_broader_than_it_must_be(tmp_path: Path) -> None:
    commands = run(tmp_path, exists=True, **EVERYTHING)
    images, bucket, project, topic = "artifacts repositories", "storage buckets", "projects", "pubsub topics"
    assert granted(commands) == {
        *((WORKER, f"dataflow.{role}", project) for role in ("worker", "viewer")),
        *((WORKER, f"bigquery.{role}", project) for role in ("jobUser", "readSessionUser")),
        *((WORKER, f"pubsub.{role}", "pubsub subscriptions") for role in ("subscriber", "viewer")),
        *((WORKER, f"storage.{role}", bucket) for role in ("objectAdmin", "legacyBucketReader")),
        (WORKER, "artifactregistry.reader", images),
        *((BUILDER, role, project) for role in ("cloudbuild.builds.builder", "logging.logWriter")),
        (BUILDER, "artifactregistry.writer", images),
        (BUILDER, "storage.objectViewer", bucket),
        (RECEIVER, "pubsub.publisher", topic),
        (RECEIVER, "secretmanager.secretAccessor", "secrets"),
        *(
            (EVERYTHING["LAUNCHER"], role, project)
            for role in ("dataflow.developer", "cloudbuild.builds.editor", "serviceusage.serviceUsageConsumer")
        ),
        *((EVERYTHING["LAUNCHER"], role, project) for role in ("logging.viewer", "run.admin")),
        *((EVERYTHING["LAUNCHER"], f"storage.{role}", bucket) for role in ("objectAdmin", "legacyBucketReader")),
        (EVERYTHING["LAUNCHER"], "iam.serviceAccountUser", "iam service-accounts"),
        (SEGMENT, "pubsub.publisher", topic),
    }
    (grant,) = (command[-1] for command in commands if command[0] == "bq" and "query" in command)
    assert grant == f'GRANT `roles/bigquery.dataEditor` ON SCHEMA `acme-web`.`segment` TO "{WORKER}"'


def test_the_receiver_reads_the_secrets_that_are_named_and_no_other(tmp_path: Path) -> None:
    commands = run(tmp_path, exists=False, SECRETS="one two")
    created = [command[3] for command in commands if command[1:3] == ["secrets", "create"]]
    readable = [
        (command[3], command[5]) for command in commands if command[1:3] == ["secrets", "add-iam-policy-binding"]
    ]
    assert created == ["one", "two"]
    assert readable == [(name, f"--member={RECEIVER}") for name in created]
    assert not [command for command in commands if "versions" in command]


def test_without_a_receiver_there_is_nothing_of_it(tmp_path: Path) -> None:
    commands = run(tmp_path, exists=False, RECEIVER="", SECRETS="one", LAUNCHER=EVERYTHING["LAUNCHER"])
    words = {word for command in commands for word in command}
    assert not [word for word in words if re.search(r"receiver|secret|roles/run\.|^run\.", word)]
    assert ["gcloud", "iam", "service-accounts", "create", "segment-worker"] in [command[:5] for command in commands]


def test_without_a_launcher_nobody_else_may_anything(tmp_path: Path) -> None:
    assert {member for member, _, _ in granted(run(tmp_path, exists=True))} == {WORKER, BUILDER, RECEIVER, SEGMENT}


def test_nobody_is_let_publish_where_nobody_is_to(tmp_path: Path) -> None:
    assert SEGMENT not in {member for member, _, _ in granted(run(tmp_path, exists=True, PUBLISHER=""))}


def test_the_document_and_the_script_let_the_same_account_publish(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "try.md").read_text("utf-8")
    document = (ROOT / "docs" / "dataflow.md").read_text("utf-8")
    assert re.findall(r"topics add-iam-policy-binding \S+ --member=(\S+) --role=(\S+)", page) == [
        (SEGMENT, "roles/pubsub.publisher")
    ]
    assert SEGMENT.removeprefix("serviceAccount:") in document
    assert "key of a" not in page.partition("## From Pub/Sub")[2].partition("**From Segment**")[2].partition("\n## ")[0]


OUTSIDER = f"""\
ERROR: (gcloud.pubsub.topics.add-iam-policy-binding) FAILED_PRECONDITION: One or more users named in the policy do not \
belong to a permitted customer.
- '@type': type.googleapis.com/google.rpc.PreconditionFailure
  violations:
  - description: User {SEGMENT.removeprefix("serviceAccount:")} is not in permitted organization.
"""
"""As users report it: https://github.com/MicrosoftDocs/azure-docs/issues/117449"""
PLACE = "HTTPError 412: 'us' violates constraint 'constraints/gcp.resourceLocations' on the resource 'buckets/b'."
POLICIES = [
    (
        "members from outside",
        "pubsub topics add-iam",
        OUTSIDER,
        "gcloud pubsub topics add-iam-policy-binding: ",
        "lift",
    ),
    ("places", "buckets create", PLACE, "gcloud storage buckets create: ", "set REGION and LOCATION"),
    (
        "accounts",
        "iam service-accounts create",
        "Service account creation is not allowed: constraints/iam.disableServiceAccountCreation",
        "gcloud iam service-accounts create: ",
        "have somebody who may make segment-worker, segment-builder and segment-receiver",
    ),
    (
        "another",
        "services enable",
        "Request is disallowed by organization's constraints/gcp.restrictServiceUsage\nfor project 1",
        "gcloud services enable --project=acme-web: ",
        "ask an organisation policy administrator",
    ),
]


@pytest.mark.parametrize(
    ("what", "command", "message", "start", "advice"), POLICIES, ids=[each[0] for each in POLICIES]
)
def test_what_an_organisation_forbids_is_told_in_one_line_with_what_to_do(
    what: str, command: str, message: str, start: str, advice: str, tmp_path: Path
) -> None:
    done = set_up(tmp_path, exists=False, refused={command: message, "networks describe": "there is none"})
    told = [line for line in done.errors.splitlines() if "there is no network" not in line]
    assert done.status == 1
    assert len(told) == 1
    assert told[0].startswith(f"templates/setup.sh: {start}")
    assert advice in told[0]


def test_whoever_may_not_publish_keeps_all_else_from_being_made_no_more(tmp_path: Path) -> None:
    done = set_up(tmp_path, exists=False, refused={f"--member={SEGMENT}": OUTSIDER})
    assert done.commands[-1][1:4] == ["pubsub", "topics", "add-iam-policy-binding"]
    assert {member for member, _, _ in granted(done.commands)} == {WORKER, BUILDER, RECEIVER, SEGMENT}


def test_any_other_error_is_shown_as_it_is(tmp_path: Path) -> None:
    done = set_up(tmp_path, refused={"services enable": "PERMISSION_DENIED: no billing account\nsecond line"})
    assert done.status == 1
    assert done.errors.startswith("PERMISSION_DENIED: no billing account\nsecond line\n")
    assert len(done.commands) == 1


def test_an_account_that_is_not_known_everywhere_yet_is_waited_for(tmp_path: Path) -> None:
    missing = "INVALID_ARGUMENT: Service account segment-worker@acme-web.iam.gserviceaccount.com does not exist."
    done = set_up(tmp_path, refused={"roles/dataflow.worker": missing})
    assert sum("--role=roles/dataflow.worker" in command for command in done.commands) == 24
    assert done.status == 1


WARNINGS = [
    ("no network named default", {}, {}, {"networks describe default": "none"}, "there is no network default"),
    ("no network of that name", {"NETWORK": "own"}, {}, {"networks describe own": "none"}, "there is no network own"),
    ("a network", {"NETWORK": "own"}, {}, {}, ""),
    ("a subnetwork", {"SUBNETWORK": "regions/r/subnetworks/own"}, {"subnets describe own": "True"}, {}, ""),
    (
        "a subnetwork without Private Google Access",
        {"SUBNETWORK": "regions/europe-west1/subnetworks/own"},
        {"subnets describe own": "False"},
        {},
        "subnets update own --region=europe-west1 --enable-private-ip-google-access",
    ),
    (
        "a subscription of an earlier release",
        {},
        {"value(retainAckedMessages)": "True"},
        {},
        "gcloud pubsub subscriptions update segment --project=acme-web --no-retain-acked-messages",
    ),
    ("one that is to be so", {"KEEP_ACKNOWLEDGED": "1"}, {"value(retainAckedMessages)": "True"}, {}, "and billed"),
    ("no public addresses", {}, {"org-policies describe": "DENY"}, {}, "launch with OPTIONS=--disable-public-ips"),
    ("a policy that cannot be read", {}, {}, {"org-policies describe": "PERMISSION_DENIED"}, ""),
]


@pytest.mark.parametrize(("what", "names", "answers", "refused", "told"), WARNINGS, ids=[each[0] for each in WARNINGS])
def test_what_a_launch_would_fail_by_is_told_before(
    what: str,
    names: dict[str, str],
    answers: dict[str, str],
    refused: dict[str, str],
    told: str,
    tmp_path: Path,
) -> None:
    given = {**NAMES, **names}
    done = cloud_sdk.ran(str(SCRIPT), tmp_path, given, exists=True, answers=answers, refused=refused)
    assert done.status == 0
    assert told in done.errors
    assert len(done.errors.splitlines()) == bool(told)


@pytest.mark.parametrize("name", ["PROJECT", "REGION", "BUCKET"])
def test_a_name_that_is_not_given_is_asked_for(name: str, tmp_path: Path) -> None:
    given = {each: value for each, value in NAMES.items() if each != name}
    with pytest.raises(subprocess.CalledProcessError):
        cloud_sdk.run_by(str(SCRIPT), tmp_path, exists=True, **given)
    assert (tmp_path / "record").read_text() == ""
