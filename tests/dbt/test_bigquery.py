"""What dbt would have BigQuery do with the package, as Google's analyzer reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.dbt import environment
from tests.dbt.analyzed import MAX_PARTITION, analyzed, warehouse
from tests.schemas.googlesql import GoogleSQL

GROUPS = "metric_time__day,metric_time__week,account__plan"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment.require()
    return tmp_path_factory.mktemp("bigquery")


@pytest.fixture(scope="module")
def statements(target: Path) -> list[str]:
    return environment.bigquery_statements("build", project=environment.PACKAGE, target=target)


@pytest.fixture(scope="module")
def incremental(target: Path, statements: list[str]) -> list[str]:
    return environment.bigquery_statements(
        "run", "--select=int_visits", "int_activity", project=environment.PACKAGE, target=target,
        catalog={"int_visits": [], "int_activity": []},
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset() -> GoogleSQL:
    return warehouse()


@pytest.fixture(scope="module")
def read(dataset: GoogleSQL, statements: list[str]) -> list[str]:
    """The statements of a first run, each analyzed after those before it."""
    return list(analyzed(dataset, statements))


def models() -> set[str]:
    return {file.stem for file in environment.PACKAGE.glob("models/**/*.sql")}


def test_every_statement_of_models_and_tests_is_googlesql(read: list[str]) -> None:
    made = {name for each in read for name in re.findall(r"create or replace (?:table|view) `[^ ]+`\.`(\w+)`", each)}
    assert made == models()
    quality = [file.stem for file in environment.PACKAGE.glob("tests/quality/*.sql")]
    assert sum("as failures" in each for each in read) > len(quality) + len(made)


def test_an_incremental_run_reads_no_partition_that_is_older_than_its_window(
    dataset: GoogleSQL, read: list[str], incremental: list[str]
) -> None:
    assert read
    windows = [
        each
        for each in analyzed(dataset, incremental)
        if re.search(rf"received_at >= timestamp\(date_add\(.*{MAX_PARTITION}", each)
    ]
    assert len(windows) == 2
    assert all(f"declare {MAX_PARTITION} date" in " ".join(each.split()) for each in incremental if "declare _" in each)
    replaced = [each for each in incremental if each.startswith("merge")]
    assert len(replaced) == 2
    assert all("received_day" in each for each in replaced)


def test_what_is_incremental_is_partitioned_by_the_day_that_it_replaces(statements: list[str]) -> None:
    for name in ("int_visits", "int_activity"):
        (made,) = (each for each in statements if re.match(rf"create or replace table `[^ ]+`\.`{name}`", each))
        assert "partition by received_day" in made


def test_what_metricflow_asks_is_googlesql(dataset: GoogleSQL, read: list[str], target: Path) -> None:
    assert read
    manifest = json.loads((target / environment.MANIFEST).read_text("utf-8"))
    names = [metric["name"] for metric in manifest["metrics"]]
    options = [["--quiet", "--explain", f"--metrics={name}", f"--group-by={GROUPS}"] for name in names]
    asked = environment.metric_answers(options, target=target, into="bigquery")
    assert all("`your-project`.`analytics`." in sql for sql in asked)
    assert [*analyzed(dataset, [sql.strip() for sql in asked])] == [sql.strip() for sql in asked]
