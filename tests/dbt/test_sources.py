"""The sources of the dbt package are the tables and views, with all that their declarations say.

`python -m tests.dbt.test_sources --update` writes them anew.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from sqlglot import exp, parse_one

from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from schemas import tables, views
from schemas.tables import Column, Table, Type
from schemas.views import View
from tests.test_docs import meaning_of, types_of_views

FILE: Final = Path(__file__).parents[2] / "dbt/models/sources.yml"
HEADER: Final = "# Made from schemas/tables.py and schemas/sql: python -m tests.dbt.test_sources --update\n"
DATABASE: Final = "{{ var('segment_database') or target.database }}"
SCHEMA: Final = "{{ var('segment_schema') or ('main' if target.type == 'duckdb' else 'segment') }}"
VIEWS: Final = {view.name: view for view in views.ALL}

Columns = Mapping[str, tuple[str, str]]
"""Each column's type, as BigQuery writes it, and its description."""


def sources() -> str:
    """The whole file."""
    all_relations: tuple[Table | View, ...] = (*tables.ALL, *views.ALL)
    relations = [
        {
            "name": relation.name,
            "description": relation.description,
            "columns": [
                {"name": name, "data_type": type_, "description": description}
                for name, (type_, description) in columns_of(relation.name).items()
            ],
        }
        for relation in all_relations
    ]
    source = {
        "name": "segment",
        "description": "The tables that the pipeline writes, and their views.",
        "database": DATABASE,
        "schema": SCHEMA,
        "tables": relations,
    }
    text = yaml.safe_dump({"sources": [source]}, sort_keys=False, width=120, allow_unicode=True)
    return HEADER + text


@functools.cache
def columns_of(name: str) -> Columns:
    """The columns of a table or view, those of its `*` as the table or view has them that it reads."""
    if name in tables.BY_NAME:
        return {column: rest for each in tables.BY_NAME[name].columns for column, *rest in _with_fields(each)}  # type: ignore[misc]
    return dict(_columns_of_view(VIEWS[name]))


def _with_fields(column: Column, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    type_ = column.type.value if column.type is not Type.STRUCT else bigquery_ddl.type_name(column)
    yield prefix + column.name, bigquery_ddl.type_name(column) if not prefix else type_, column.description
    for field in column.fields:
        yield from _with_fields(field, f"{prefix}{column.name}.")


def _columns_of_view(view: View) -> Iterator[tuple[str, tuple[str, str]]]:
    types = _types()[view.name]
    select = parse_one(view.sql, read="bigquery")
    assert isinstance(select, exp.Select)
    read = {each.alias_or_name: each.name for each in select.find_all(exp.Table)}
    for column in select.selects:
        if column.is_star:
            source = read[column.table] if isinstance(column, exp.Column) else next(iter(read.values()))
            yield from columns_of(source).items()
        else:
            name = column.alias_or_name
            yield name, (types[name], meaning_of(column, read))


@functools.cache
def _types() -> Mapping[str, Mapping[str, str]]:
    return types_of_views()


@functools.cache
def declared() -> Mapping[str, Any]:
    (source,) = yaml.safe_load(FILE.read_text("utf-8"))["sources"]
    return {table["name"]: table for table in source["tables"]}


def test_the_sources_are_what_is_declared() -> None:
    assert FILE.read_text("utf-8") == sources(), "run: python -m tests.dbt.test_sources --update"


def test_every_table_and_view_is_a_source_with_all_its_columns() -> None:
    assert declared().keys() == {*tables.BY_NAME, *VIEWS}
    for name, types in _types().items():
        columns = {each["name"] for each in declared()[name]["columns"] if "." not in each["name"]}
        assert columns == types.keys(), name


def test_everything_is_described_in_words_that_dbt_does_not_take_for_templates() -> None:
    for table in declared().values():
        texts = [table["description"], *(column["description"] for column in table["columns"])]
        assert all(texts), table["name"]
        assert not any(sign in text for text in texts for sign in ("{{", "{%", "{#")), table["name"]


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("python -m tests.dbt.test_sources --update")
    FILE.write_text(sources(), "utf-8")
