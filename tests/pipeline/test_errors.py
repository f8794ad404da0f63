"""Nothing that is printed or stored holds a secret."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from pipeline import audit, explain, purge, schema_command
from pipeline.__main__ import main
from pipeline.errors import SecretlessFormatter, UsageError, value_without_secrets, without_secrets

SECRET = "hunter2"

URLS = {
    "duckdb://user:hunter2@host/x": "duckdb://user:REDACTED@host/x",
    "duckdb:///user:hunter2@host/x": "duckdb:///user:REDACTED@host/x",
    "duckdb:////folder/user:hunter2@host/x": "duckdb:////folder/user:REDACTED@host/x",
    "duckdb:user:hunter2@host/x": "duckdb:REDACTED@host/x",
    "user:hunter2@host/x": "user:REDACTED@host/x",
    "bigquery://user:hunter2@project/dataset": "bigquery://user:REDACTED@project/dataset",
    "bigquery://:hunter2@project/dataset": "bigquery://:REDACTED@project/dataset",
    "bigquery://hunter2@project/dataset": "bigquery://REDACTED@project/dataset",
    "https://user:a/hunter2@host/x": "https://user:REDACTED@host/x",
    "https://user:a@hunter2@host/x": "https://user:REDACTED@host/x",
    "https://user:#hunter2?@host/x": "https://user:REDACTED@host/x",
    "HTTPS://user:hunter2@host": "HTTPS://user:REDACTED@host",
    "bigquery://project/dataset?credentials=hunter2": "bigquery://project/dataset?credentials=REDACTED",
    "https://host/x?a=hunter2&sig=hunter2#t=hunter2": "https://host/x?a=REDACTED&sig=REDACTED#t=REDACTED",
    "duckdb:///w.duckdb?token=hunter2": "duckdb:///w.duckdb?token=REDACTED",
}
WITH_SPACES = {
    "duckdb://user:a hunter2@host/x": "duckdb://user:REDACTED@host/x",
    "bigquery://user:a\nhunter2@project/dataset": "bigquery://user:REDACTED@project/dataset",
}
HARMLESS = [
    "gs://bucket/folder/ann@acme.com/*.jsonl",
    "gs://bucket/day=2024-01-01/?.jsonl",
    "duckdb:////folder/w.duckdb",
    "bigquery://acme-data/segment",
    "bigquery://acme.com:project/segment",
    "projects/p/subscriptions/s",
    "europe-docker.pkg.dev/p/r/image:1@sha256:0a",
    "ann@acme.com",
    "line 3: key: value",
    "http://localhost:8080/x",
]


@pytest.mark.parametrize(("url", "shown"), [*URLS.items()])
def test_the_secrets_of_a_url_are_redacted_wherever_it_stands(url: str, shown: str) -> None:
    assert value_without_secrets(url) == without_secrets(url) == shown
    assert without_secrets(f"give {url}, or leave it") == f"give {shown}, or leave it"
    assert (
        without_secrets(f"--warehouse={url}") == value_without_secrets(f"--warehouse={url}") == f"--warehouse={shown}"
    )
    assert without_secrets(shown) == shown
    record = logging.LogRecord("a", logging.WARNING, "", 0, "cannot read %s", (url,), None)
    assert SecretlessFormatter("%(message)s").format(record) == f"cannot read {shown}"


@pytest.mark.parametrize(("url", "shown"), WITH_SPACES.items())
def test_the_password_of_a_value_may_hold_spaces(url: str, shown: str) -> None:
    assert value_without_secrets(url) == shown
    assert SECRET not in str(UsageError("is wrong", option="--warehouse", value=url))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == value_without_secrets(text) == text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    page = {"type": "page", "messageId": "1", "userId": "ann", "name": "Home", "timestamp": "2024-01-01"}
    (tmp_path / "calls.jsonl").write_text(json.dumps(page) + "\n")
    return tmp_path


@pytest.mark.parametrize("url", [*URLS, *WITH_SPACES])
def test_no_command_prints_or_makes_what_a_url_keeps_secret(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = f"--warehouse={url}"
    commands = [
        (main, ["--input=calls.jsonl", warehouse]),
        (main, ["--rebuild", warehouse]),
        (main, ["--input=calls.jsonl", "--warehouse", url]),
        (main, [f"--input={url}", "--warehouse=duckdb:///w.duckdb"]),
        (main, ["--input=calls.jsonl", "--warehouse=duckdb:///w.duckdb", f"--connections={url}"]),
        (main, [f"--input_directory={url}", "--warehouse=duckdb:///w.duckdb"]),
        (main, [f"--input_subscription={url}", "--warehouse=duckdb:///w.duckdb"]),
        (audit.main, [warehouse]),
        (explain.main, [warehouse, "--id=a"]),
        (purge.main, [warehouse, "--id=a"]),
        (schema_command.main, ["create", warehouse]),
        (schema_command.main, ["ddl", f"--dataset={url}"]),
    ]
    for command, arguments in commands:
        assert command(arguments) == 2, arguments
        out, err = capsys.readouterr()
        assert SECRET not in out + err, arguments
        assert err.count("\n") == 1, err
    assert [path.name for path in folder.iterdir()] == ["calls.jsonl"]


def test_neither_the_summary_nor_the_file_holds_a_secret(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = ["--labels=a=https://user:hunter2@host", "--labels", "b=https://host/x?t=hunter2"]
    assert main(["--input=calls.jsonl", "--warehouse=duckdb:///w.duckdb", *secrets]) == 0
    assert schema_command.main(["create", "--warehouse=duckdb:///w.duckdb"]) == 0
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    content = (folder / "w.duckdb").read_bytes()
    assert b"user:REDACTED@host" in content
    assert SECRET.encode() not in content
