from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipeline.schema_command import main
from pipeline.warehouses.duckdb import file as duckdb_file
from schemas import tables, views
from tests.schemas import googlesql

ROOT = Path(__file__).parents[2]
FORMS = "duckdb:///FILE or bigquery://PROJECT/DATASET"


@pytest.mark.parametrize(
    ("options", "prefix"),
    [([], []), (["--dialect=bigquery", "--dataset=project-1.sales"], ["project-1", "sales"])],
    ids=["without a dataset", "in a dataset"],
)
def test_googlesql_takes_the_ddl_for_bigquery(
    capsys: pytest.CaptureFixture[str], options: list[str], prefix: list[str]
) -> None:
    assert main(["ddl", *options]) == 0
    statements = re.split(r";\n+", capsys.readouterr().out)
    analyzer = googlesql.available()
    paths = [list(googlesql.inherited(analyzer.create(sql), "name_path")) for sql in statements if sql]
    made = [*tables.BY_NAME, *(view.name for view in views.ALL), *(function.name for function in views.FUNCTIONS)]
    assert paths == [[*prefix, name] for name in made]


def test_a_fresh_duckdb_takes_the_ddl_for_duckdb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ddl", "--dialect=duckdb"]) == 0
    with duckdb.connect() as by_hand, duckdb.connect() as by_us:
        by_hand.execute(capsys.readouterr().out)
        duckdb_file.create(by_us)
        listing = "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal"
        assert by_hand.execute(listing).fetchall() == by_us.execute(listing).fetchall()
        assert len(by_hand.execute("SHOW TABLES").fetchall()) == len(tables.ALL) + len(views.ALL)


def test_create_makes_a_warehouse_and_then_says_that_it_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"duckdb:///{tmp_path}/a.duckdb"
    summary = f"{url} has {len(tables.ALL)} tables and {len(views.ALL)} views"
    assert main(["create", f"--warehouse={url}"]) == 0
    assert capsys.readouterr().out.splitlines() == [*(f"created table {table.name}" for table in tables.ALL), summary]
    assert main(["create", f"--warehouse={url}"]) == 0
    assert capsys.readouterr().out.splitlines() == [summary]
    with duckdb.connect(f"{tmp_path}/a.duckdb") as connection:
        connection.execute("ALTER TABLE jobs DROP COLUMN runner")
    assert main(["create", "--warehouse", url]) == 0
    assert capsys.readouterr().out.splitlines() == ["created column jobs.runner", summary]


def test_create_refuses_an_incompatible_warehouse_with_a_line_a_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with duckdb.connect(f"{tmp_path}/a.duckdb") as connection:
        connection.execute("CREATE TABLE identities (id INTEGER PRIMARY KEY, external_id DATE)")
    url = f"duckdb:///{tmp_path}/a.duckdb"
    assert main(["create", f"--warehouse={url}"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"--warehouse={url}: table identities, column {column}; name another file, or move this one away"
        for column in (
            "id: is INTEGER, which cannot become VARCHAR",
            "external_id: is DATE, which cannot become VARCHAR",
        )
    ]


MISTAKES = [
    ([], "the following arguments are required: COMMAND; python -m schemas --help shows"),
    (["crate"], "crate: is unknown; did you mean create?"),
    (["drop"], "drop: is unknown; choose from ddl, create, compact, event_views"),
    (["ddl", "--dialect=mysql"], "--dialect=mysql: is unknown; choose from bigquery, duckdb"),
    (["ddl", "--dial=duckdb"], "--dial: unknown option; did you mean --dialect?"),
    (
        ["create"],
        "the following arguments are required: --warehouse; python -m schemas create --help shows",
    ),
    (["ddl", "--dataset=a b"], "--dataset='a b': is not a dataset; name it as DATASET or PROJECT.DATASET"),
    (["ddl", "--dialect=duckdb", "--dataset=a"], "--dataset=a: a file has no datasets; leave it out"),
    (
        ["create", "--warehouse=bigquery://project"],
        "--warehouse=bigquery://project: is not the URL of a dataset; give bigquery://PROJECT_ID/DATASET",
    ),
    (
        ["create", "--warehouse=duckdb:///a.duckdb", "--location=EU"],
        "--location=EU: a file has no location; leave it out",
    ),
    (["create", "--warehouse=a.duckdb"], "--warehouse=a.duckdb: is not a warehouse's URL; give duckdb:///a.duckdb"),
    (
        ["create", "--warehouse=duckdb:a.duckdb"],
        "--warehouse=duckdb:a.duckdb: is not the URL of a file; give duckdb:///a.duckdb",
    ),
    (
        ["create", "--warehouse=duckdb://a.duckdb"],
        "--warehouse=duckdb://a.duckdb: is not the URL of a file; give duckdb:///a.duckdb",
    ),
    (["create", "--warehouse=oracle://a\nb"], rf"--warehouse='oracle://a\nb': is not a warehouse's URL; give {FORMS}"),
    (["create", "--warehouse=duckdb:////"], "--warehouse=duckdb:////: is a folder; name a file in it"),
]


@pytest.mark.parametrize(("arguments", "line"), MISTAKES, ids=[" ".join(case[0]) for case in MISTAKES])
def test_a_mistake_is_one_line_with_status_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"python -m schemas: {line}")
    assert err.count("\n") == 1


def test_the_command_is_a_program() -> None:
    for arguments, line in (MISTAKES[0], MISTAKES[-1]):
        ran = subprocess.run(
            [sys.executable, "-m", "schemas", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert ran.stderr.startswith(f"python -m schemas: {line}")


def test_help_names_the_commands_and_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in {"": ("ddl", "create"), "ddl": ("--dialect",), "create": ("--warehouse", FORMS)}.items():
        with pytest.raises(SystemExit) as ended:
            main([*arguments.split(), "--help"])
        assert ended.value.code == 0
        output = " ".join(capsys.readouterr().out.split())
        assert [word for word in words if word not in output] == []
