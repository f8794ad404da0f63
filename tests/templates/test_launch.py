"""What a launch sends to Dataflow, from the template's own parameters: the graph and the job."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from templates import launcher
from tests.dataflow import RUNNING, Dataflow, dataflow
from tests.golden.__main__ import DATAFLOW
from tests.templates.launched import IMAGE, LAUNCHES, graph, launch, summary
from tests.templates.test_metadata import PARAMETERS

GRAPH_CHANGED = """\
the graph of the launch `{name}` is not the one that running jobs have.

Dataflow updates a running job only where the new graph has every transform of the old one, by name, and the same
coders; a state is found by the name of its transform and decoded by the new coder. What changed decides how the next
release gets to running jobs (docs/runbook.md, "Update"):
  - transforms were added, or their order changed         update
  - a transform without state was renamed or removed      update with --transform-name-mappings
  - one that keeps state was renamed or removed, or       replace: drain the job, start a new one, which reads the
    a coder, or an encoding's version, changed            history; an update would lose the state, or be refused
Say which in the commit. To accept the new graph: python -m tests.golden --update
"""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Dataflow]:
    """Of each launch what was sent."""
    sent = {}
    for name, parameters in LAUNCHES.items():
        with dataflow(tmp_path_factory.mktemp(name)) as service:
            assert launch(service, parameters) == 0
        sent[name] = service
    return sent


def test_the_launches_use_every_parameter_of_the_template() -> None:
    assert {name for parameters in LAUNCHES.values() for name in parameters} == set(PARAMETERS)


@pytest.mark.parametrize("name", LAUNCHES)
def test_the_graph_is_the_one_that_running_jobs_have(services: Mapping[str, Dataflow], name: str) -> None:
    assert graph(services[name].graph()) == (DATAFLOW / f"{name}.txt").read_text("utf-8"), GRAPH_CHANGED.format(
        name=name
    )


@pytest.mark.parametrize("name", LAUNCHES)
def test_the_job_is_posted_as_it_was(services: Mapping[str, Dataflow], name: str) -> None:
    (posted,) = services[name].jobs
    assert summary(posted) == (DATAFLOW / f"{name}.json").read_text("utf-8"), (
        "if meant: python -m tests.golden --update"
    )


@pytest.mark.parametrize("name", LAUNCHES)
def test_workers_run_the_image_of_the_launcher_and_nothing_of_its_machine(
    services: Mapping[str, Dataflow], name: str
) -> None:
    shown = json.loads(summary(services[name].jobs[0]))
    assert shown["sdkImages"] == [IMAGE]
    assert shown["options"]["save_main_session"] is False
    assert shown["packages"] == ["submission_environment_dependencies.txt"]  # a list of names, for diagnosis
    assert shown["options"]["streaming"] is ("input_subscription" in LAUNCHES[name])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Dataflow]:
    with dataflow(tmp_path) as service:
        yield service


def test_another_image_for_the_workers_is_used(service: Dataflow) -> None:
    assert launch(service, LAUNCHES["backfill"], "--sdk_container_image=eu.gcr.io/acme-web/own:1") == 0
    assert json.loads(summary(service.jobs[0]))["sdkImages"] == ["eu.gcr.io/acme-web/own:1"]


def test_an_image_that_does_not_know_its_name_launches_nothing(
    service: Dataflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(launcher.IMAGE, raising=False)
    assert launcher.main([*service.options(), "--rebuild=true", "--warehouse=bigquery://acme-web/segment"]) == 2
    assert capsys.readouterr().err == (
        "segment-pipeline: --sdk_container_image: is not known: the name that the template's image was pushed under; "
        "build the image with --build-arg=IMAGE=NAME, or give NAME here\n"
    )


def test_an_update_asks_for_one(service: Dataflow) -> None:
    assert launch(service, LAUNCHES["streaming"], "--update=true") == 0
    assert service.jobs[0]["replaceJobId"] == RUNNING
    assert graph(service.graph()) == (DATAFLOW / "streaming.txt").read_text("utf-8")


def test_a_template_s_launcher_gets_the_job_as_a_file(service: Dataflow) -> None:
    """With `template_location` the job is written there, and Dataflow's own launcher posts it."""
    assert launch(service, LAUNCHES["backfill"], "--template_location=gs://acme-web-segment/staging/job_object") == 0
    assert service.jobs == []
    written = json.loads(service.objects["gs://acme-web-segment/staging/job_object"])
    assert summary(written) == (DATAFLOW / "backfill.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("what", "parameters", "others", "line"),
    [
        (
            "at least once",
            LAUNCHES["streaming"],
            ["--experiments=streaming_mode_at_least_once"],
            "segment-pipeline: --experiments=streaming_mode_at_least_once: would apply a message to the state of its "
            "keys several times, and what state counts would be wrong; leave it out: the job needs the default",
        ),
        (
            "no such file",
            {**LAUNCHES["backfill"], "input": "gs://acme-web-segment/none/*.jsonl"},
            [],
            "segment-pipeline: --input='gs://acme-web-segment/none/*.jsonl': no such file",
        ),
        (
            "no such connections file",
            {**LAUNCHES["backfill"], "connections": "gs://acme-web-segment/none.yaml"},
            [],
            "segment-pipeline: --connections=gs://acme-web-segment/none.yaml: no such file",
        ),
    ],
)
def test_a_mistake_ends_the_launch_in_one_line(
    what: str,
    parameters: Mapping[str, str],
    others: list[str],
    line: str,
    service: Dataflow,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert launch(service, parameters, *others) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)
    assert service.jobs == []
