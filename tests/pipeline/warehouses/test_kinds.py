"""The registry of warehouses: what a URL names, and what every kind of warehouse must say of itself."""

from __future__ import annotations

import os
import re
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import UsageError
from pipeline.summary import DEAD_LETTERS_QUERY
from pipeline.warehouses import DEFAULT_DIALECT, KINDS, WarehouseKind, kind_of, open_warehouse, url_forms
from schemas import tables, views
from tests.schemas import googlesql

URLS = {
    "duckdb": ("duckdb:///a.duckdb", "duckdb:////tmp/a.duckdb", "duckdb:///a b?c#d.duckdb"),
    "bigquery": ("bigquery://acme-data/sales", "bigquery://example.com:acme/s_1"),
}
"""By scheme, URLs that name a warehouse of that kind."""
BY_SCHEME = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.scheme)


@BY_SCHEME
def test_the_scheme_of_a_url_names_its_kind(kind: WarehouseKind) -> None:
    for url in URLS[kind.scheme]:
        assert kind_of(url) is kind


def test_no_two_kinds_have_a_scheme_or_a_dialect_in_common() -> None:
    assert len({kind.scheme for kind in KINDS}) == len({kind.dialect for kind in KINDS}) == len(KINDS)
    assert DEFAULT_DIALECT in {kind.dialect for kind in KINDS}


@BY_SCHEME
def test_what_a_kind_tells_users_of_its_urls_begins_with_its_scheme(kind: WarehouseKind) -> None:
    assert kind.url_form.startswith(f"{kind.scheme}://")
    assert kind.url_form in url_forms()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("a.duckdb", "--warehouse=a.duckdb: is not a warehouse's URL; give duckdb:///a.duckdb"),
        ("/tmp/a", "--warehouse=/tmp/a: is not a warehouse's URL; give duckdb:////tmp/a"),
        ("", f"--warehouse='': is not a warehouse's URL; give {url_forms()}"),
        ("oracle://a", f"--warehouse=oracle://a: is not a warehouse's URL; give {url_forms()}"),
        ("DUCKDB:///a", f"--warehouse=DUCKDB:///a: is not a warehouse's URL; give {url_forms()}"),
        ("duckdb:", "--warehouse=duckdb:: is not the URL of a file; give duckdb:///FILE"),
        ("duckdb:///", "--warehouse=duckdb:///: is not the URL of a file; give duckdb:///FILE"),
        ("duckdb://a", "--warehouse=duckdb://a: is not the URL of a file; give duckdb:///a"),
        *(
            (
                url,
                f"--warehouse={url}: is not the URL of a dataset; give bigquery://PROJECT_ID/DATASET, such as"
                " bigquery://acme-data/segment",
            )
            for url in ("bigquery:", "bigquery://acme", "bigquery://acme/", "bigquery://acme/a-b", "bigquery://a/b/c")
        ),
    ],
)
def test_a_url_that_names_no_warehouse_is_refused_with_one_that_would(url: str, message: str) -> None:
    for use in (kind_of, open_warehouse):
        with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
            use(url)


@BY_SCHEME
def test_every_table_and_view_is_in_the_ddl_after_those_that_it_is_made_from(kind: WarehouseKind) -> None:
    made = re.findall(r"^CREATE (?:TABLE IF NOT EXISTS|OR REPLACE VIEW) \W(\w+)\W", "\n".join(kind.ddl(None)), re.M)
    assert made == [*tables.BY_NAME, *(view.name for view in views.ALL)]


def test_the_sample_queries_are_valid_in_their_own_sql(tmp_path: Path) -> None:
    """DuckDB runs its own; GoogleSQL's analyzer reads BigQuery's."""
    local = open_warehouse(f"duckdb:///{tmp_path}/a.duckdb")
    kind_of(f"duckdb:///{tmp_path}/a.duckdb").create(f"duckdb:///{tmp_path}/a.duckdb", None)
    with duckdb.connect(f"{tmp_path}/a.duckdb") as connection:
        for query in (local.sample_query, DEAD_LETTERS_QUERY):
            assert connection.execute(query).fetchall() == []
    analyzer = googlesql.available()
    dataset = kind_of(URLS["bigquery"][0])
    for statement in dataset.ddl(None):
        analyzer.create(statement.removesuffix(";"))
    for query in (open_warehouse(URLS["bigquery"][0]).sample_query, DEAD_LETTERS_QUERY):
        analyzer.analyze(query)


def test_a_file_in_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    monkeypatch.chdir(os.fsdecode(folder))
    for use in (kind_of, open_warehouse):
        with pytest.raises(UsageError, match="is in a folder whose name is not UTF-8; name a file in another one"):
            use("duckdb:///w.duckdb")
