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
from pipeline import audit, check, explain, purge
from pipeline.__main__ import main
from pipeline.connections_file import load_connections
from pipeline.options import SegmentOptions
from pipeline.report.__main__ import main as report
from pipeline.schema_command import main as create_tables
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from receiver.__main__ import main as receive
from schemas import tables, views
from segment_pipeline.__main__ import main as segment_pipeline
from templates import cost
from tests.schemas import googlesql
from tests.strict_runner import __main__ as strict_runner

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDE = ROOT / "CONTRIBUTING.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*DOCUMENTS, GUIDE, ROOT / "examples" / "README.md"]
READ_TWICE = (
    *(
        "What holds",
        "Asking cheaply",
        "Who is who\n",
        "Going on\n",
        "other eyes",
        "speaks of",
        "works off",
        "put right",
    ),
    *("is no number", "belongs to no option", "can be read is read", "jobs believed", "which is told", "is told in"),
    *("Nor is it", "is no command", "is no message", "are no whole", "Not meant to", "asks as well", "may be made of"),
    *("Asking cheaply", "asking cheaply", "By hand there is"),
)
MOST_LINES = 130
"""Of the README, which one reads to the end."""
ELISION = "..."
NOT_STABLE = re.compile(r"(?<= calls in )[\d,.]+ s, [\d,]+(?= calls per second)")

MISSPELLED = {"--inputs"}
"""What the documents show of a mistake."""
DIALECTS = {"-- DuckDB": {"DuckDB"}, "-- BigQuery": {"BigQuery"}, "-- DuckDB and BigQuery": {"DuckDB", "BigQuery"}}
"""The first line of a query, and where it can be asked."""


_LINES = r"((?:(?!```).*\n)*)"
_CONSOLE = re.compile(rf"^```console\n\$ (.*)\n{_LINES}```\n", re.MULTILINE)
_PICTURE = re.compile(rf"^```text\n{_LINES}```\n", re.MULTILINE)
TO_BE_MADE = {"schemas/sql/account_contacts.sql"}
"""Files of the examples of CONTRIBUTING.md."""

_IN_A_DATASET = "`acme-data`.segment."
_GOOGLES_SCRIPT = re.compile(
    r"^( *)```sh\n(?:(?!^ *```).*\n)*? *(?:gcloud|run_template) (?:(?!^ *```).*\n)*\1```$", re.MULTILINE
)
_OTHERS_COMMAND = re.compile(r"\b(?:gcloud|bq|mf) (?:[^\n`]*\\\n)*[^\n`]*")
_QUERY = re.compile(rf"^```sql\n{_LINES}```\n\n((?:\|.*\n)*)\n?", re.MULTILINE)


_TABLES_VIEW = """
CREATE TABLE `acme-data`.segment.INFORMATION_SCHEMA.TABLES (table_name STRING, upsert_stream_apply_watermark TIMESTAMP)
"""
"""What the documents ask of BigQuery's own views.
https://cloud.google.com/bigquery/docs/information-schema-tables"""


class Command(NamedTuple):
    """A command that a document shows, and the lines that it shows of the output."""

    line: str
    shown: tuple[str, ...]


class Query(NamedTuple):
    """A query of a document, and the table that follows it, empty where none does."""

    document: str
    sql: str
    shown: str

    @property
    def dialects(self) -> set[str]:
        first = self.sql.partition("\n")[0]
        assert first in DIALECTS, (
            f"{self.document}: a query does not begin with one of {', '.join(DIALECTS)}: {self.sql}"
        )
        return DIALECTS[first]


def commands() -> list[Command]:
    """Those that are shown with what they print. Those of docs/identity.md are run by `tests/test_identity_doc.py`."""
    return [
        Command(line, tuple(output.splitlines()))
        for document in DOCUMENTS
        if document.name != "identity.md"
        for line, output in _CONSOLE.findall(document.read_text("utf-8"))
    ]


def queries(dialect: str) -> list[Query]:
    """The queries of all documents that can be asked there."""
    found = (
        Query(document.name, sql, shown)
        for document in DOCUMENTS
        for sql, shown in _QUERY.findall(document.read_text("utf-8"))
    )
    return [query for query in found if dialect in query.dialects]


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
    assert words[:3] == [".venv/bin/python", "-m", "pipeline"], line
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
    """What the commands of the documents, in their order, and then their queries give."""

    commands: list[list[str]]
    queries: list[str]


