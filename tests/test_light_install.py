"""What is installed without extras runs the sample; what needs Google's clients says so in a line."""

from __future__ import annotations

import pytest

from tests.light_install import Ran, left_out, ran, requirements

INSTALL = "needs Google's clients: pip install 'segment-bigquery[gcp]'"
SAMPLE = ("--input=examples/events.jsonl", "--connections=examples/connections.yaml")
FILE = "--warehouse=duckdb:///{folder}/warehouse.duckdb"
OTHER = "--warehouse=duckdb:///{folder}/then.duckdb"
DATASET = "--warehouse=bigquery://acme-data/segment"
CONNECTIONS = "--connections={folder}/connections.yaml"


COMMANDS = {
    "sample": ("pipeline", *SAMPLE, FILE),
    "as of then": ("pipeline", "--rebuild", "--as_of=2025-03-15", FILE.replace("warehouse=", "log_from="), OTHER),
    "statements": ("schemas", "ddl"),
    "dataset": ("pipeline", *SAMPLE, DATASET),
    "files in gs://": ("pipeline", "--input=gs://acme-exports/2026/*.jsonl.gz", FILE),
    "connections in gs://": ("pipeline", SAMPLE[0], "--connections=gs://acme-exports/connections.yaml", FILE),
    "subscription": ("pipeline", "--input_subscription=projects/acme-web/subscriptions/calls", FILE),
    "Dataflow": ("pipeline", SAMPLE[0], FILE, "--runner=DataflowRunner"),
    "audit": ("pipeline.audit", DATASET),
    "create": ("schemas", "create", DATASET),
    "receiver": ("receiver", "--topic=projects/acme-web/topics/calls", CONNECTIONS),
    "emulator": ("examples.stream", "--emulator", "--warehouse={folder}/stream.duckdb"),
    "publish": ("examples.publish", "--topic=projects/acme-web/topics/calls"),
    "probe": ("templates.append_probe", DATASET),
    "launcher": ("templates.launcher", "--sdk_container_image=image", SAMPLE[0], DATASET, "--runner=DataflowRunner"),
    "check in gs://": ("pipeline.check", "--input=gs://acme-exports/2026/*.jsonl.gz"),
    "check": ("segment_pipeline", "check", *SAMPLE),
    "explain": ("pipeline.explain", FILE, "--id=usr_4278e4b98d"),
}
"""In one process, one after the other: a module that another imports is run before it."""
WORK = ("sample", "statements", "check", "explain", "as of then")
"""Those that need none of Google's clients."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    folder = tmp_path_factory.mktemp("light")
    (folder / "key").write_text("key-of-sdks\n", "utf-8")
    (folder / "connections.yaml").write_text(
        f"connections: [{{name: Site, receive: {{write_keys: ['file:{folder}/key']}}}}]", "utf-8"
    )
    commands = [[word.format(folder=folder) for word in words] for words in COMMANDS.values()]
    return dict(zip(COMMANDS, ran(commands), strict=True))


def test_it_has_no_client_of_google_and_no_development_package() -> None:
    assert {"apitools", "google.auth", "google.cloud", "hypothesis", "mypy", "pytest"} <= left_out()
    assert not {"google.protobuf", "apache_beam", "grpc", "duckdb", "uvicorn"} & left_out()
    assert not [line for line in requirements() if "google" in line or "[" in line]


def test_the_sample_runs(done: dict[str, Ran]) -> None:
    sample = done["sample"]
    assert (sample.status, sample.errors) == (0, "")
    assert "3,024 read = " in sample.output


def test_a_dataset_s_statements_need_no_client(done: dict[str, Ran]) -> None:
    statements = done["statements"]
    assert (statements.status, statements.errors) == (0, "")
    assert "CREATE TABLE IF NOT EXISTS `events`" in statements.output


@pytest.mark.parametrize("name", WORK)
def test_what_needs_none_of_googles_clients_works(done: dict[str, Ran], name: str) -> None:
    assert (done[name].status, done[name].errors) == (0, "")
    assert done[name].output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in WORK])
def test_what_needs_googles_clients_says_so_in_a_line(done: dict[str, Ran], name: str) -> None:
    assert done[name].status in (1, 2)
    (line,) = done[name].errors.splitlines()
    assert line.endswith(f": {INSTALL}")
