"""What is installed without extras runs the sample; what needs Google's clients says so in a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.light_install import left_out, requirements

ROOT = Path(__file__).parents[1]
INSTALL = "needs Google's clients: pip install 'segment-bigquery[gcp]'"
SAMPLE = ("--input=examples/events.jsonl", "--connections=examples/connections.yaml")
FILE = "--warehouse=duckdb:///{folder}/warehouse.duckdb"
DATASET = "--warehouse=bigquery://acme-data/segment"
CONNECTIONS = "--connections={folder}/connections.yaml"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a module there."""
    arguments = [word.format(folder=folder) for word in words]
    command = [sys.executable, "-m", "tests.light_install", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("key-of-sdks\n", "utf-8")
    (tmp_path / "connections.yaml").write_text(
        f"connections: [{{name: Site, receive: {{write_keys: ['file:{tmp_path}/key']}}}}]", "utf-8"
    )
    return tmp_path


def test_it_has_no_client_of_google_and_no_development_package() -> None:
    assert {"apitools", "google.auth", "google.cloud", "hypothesis", "mypy", "pytest"} <= left_out()
    assert not {"google.protobuf", "apache_beam", "grpc", "duckdb", "uvicorn"} & left_out()
    assert not [line for line in requirements() if "google" in line or "[" in line]


def test_the_sample_runs(folder: Path) -> None:
    done = run(folder, "pipeline", *SAMPLE, FILE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3,024 read = " in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("pipeline", *SAMPLE, DATASET),
        ("pipeline", "--input=gs://acme-exports/2026/*.jsonl.gz", FILE),
        ("pipeline", SAMPLE[0], "--connections=gs://acme-exports/connections.yaml", FILE),
        ("pipeline", "--input_subscription=projects/acme-web/subscriptions/calls", FILE),
        ("pipeline", SAMPLE[0], FILE, "--runner=DataflowRunner"),
        ("pipeline.audit", DATASET),
        ("schemas", "create", DATASET),
        ("receiver", "--topic=projects/acme-web/topics/calls", CONNECTIONS),
        ("examples.stream", "--emulator", "--warehouse={folder}/stream.duckdb"),
        ("examples.publish", "--topic=projects/acme-web/topics/calls"),
        ("templates.append_probe", DATASET),
        ("templates.launcher", "--sdk_container_image=image", SAMPLE[0], DATASET, "--runner=DataflowRunner"),
    ],
    ids=lambda words: " ".join(words[:2] if words[0] != "pipeline" else words[-2:]),
)
def test_what_needs_googles_clients_says_so_in_a_line(folder: Path, words: tuple[str, ...]) -> None:
    done = run(folder, *words)
    assert done.returncode in (1, 2)
    (line,) = done.stderr.splitlines()
    assert line.endswith(f": {INSTALL}")


def test_a_dataset_s_statements_need_none(folder: Path) -> None:
    done = run(folder, "schemas", "ddl")
    assert (done.returncode, done.stderr) == (0, "")
    assert "CREATE TABLE IF NOT EXISTS `events`" in done.stdout