def answers() -> Answers:
    printed = [run(command.line) for command in commands()]
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return Answers(printed, [answer(connection, query.sql) for query in queries("DuckDB")])


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


@pytest.mark.parametrize("index", range(len(queries("DuckDB"))), ids=[each.document for each in queries("DuckDB")])
def test_a_query_gives_what_is_shown(given: Answers, index: int) -> None:
    query = queries("DuckDB")[index]
    assert given.queries[index]
    assert query.shown in ("", given.queries[index])
    is_of_quality = query.document == "questions.md"  # nothing wrong is a good answer there
    assert is_of_quality or query.shown.count("\n") != 2, f"no row answers {query.sql}"


def test_googlesql_takes_bigquerys_queries() -> None:
    analyzer = googlesql.available()
    analyzer.create(_TABLES_VIEW)
    for table in tables.ALL:
        analyzer.create(bigquery_ddl.create_table(table, "acme-data.segment"))
    for view in views.ALL:
        analyzer.create(bigquery_ddl.create_view(view, "acme-data.segment"))
    for function in views.FUNCTIONS:
        analyzer.create(bigquery_ddl.create_function(function, "acme-data.segment"))
    functions = "|".join(function.name for function in views.FUNCTIONS)
    statements = queries("BigQuery")
    assert len(statements) >= 12
    for _, sql, _ in statements:
        in_dataset = sql if _IN_A_DATASET in sql else bigquery_ddl.in_dataset(sql, "acme-data.segment")
        analyzer.analyze(re.sub(rf"\bFROM ({functions})\(", rf"FROM {_IN_A_DATASET}\1(", in_dataset))
    texts = [document.read_text("utf-8") for document in DOCUMENTS]
    bq = [sql for text in texts for sql in re.findall(r"^bq query .*'(.*)'$", text, re.MULTILINE)]
    assert bq
    for sql in bq:
        analyzer.analyze(sql.replace("segment.", _IN_A_DATASET))


def test_no_query_for_both_has_a_time_that_the_two_read_unlike() -> None:
    """`TIMESTAMP '…'` is a time of the session's zone in DuckDB, whatever offset it has."""
    both = {query.sql for query in queries("DuckDB")} & {query.sql for query in queries("BigQuery")}
    assert len(both) >= 30
    assert [sql for sql in both if "TIMESTAMP '" in sql] == []


def test_the_readme_is_short_and_shows_queries_that_run_everywhere(given: Answers) -> None:
    assert len(README.read_text("utf-8").splitlines()) <= MOST_LINES
    mine = [
        [query for query in queries(dialect) if query.document == "README.md"] for dialect in ("DuckDB", "BigQuery")
    ]
    assert len(mine[0]) == 3
    assert mine[0] == mine[1]


def test_the_summary_of_the_job_is_shown(given: Answers) -> None:
    assert [query.document for query in queries("DuckDB") if query.shown].count("query.md") >= 4
    assert commands()[0].line == "make run"
    assert any(" read = " in line for line in given.commands[0])


def test_the_price_that_the_readme_names_is_that_of_the_bills() -> None:
    page = (ROOT / "docs" / "cost.md").read_text("utf-8")
    bills = re.findall(r"\$([\d.]+) for a million messages; prices", page)
    (named,) = re.findall(r"\$([\d.]+) to \$([\d.]+) for a million", README.read_text("utf-8"))
    three_sizes = re.findall(r"^\| [\d,]+ \| [\d,]+(?: million)? \| \$([\d.]+) \| \$([\d,]+) \|$", page, re.MULTILINE)
    assert len(three_sizes) == 3
    assert [price for price, _ in three_sizes] == bills[:3]
    assert [month for _, month in three_sizes] == re.findall(r"^\$([\d,]+) a month", page, re.MULTILINE)[:3]
    assert list(named) == [bills[2], bills[0]]


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
    assert _PICTURE.findall(GUIDE.read_text("utf-8")) == [picture()]


def picture() -> str:
    """The indented part of the graph's docstring."""
    lines = (pipeline.graph.__doc__ or "").splitlines()
    return "".join(f"{line[4:]}\n" for line in lines if line.startswith("    "))


