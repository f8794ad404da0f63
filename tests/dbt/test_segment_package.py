"""The dbt package dbt-labs/segment on the view `pages`, as it is: `packages/README.md`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from pipeline.__main__ import main as run_pipeline
from tests.dbt import environment
from tests.dbt.analyzed import analyzed, warehouse
from tests.warehouse import EXAMPLES

PACKAGES: Final = Path(__file__).with_name("packages")
PROJECT: Final = Path(__file__).with_name("segment_project")
VARIABLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "default": {},
    "connection": {"segment_pass_through_columns": ["connection"]},
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment.require()
    path = tmp_path_factory.mktemp("segment") / "warehouse.duckdb"
    connections = f"--connections={EXAMPLES.with_name('connections.yaml')}"
    assert run_pipeline([f"--input={EXAMPLES}", connections, f"--warehouse=duckdb:///{path}"]) == 0
    return path


@pytest.fixture(scope="module", params=VARIABLES)
def variables(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    return VARIABLES[request.param]


@pytest.fixture(scope="module")
def sessions(file: Path, variables: Mapping[str, Any]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The package's models, in the schema `sessions`; dbt's own tests of them pass."""
    outcomes = environment.dbt(
        "build", "--full-refresh", project=PROJECT, target=file.with_name("target"), variables=variables,
        SEGMENT_DUCKDB=str(file), SEGMENT_PAGES="main.pages",
    )  # fmt: skip
    assert {outcome["status"] for outcome in outcomes.values()} == {"success", "pass"}
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def test_the_packages_are_unchanged() -> None:
    recorded = dict(line.split()[::-1] for line in (PACKAGES / "unchanged.txt").read_text("utf-8").splitlines())
    folders = [folder for folder in PACKAGES.iterdir() if folder.is_dir()]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {str(path.relative_to(PACKAGES)): git_hash(path.read_bytes()) for path in files} == recorded


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_sessions_hold_every_page(sessions: duckdb.DuckDBPyConnection, variables: Mapping[str, Any]) -> None:
    rows = sessions.execute("SELECT anonymous_id, timestamp FROM pages ORDER BY ALL").fetchall()
    starts = sum(
        one != before or at - earlier > timedelta(minutes=30) for (before, earlier), (one, at) in pairwise(rows)
    )
    found = sessions.execute("SELECT count(*), sum(page_views)::BIGINT FROM sessions.segment_web_sessions").fetchall()
    assert found == [(starts + 1, len(rows))]
    if variables:
        connections = sessions.execute("SELECT DISTINCT first_connection FROM sessions.segment_web_sessions").fetchall()
        assert {*connections} == {("Marketing site",), ("Web app",)}


def test_what_the_package_asks_of_bigquery_is_googlesql(tmp_path: Path) -> None:
    environment.require()
    statements = environment.bigquery_statements(
        "run", "--full-refresh", project=PROJECT, target=tmp_path, variables=VARIABLES["connection"],
        catalog={"segment_web_page_views": [*PAGE_VIEWS.split(), "connection"]},
    )  # fmt: skip
    assert len([*analyzed(warehouse(), [REFERRERS, *statements])]) == 7


PAGE_VIEWS: Final = (
    "page_view_id anonymous_id user_id received_at_tstamp sent_at_tstamp tstamp page_url page_url_host page_url_path"
    " page_title page_url_query referrer referrer_host utm_source utm_medium utm_campaign utm_term utm_content gclid ip"
    " user_agent device device_category"
)
"""The columns of the package's first model, which dbt asks the catalog for."""
REFERRERS: Final = (
    "CREATE TABLE `your-project`.`sessions`.`referrer_mapping` (medium STRING, source STRING, host STRING)"
)
"""The package's seed, which dbt loads from its file."""
