"""README and docs against the program: commands are run, queries answered, options, files and targets looked up.

`python -m tests.test_readme --update` writes into the documents what commands and queries give now.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import io
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

import pipeline.graph
from examples import publish, stream
from pipeline import audit, explain, purge
from pipeline.__main__ import main
from pipeline.connections_file import load_connections
from pipeline.options import SegmentOptions
from pipeline.report.__main__ import main as report
from pipeline.schema_command import main as create_tables
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from receiver.__main__ import main as receive
from schemas import tables, views
from templates import cost
from tests.schemas import googlesql
from tests.strict_runner import __main__ as strict_runner

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]
ELISION = "..."
NOT_STABLE = re.compile(r"(?<= messages in )[\d,.]+ s, [\d,]+(?= messages per second)")

MISSPELLED = {"--inputs"}
"""What the README shows of a mistake."""
GOOGLESQL = {"bigquery.md", "cost.md"}
"""Documents whose queries are BigQuery's."""

OF_DUCKDB = {"decode"}
"""What the text of a query says is DuckDB's alone."""

_LINES = r"((?:(?!```).*\n)*)"
_CONSOLE = re.compile(rf"^```console\n\$ (.*)\n{_LINES}```\n", re.MULTILINE)
_PICTURE = re.compile(rf"^```text\n{_LINES}```\n", re.MULTILINE)
_GOOGLES_SCRIPT = re.compile(r"^( *)```sh\n(?:(?!^ *```).*\n)*? *gcloud (?:(?!^ *```).*\n)*\1```$", re.MULTILINE)
_GOOGLES_COMMAND = re.compile(r"\b(?:gcloud|bq) (?:[^\n`]*\\\n)*[^\n`]*")
_QUERY = re.compile(rf"^```sql\n{_LINES}```\n\n((?:\|.*\n)*)\n?", re.MULTILINE)


_TABLES_VIEW = """
CREATE TABLE `acme-data`.segment.INFORMATION_SCHEMA.TABLES (table_name STRING, upsert_stream_apply_watermark TIMESTAMP)
"""
"""What the documents ask of BigQuery's own views.
https://cloud.google.com/bigquery/docs/information-schema-tables"""


class Command(NamedTuple):
    """A command that the README shows, and the lines that it shows of the output."""

    line: str
    shown: tuple[str, ...]


class Query(NamedTuple):
    """A query of a document, and the table that follows it, empty where none does."""

    document: str
    sql: str
    shown: str


def commands() -> list[Command]:
    return [Command(line, tuple(output.splitlines())) for line, output in _CONSOLE.findall(README.read_text("utf-8"))]


def queries() -> list[Query]:
    return [
        Query(document.name, sql, shown)
        for document in DOCUMENTS
        if document.name not in GOOGLESQL
        for sql, shown in _QUERY.findall(document.read_text("utf-8"))
    ]


def recipe(target: str) -> str:
    """What a target of the Makefile runs, as make prints it."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found is not None
    return found[1].strip()


def run(line: str) -> list[str]:
    """The lines that a command prints in the current folder, run in this process."""
    printed: list[str] = []
    if line.startswith("make "):
        line = recipe(line.removeprefix("make "))
        printed.append(line)
    words = shlex.split(line)
    assert words[:3] in ([".venv/bin/python", "-m", "pipeline"], ["python", "-m", "pipeline"]), line
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = main(words[3:])
    return printed + (errors if status else output).getvalue().splitlines()


def stable(lines: Iterable[str]) -> list[str]:
    """The lines without what differs from run to run."""
    return [NOT_STABLE.sub("…", line).rstrip() for line in lines]


def answer(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """A query's result as a Markdown table."""
    result = connection.sql(sql)
    if result is None or not result.columns:
        return ""
    ruler = ["---:" if type_ in ("BIGINT", "HUGEINT", "DOUBLE") else "---" for type_ in map(str, result.types)]
    rows = [[_cell(value) for value in row] for row in result.fetchall()]
    return "".join(f"| {' | '.join(line)} |\n" for line in (result.columns, ruler, *rows))


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return "" if value is None else str(value).replace("|", r"\|")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new current folder, which has the examples."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        (Path(name) / "examples").symlink_to(ROOT / "examples")
        patch.chdir(name)
        yield Path(name)


