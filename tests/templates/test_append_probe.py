"""The questions to the Storage Write API, asked of the double: what they print is what it answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.warehouses.bigquery.dataset import Dataset
from templates import append_probe
from templates.append_probe import Probe
from tests.bigquery_double import BigQueryDouble
from tests.schemas import googlesql

ROOT = Path(__file__).parents[2]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        served.catalog.create_dataset("acme-web", "first_hour", {})
        yield served


@pytest.fixture
def probe(double: BigQueryDouble, printed: list[str]) -> Probe:
    return Probe(Dataset("acme-web", "first_hour"), printed.append, pause=0.0)


@pytest.fixture
def printed() -> list[str]:
    return []


def test_each_question_has_a_title_answers_and_a_place_in_the_double(probe: Probe, printed: list[str]) -> None:
    probe.ask(append_probe.QUESTIONS)
    text = "\n".join(printed)
    parts = text.split("\n-- ")[1:]
    assert len(parts) == len(append_probe.QUESTIONS)
    for part in parts:
        title, *answers, place = part.strip().splitlines()
        assert title
        assert answers
        (file,) = re.findall(r"^   belongs in: (tests/bigquery_double/\w+\.py)$", place)
        assert (ROOT / file).exists()


def test_the_numbers_and_days_of_interest_are_asked_for(probe: Probe, printed: list[str]) -> None:
    probe.ask([append_probe.when_is_a_new_table_known, append_probe.which_numbers_are_taken])
    probe.ask([append_probe.which_days_are_taken])
    asked = [line.strip() for line in printed]
    assert "67.174118: OK" in asked
    assert "1760509016.282637: OK" in asked
    assert "six years old: OK" in asked
    assert [line for line in asked if line.startswith("eleven years old: row 0: FIELDS_ERROR: Field received_at")]
    assert [line for line in asked if line.startswith("two years ahead: row 0: FIELDS_ERROR: Field received_at")]
    assert 'stored: number 0.1 {"number":0.1}' in [line.replace(": 0.1}", ":0.1}") for line in asked]


def test_rows_that_are_named_are_printed_with_their_index(probe: Probe, printed: list[str]) -> None:
    probe.ask([append_probe.when_is_a_new_table_known, append_probe.which_rows_are_named])
    assert [line.strip()[:6] for line in printed if line.strip().startswith("row ")] == ["row 1:", "row 3:"]


def test_a_table_that_is_missing_ends_the_connection_in_the_servers_words(probe: Probe, printed: list[str]) -> None:
    probe.ask([append_probe.what_is_said_of_a_missing_table])
    assert [line for line in printed if "the connection ended: NOT_FOUND: " in line]


def test_the_greatest_change_stands(probe: Probe, printed: list[str]) -> None:
    probe.ask([append_probe.how_changes_are_ordered])
    assert [line.strip() for line in printed if "stands: " in line] == ["stands: a second", "stands: c after a delete"]


def test_what_cannot_be_asked_is_said_and_the_next_is_asked(
    probe: Probe, double: BigQueryDouble, printed: list[str]
) -> None:
    with double.catalog.lock:
        del double.catalog.datasets["acme-web", "first_hour"]
    probe.ask([append_probe.when_is_a_new_table_known, append_probe.what_is_said_of_a_missing_table])
    assert [line for line in printed if "404 NotFound: " in line and "Not found: Dataset" in line]
    assert [line for line in printed if "a table that was never made" in line]


def test_the_command_takes_the_url_of_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        append_probe.main(["--warehouse=duckdb:///w.duckdb"])
    assert "is not the URL of a dataset" in capsys.readouterr().err


def test_googlesql_takes_every_statement(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    analyzer = googlesql.available()
    selects = []

    def query_and_wait(sql: str) -> Any:
        if sql.startswith("CREATE"):
            analyzer.create(sql)
        else:
            selects.append(sql)
            analyzer.analyze(sql)
        return answered(sql)

    answered = probe.client.query_and_wait
    monkeypatch.setattr(probe.client, "query_and_wait", query_and_wait)
    probe.ask(append_probe.QUESTIONS)
    assert len(selects) == 2