def test_the_connections_file_shown_is_that_of_the_sample(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", CONFIGURATION.read_text("utf-8"), re.DOTALL)
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
    section = CONFIGURATION.read_text("utf-8").partition("## Command line\n")[2].partition("\n## ")[0]
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
        (check.main, ["--help"]),
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
    with contextlib.redirect_stdout(output):
        segment_pipeline(["--help"])
    return frozenset(["--keep", "--update", "--record", *re.findall(r"(?<![\w-])--[a-z]\w*", output.getvalue())])


MENTIONED = [(document, document.read_text("utf-8")) for document in DOCUMENTS]
EVERYWHERE = [(page, page.read_text("utf-8")) for page in PAGES]
by_page = pytest.mark.parametrize(("document", "text"), EVERYWHERE, ids=[path.name for path, _ in EVERYWHERE])
by_document = pytest.mark.parametrize(("document", "text"), MENTIONED, ids=[path.name for path, _ in MENTIONED])


@by_document
def test_every_option_mentioned_exists(document: Path, text: str) -> None:
    """Those of MetricFlow and the Cloud SDK stand in their commands, whose options the SDK's own parsers check
    (`tests/templates/test_documents.py`), or have hyphens."""
    ours = _OTHERS_COMMAND.sub("", _GOOGLES_SCRIPT.sub("", text))
    assert set(re.findall(r"(?<![\w-])--[a-z]\w*(?![\w-])", ours)) <= known_options() | MISSPELLED


@by_page
def test_no_sentence_must_be_read_twice(document: Path, text: str) -> None:
    """Inversions and metaphors that the documents once had: a guard, not a proof."""
    assert [words for words in READ_TWICE if words in text] == []


def test_the_readme_leads_to_every_document() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", README.read_text("utf-8")))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")}


@by_page
def test_every_target_mentioned_exists(document: Path, text: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    fenced = "".join(re.findall(rf"^```\w*\n{_LINES}```$", text, re.MULTILINE))
    mentioned = re.findall(r"^(?:\$ )?make ([\w-]+)", fenced, re.MULTILINE) + re.findall(r"`make ([\w-]+)", text)
    assert set(mentioned) <= targets


@by_page
def test_every_file_mentioned_exists(document: Path, text: str) -> None:
    links = set(re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text))
    assert [link for link in links if not (document.parent / link).exists()] == []
    top = "|".join(re.escape(path.name) for path in ROOT.iterdir() if not path.name.startswith("."))
    paths = set(re.findall(rf"(?<![\w/.-])(?:{top})/[\w./-]*\w", text))
    assert [path for path in paths - TO_BE_MADE if not (ROOT / path).exists()] == []


@by_page
def test_every_heading_linked_to_exists(document: Path, text: str) -> None:
    for path, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", text):
        target = document.parent / path if path else document
        linked = target.read_text("utf-8")
        headings = re.findall(r"^#+ (.*)", linked, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert anchor in anchors | set(re.findall(r'<a id="([\w-]+)">', linked))


def update() -> None:
    """Writes what commands and queries give now, and the graph, into the documents."""
    with folder():
        given = answers()
    printed, results = iter(given.commands), iter(given.queries)
    for document in PAGES:
        text = document.read_text("utf-8")
        if document in DOCUMENTS and document.name != "identity.md":
            text = _CONSOLE.sub(lambda found: _console(found[1], found[2].splitlines(), next(printed)), text)
        if document == GUIDE:
            text = _PICTURE.sub(lambda _: f"```text\n{picture()}```\n", text)
        if document in DOCUMENTS:
            text = _QUERY.sub(functools.partial(_answered, document.name, results), text)
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


def _answered(document: str, results: Iterator[str], found: re.Match[str]) -> str:
    """The query with its answer, if it had one before, or can be asked nowhere but in DuckDB."""
    query = Query(document, found[1], found[2])
    table = next(results) if "DuckDB" in query.dialects else ""
    shown = table if query.shown or query.dialects == {"DuckDB"} else ""
    return f"```sql\n{query.sql}```\n\n{shown}" + ("\n" if shown else "")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.test_readme --update")
    update()