class Answers(NamedTuple):
    """What the commands of the README, in their order, and then the queries of all documents give."""

    commands: list[list[str]]
    queries: list[str]


def answers() -> Answers:
    printed = [run(command.line) for command in commands()]
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return Answers(printed, [answer(connection, query.sql) for query in queries()])


@pytest.fixture(scope="module")
def given() -> Iterator[Answers]:
    """The answers, in the folder that they were given in."""
    with folder():
        yield answers()


@pytest.mark.parametrize("index", range(len(commands())), ids=[command.line for command in commands()])
def test_a_command_prints_what_is_shown(given: Answers, index: int) -> None:
    shown, printed = stable(commands()[index].shown), stable(given.commands[index])
    if ELISION not in shown:
        assert printed == shown
        return
    for line in shown:
        assert line == ELISION or line in printed


@pytest.mark.parametrize("index", range(len(queries())), ids=[query.document for query in queries()])
def test_a_query_gives_what_is_shown(given: Answers, index: int) -> None:
    assert given.queries[index] == queries()[index].shown


def test_googlesql_takes_bigquerys_queries() -> None:
    analyzer = googlesql.available()
    analyzer.create(_TABLES_VIEW)
    for table in tables.ALL:
        analyzer.create(bigquery_ddl.create_table(table, "acme-data.segment"))
    for view in views.ALL:
        analyzer.create(bigquery_ddl.create_view(view, "acme-data.segment"))
    texts = [(ROOT / "docs" / name).read_text("utf-8") for name in GOOGLESQL]
    statements = [sql for text in texts for sql, _ in _QUERY.findall(text)]
    assert len(statements) >= 8
    for sql in statements:
        analyzer.analyze(with_functions_inline(sql))
    bq = re.findall(r"^bq query --use_legacy_sql=false '(.*)'$", README.read_text("utf-8"), re.MULTILINE)
    assert bq
    for sql in bq:
        analyzer.analyze(sql.replace("segment.", "`acme-data`.segment."))


def test_queries_shown_with_their_answer_run_in_bigquery_too() -> None:
    analyzer = googlesql.available()
    for table in tables.ALL:
        analyzer.create(bigquery_ddl.create_table(table))
    for view in views.ALL:
        analyzer.create(bigquery_ddl.create_view(view))
    shared = [query.sql for query in queries() if not set(OF_DUCKDB).intersection(re.findall(r"\w+", query.sql))]
    assert len(shared) >= 30
    for sql in shared:
        analyzer.analyze(sql)
        assert "TIMESTAMP '" not in sql  # in DuckDB it is a time of the session's zone, whatever offset it has


def with_functions_inline(sql: str) -> str:
    """The query with the body of each table function in place of its call, which the analyzer has no catalog for."""
    for function in views.FUNCTIONS:
        body = bigquery_ddl.in_dataset(function.sql, "acme-data.segment")
        for call in re.finditer(rf"\S*\b{function.name}\(([^()]*)\)", sql):
            values = dict(zip(function.parameters, call[1].split(","), strict=True))
            inline = re.sub("|".join(values), lambda name, values=values: values[name[0]], body)  # type: ignore[misc]
            sql = sql.replace(call[0], f"({inline})")
    return sql


def test_the_readme_has_queries_with_results_and_the_summary_of_the_job(given: Answers) -> None:
    assert [query.document for query in queries() if query.shown].count("README.md") >= 4
    assert commands()[0].line == "make run"
    assert any(" read = " in line for line in given.commands[0])


