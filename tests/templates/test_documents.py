"""The launch document, the runbook and the receiver's document: every command for Google Cloud in them is run, with a
gcloud that does nothing, and what it would have done is read by the Cloud SDK's own parsers."""

from __future__ import annotations

import functools
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.templates import cloud_sdk
from tests.templates.test_metadata import PARAMETERS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "docs" / name for name in ("dataflow.md", "runbook.md")]
RECEIVER = ROOT / "docs" / "receiver.md"
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=[document.name for document in DOCUMENTS])
each_of_all = pytest.mark.parametrize(
    "document", [*DOCUMENTS, RECEIVER], ids=[document.name for document in [*DOCUMENTS, RECEIVER]]
)


def blocks(document: Path, language: str) -> list[str]:
    text = document.read_text("utf-8")
    if document == RECEIVER:  # what stands before is for this machine, and is run in tests/templates/test_receiver.py
        text = text.partition("\n## On Cloud Run\n")[2]
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


@functools.cache
def commands(document: Path, folder: Path) -> list[list[str]]:
    """What the document's commands run of the Cloud SDK, one after the other in one shell."""
    script = f"cd {ROOT}\n" + "".join(blocks(document, "sh"))
    return cloud_sdk.run_by(script, folder, exists=document == RECEIVER, others=("curl",))


@each_of_all
def test_the_sdk_takes_every_command(document: Path, tmp_path: Path) -> None:
    ran = [command for command in commands(document, tmp_path) if command[0] != "curl"]
    assert len(ran) > 10
    said = dict(zip(map(" ".join, ran), cloud_sdk.problems(cloud_sdk.require(), ran), strict=True))
    assert {command: problem for command, problem in said.items() if problem} == {}


@each_document
def test_a_launch_gives_the_template_what_it_takes(document: Path, tmp_path: Path) -> None:
    launches = [
        command for command in commands(document, tmp_path) if command[1:4] == ["dataflow", "flex-template", "run"]
    ]
    assert launches
    for command in launches:
        given = parameters(command)
        needed = {name for name, parameter in PARAMETERS.items() if not parameter["isOptional"]}
        assert needed <= set(given) <= set(PARAMETERS)
        for name, value in given.items():
            assert all(re.search(pattern, value) for pattern in PARAMETERS[name]["regexes"]), f"{name}={value}"


def parameters(command: list[str]) -> dict[str, str]:
    """The parameters of a launch, as gcloud splits them: by commas, or by what stands between circumflexes."""
    given: dict[str, str] = {}
    for word in command:
        if word.startswith("--parameters="):
            value = word.removeprefix("--parameters=")
            found = re.match(r"\^(.)\^(.*)", value)
            separator, value = (found[1], found[2]) if found else (",", value)
            given |= {name: each for name, _, each in (pair.partition("=") for pair in value.split(separator))}
    return given


def test_what_make_does_is_what_the_document_says(tmp_path: Path) -> None:
    ran = commands(DOCUMENTS[0], tmp_path)
    built = [command for command in ran if command[1:3] == ["builds", "submit"] or command[3:4] == ["build"]]
    assert len(built) == 4
    assert built[:2] == built[2:]
    streaming = [command for command in ran if command[1:5] == ["dataflow", "flex-template", "run", "segment"]][:2]
    made, plain = ([word for word in command if not word.startswith("--parameters")] for command in streaming)
    assert sorted(made) == sorted(plain)
    assert parameters(streaming[0]) == parameters(streaming[1])


def test_a_build_and_a_launch_go_where_they_are_told_to(tmp_path: Path) -> None:
    names = "PROJECT=acme-web REGION=europe-west3 BUCKET=acme-web-segment"
    where = "SUBNETWORK=regions/europe-west3/subnetworks/own NETWORK=own OPTIONS=--disable-public-ips"
    script = f"make template {names} BUILD_REGION=europe-west1\nmake launch {names} {where} PARAMETERS=a=b"
    build, _, launch = cloud_sdk.run_by(f"cd {ROOT}\n{script}", tmp_path, exists=False)
    assert "--region=europe-west1" in build
    assert (
        "--service-account=projects/acme-web/serviceAccounts/segment-builder@acme-web.iam.gserviceaccount.com" in build
    )
    assert "--gcs-source-staging-dir=gs://acme-web-segment/build" in build
    assert {"--network=own", "--subnetwork=regions/europe-west3/subnetworks/own", "--disable-public-ips"} <= set(launch)
    assert "--region=europe-west3" in launch
    assert not any(cloud_sdk.problems(cloud_sdk.require(), [build, launch]))


def test_what_make_does_for_the_receiver_is_what_its_document_says(tmp_path: Path) -> None:
    ran = commands(RECEIVER, tmp_path)
    built = [command for command in ran if command[1:3] == ["builds", "submit"]]
    deployed = [command for command in ran if command[1:3] == ["run", "deploy"]]
    assert (len(built), len(deployed)) == (2, 2)
    assert built[0] == built[1]
    assert sorted(deployed[0]) == sorted(deployed[1])


def test_a_build_by_an_account_of_its_own_logs_where_it_may() -> None:
    build = yaml.safe_load((ROOT / "templates" / "cloudbuild.yaml").read_text("utf-8"))
    assert build["options"] == {"logging": "CLOUD_LOGGING_ONLY"}


def test_the_sdk_takes_the_other_documents_commands() -> None:
    """Those that stand in a line of their own, and are not run here."""
    others = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = [re.sub(r"\\\n\s*", "", path.read_text("utf-8")) for path in others if path not in (*DOCUMENTS, RECEIVER)]
    lines = [line for text in texts for line in re.findall(r"^ *((?:gcloud|bq) .*)$", text, re.MULTILINE)]
    told = [shlex.split(line) for line in lines]
    assert len(told) > 8
    said = dict(zip(lines, cloud_sdk.problems(cloud_sdk.require(), told), strict=True))
    assert {line: problem for line, problem in said.items() if problem} == {}


def test_each_way_to_launch_has_an_example(tmp_path: Path) -> None:
    sources = {"input", "input_subscription", "rebuild"}
    launched = [parameters(command) for document in DOCUMENTS for command in commands(document, tmp_path)]
    assert {frozenset(sources & set(each)) for each in launched} >= {
        frozenset({"input_subscription"}),
        frozenset({"input"}),
        frozenset({"input", "input_subscription"}),
        frozenset({"rebuild"}),
    }