def test_dead_letters_can_be_read_again_as_documented(given: Answers) -> None:
    text = (ROOT / "docs" / "dead-letters.md").read_text("utf-8").partition("## Reading them again\n")[2]
    ((again, _),) = re.findall(r"^```sh\n(.*)\n(```)", text, re.MULTILINE)
    configured = Path("examples/connections.yaml").read_text("utf-8")
    Path("connections.yaml").write_text(configured.partition("  - name: Mobile apps")[0], "utf-8")
    first = recipe("run").replace("examples/connections.yaml", "connections.yaml")
    run(first.replace("warehouse.duckdb", "again.duckdb"))
    Path("connections.yaml").write_text(configured, "utf-8")
    run(again.replace("warehouse.duckdb", "again.duckdb"))
    with duckdb.connect("again.duckdb") as connection:
        connection.execute("ATTACH 'warehouse.duckdb' AS other (READ_ONLY)")
        for table in tables.ALL:
            if table == tables.JOBS:
                continue
            # What is not read again was refused before its connection was looked for.
            besides = [name for name in (table.written, "connection" if table == tables.DEAD_LETTERS else None) if name]
            columns = f"* EXCLUDE ({', '.join(besides)})" if besides else "*"
            both = f"SELECT {columns} FROM {table.name}", f"SELECT {columns} FROM other.{table.name}"
            assert connection.sql(both[0]).except_(connection.sql(both[1])).fetchall() == []
            assert connection.sql(both[1]).except_(connection.sql(both[0])).fetchall() == []


def test_contacts_of_a_day_are_made_as_documented(given: Answers) -> None:
    text = (ROOT / "docs" / "warehouse.md").read_text("utf-8").partition("### Contacts as of then\n")[2]
    run(re.findall(r"^```sh\n(.*)\n```$", text, re.MULTILINE)[0])
    with duckdb.connect("then.duckdb") as connection:
        connection.execute("ATTACH 'warehouse.duckdb' AS now (READ_ONLY)")
        newer = "SELECT count(*) FROM contacts WHERE last_identified_at > '2025-03-15 00:00:00+00'"
        assert connection.sql(newer).fetchone() == (0,)
        people = "SELECT (SELECT count(*) FROM contacts), (SELECT count(*) FROM now.contacts)"
        ((then, now),) = connection.sql(people).fetchall()
        assert 0 < then < now


def test_the_picture_is_that_of_the_graph() -> None:
    assert _PICTURE.findall(README.read_text("utf-8")) == [picture()]


def picture() -> str:
    """The indented part of the graph's docstring."""
    lines = (pipeline.graph.__doc__ or "").splitlines()
    return "".join(f"{line[4:]}\n" for line in lines if line.startswith("    "))


def test_the_connections_file_shown_is_that_of_the_sample(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "connections.yaml"
    path.write_text(shown, "utf-8")
    assert load_connections(str(path)) == load_connections(str(ROOT / "examples" / "connections.yaml"))


def own_options() -> dict[str, str]:
    """Each option of the job, as its help writes it with its value: `--input` is `--input=GLOB`."""
    parser = argparse.ArgumentParser(add_help=False)
    SegmentOptions._add_argparse_args(parser)
    written = {"--help": "--help", "--help_beam": "--help_beam"}
    for action in parser._actions:
        value = "|".join(action.choices) if action.choices else action.metavar
        written[action.option_strings[0]] = action.option_strings[0] + ("" if action.nargs == "?" else f"={value}")
    return written


def test_the_table_of_options_is_that_of_the_program() -> None:
    section = README.read_text("utf-8").partition("## Command line\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(--.*?)` \|", section, re.MULTILINE)
    assert sorted(each.replace(r"\|", "|") for each in documented) == sorted(own_options().values())


@functools.cache
def known_options() -> frozenset[str]:
    """Every option that the help of some command shows, and those of the tests that write into documents and of the
    scripts."""
    output = io.StringIO()
    for program, arguments in [
        (main, ["--help"]),
        (main, ["--help_beam"]),
        (create_tables, ["create", "--help"]),
        (create_tables, ["ddl", "--help"]),
        (create_tables, ["compact", "--help"]),
        (create_tables, ["event_views", "--help"]),
        (audit.main, ["--help"]),
        (explain.main, ["--help"]),
        (report, ["--help"]),
        (publish.main, ["--help"]),
        (stream.main, ["--help"]),
        (purge.main, ["--help"]),
        (receive, ["--help"]),
        (cost.main, ["--help"]),
        (strict_runner.main, ["--help"]),
    ]:
        with contextlib.redirect_stdout(output), pytest.raises(SystemExit):
            program(arguments)
    return frozenset(["--keep", "--update", "--record", *re.findall(r"(?<![\w-])--[a-z]\w*", output.getvalue())])


MENTIONED = [(document, document.read_text("utf-8")) for document in DOCUMENTS]
by_document = pytest.mark.parametrize(("document", "text"), MENTIONED, ids=[path.name for path, _ in MENTIONED])


@by_document
def test_every_option_mentioned_exists(document: Path, text: str) -> None:
    """Those of the Cloud SDK stand in its commands, whose options its own parsers check
    (`tests/templates/test_documents.py`), or have hyphens."""
    ours = _GOOGLES_COMMAND.sub("", _GOOGLES_SCRIPT.sub("", text))
    assert set(re.findall(r"(?<![\w-])--[a-z]\w*(?![\w-])", ours)) <= known_options() | MISSPELLED


@by_document
def test_every_target_mentioned_exists(document: Path, text: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    fenced = "".join(re.findall(rf"^```\w*\n{_LINES}```$", text, re.MULTILINE))
    mentioned = re.findall(r"^(?:\$ )?make ([\w-]+)", fenced, re.MULTILINE) + re.findall(r"`make ([\w-]+)", text)
    assert set(mentioned) <= targets


@by_document
def test_every_file_mentioned_exists(document: Path, text: str) -> None:
    links = set(re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text))
    assert [link for link in links if not (document.parent / link).exists()] == []
    top = "|".join(re.escape(path.name) for path in ROOT.iterdir() if not path.name.startswith("."))
    paths = set(re.findall(rf"(?<![\w/.-])(?:{top})/[\w./-]*\w", text))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@by_document
def test_every_heading_linked_to_exists(document: Path, text: str) -> None:
    for path, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", text):
        target = document.parent / path if path else document
        headings = re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def update() -> None:
    """Writes what commands and queries give now, and the picture, into the documents."""
    with folder():
        given = answers()
    printed, results = iter(given.commands), iter(given.queries)
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        if document == README:
            text = _CONSOLE.sub(lambda found: _console(found[1], found[2].splitlines(), next(printed)), text)
            text = _PICTURE.sub(lambda _: f"```text\n{picture()}```\n", text)
        if document.name not in GOOGLESQL:
            text = _QUERY.sub(lambda found: _query(found[1], next(results)), text)
        document.write_text(text, "utf-8")


def _console(command: str, before: Sequence[str], printed: Sequence[str]) -> str:
    """A command with its output in the place of an earlier one: whole, or where that left lines out, those most like
    its lines. A line that says the same stays as it is."""
    if ELISION in before:
        printed = [line if line == ELISION else _most_like(line, printed) for line in before]
    same = dict(zip(stable(before), before, strict=True))
    lines = [same.get(key, line) for key, line in zip(stable(printed), printed, strict=True)]
    return "\n".join(("```console", f"$ {command}", *lines, "```\n"))


def _most_like(line: str, lines: Sequence[str]) -> str:
    return max(lines, key=lambda each: difflib.SequenceMatcher(None, line, each).ratio())


def _query(sql: str, table: str) -> str:
    return f"```sql\n{sql}```\n\n{table}" + ("\n" if table else "")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.test_readme --update")
    update()
