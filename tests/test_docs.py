"""The documents under docs/ say what the code declares.

`python -m tests.test_docs --update` writes the tables that are made from declarations into the documents anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pytest
from sqlglot import exp, parse_one

from pipeline.connections_file import load_connections
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.duckdb import file as duckdb_file
from receiver import metrics as receiver_metrics
from schemas import tables, views
from schemas.segment import (
    CALL_TYPES,
    KEPT_OF_TOO_LARGE_BYTES,
    MAX_DEPTH,
    MAX_MESSAGE_BYTES,
    PARTITIONS,
    PLACEHOLDER_IDS,
)
from schemas.tables import Column, DeadLetter, Mode, Table, Timestamp, Type
from schemas.views import TableFunction, View
from tests.schemas.query_bytes import query_bytes
from transforms import metrics
from transforms.core import ids, times
from transforms.core.contacts import MAX_PREVIOUS_IDS
from transforms.core.dead_letters import RETRYABLE, Reason
from transforms.core.reader import Call, Reader, Received

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SQL = Path(views.__file__).with_name("sql")
Rows = Iterable[Sequence[str]]

# Columns that several views share, by the file that has them.
SHARED = {
    "_event_times.sql": "Times of an event",
    "_times.sql": "Times of a call",
    "_context.sql": "Context of a call",
    "_traits.sql": "Traits of a person",
}


def markdown(header: Sequence[str], rows: Rows) -> str:
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def section(heading: str, text: str, rows: Rows) -> str:
    return f"### {heading}\n\n{text}\n\n{markdown(('column', 'type', 'meaning'), rows)}"


def anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-").replace("`", "")


# ---- metrics ----


def counters() -> str:
    rows = ((_family(counter), counter.meaning) for counter in metrics.COUNTERS)
    return markdown(("counter", "counts"), ((f"`{name}`", meaning) for name, meaning in rows))


def _family(counter: metrics.Counter) -> str:
    return counter.of(counter.labels.upper()) if counter.labels else counter.name


def distributions() -> str:
    rows = ((f"`{distribution.name}`", distribution.meaning) for distribution in metrics.DISTRIBUTIONS)
    return markdown(("distribution", "of"), rows)


def notes() -> str:
    return markdown(("notes", "lines"), ((f"`{notes.name}`", notes.meaning) for notes in metrics.NOTES))


def of_receiver() -> str:
    rows = (
        (f"`{receiver_metrics._PREFIX}{metric.name}`", metric.kind, ", ".join(metric.labels), metric.meaning)
        for metric in receiver_metrics.METRICS
    )
    return markdown(("metric", "kind", "labels", "tells"), rows)


# ---- tables ----


def all_tables() -> str:
    return "\n\n".join(map(_table, tables.ALL))


def _table(table: Table) -> str:
    layout = []
    if table.partition_by:
        layout.append(f"partitioned by the day of `{table.partition_by}`")
    if table.cluster_by:
        layout.append(f"clustered by {', '.join(f'`{name}`' for name in table.cluster_by)}")
    laid_out = f" In BigQuery {' and '.join(layout)}." if layout else ""
    rows = [row for column in table.columns for row in _column(column, table.key)]
    return section(table.name, f"{table.description}{laid_out}", rows)


def _column(column: Column, key: Sequence[str] = (), prefix: str = "") -> Iterator[Sequence[str]]:
    name = f"`{prefix}{column.name}`"
    type_ = bigquery_ddl.type_name(column)
    if column.type is Type.STRUCT:
        type_ = "ARRAY&lt;STRUCT&gt;" if column.mode is Mode.REPEATED else "STRUCT"
    required = " NOT NULL" if column.mode is Mode.REQUIRED else ""
    bold = f"**{name}**" if column.name in key else name
    yield bold, type_.replace("<", "&lt;").replace(">", "&gt;") + required, column.description
    for field in column.fields:
        yield from _column(field, prefix=f"{prefix}{column.name}.")


# ---- views ----


def all_views() -> str:
    types = types_of_views()
    sections = [_view(view, types[view.name]) for view in views.ALL]
    functions = [section(function.name, function.description, _parameters(function)) for function in views.FUNCTIONS]
    shared = {**types["users"], **types["pages"]}
    return "\n\n".join([*sections, *functions, *(_shared(file, shared) for file in SHARED)])


def _parameters(function: TableFunction) -> Iterator[Sequence[str]]:
    for name in function.parameters:
        yield f"`{name}`", "TIMESTAMP", "a parameter"
    yield "`*`", "", "every column of [`events_resolved`](#events_resolved)"


def types_of_views() -> Mapping[str, Mapping[str, str]]:
    """GoogleSQL's types of every view's columns, from a database in memory."""
    named = {"DOUBLE": "FLOAT64", "DATE": "DATE"}
    with duckdb.connect() as connection:
        duckdb_file.create(connection)
        for table in tables.ALL:
            described_columns = connection.execute(f'DESCRIBE "{table.name}"').fetchall()
            for column, (_, type_, *_) in zip(table.columns, described_columns, strict=True):
                named[type_] = bigquery_ddl.type_name(column)
        described = {view.name: connection.execute(f'DESCRIBE "{view.name}"').fetchall() for view in views.ALL}
    return {view: {name: named[type_] for name, type_, *_ in columns} for view, columns in described.items()}


def _view(view: View, types: Mapping[str, str]) -> str:
    select = parse_one(view.sql, read="bigquery")
    assert isinstance(select, exp.Select)
    sources = {each.alias_or_name: each.name for each in select.find_all(exp.Table)}
    included = re.findall(r"-- include (\w+\.sql)", (SQL / f"{view.name}.sql").read_text("utf-8"))
    files = {column.alias_or_name: file for file in included if file in SHARED for column in _include(file)}
    rows: dict[str, Sequence[str]] = {}
    for column in select.selects:
        if column.is_star:
            source = sources[column.table] if isinstance(column, exp.Column) else next(iter(sources.values()))
            rows[source] = ("`*`", "", f"every column of [`{source}`](#{source})")
        elif file := files.get(column.alias_or_name):
            rows[file] = ("…", "", f"[{SHARED[file].lower()}](#{anchor(SHARED[file])})")
        else:
            name = column.alias_or_name
            rows[name] = (f"`{name}`", types[name], meaning_of(column, sources))
    return section(view.name, view.description, rows.values())


def _shared(file: str, types: Mapping[str, str]) -> str:
    lines = (SQL / file).read_text("utf-8").splitlines()
    description = " ".join(line[2:].strip() for line in lines if line.startswith("--"))
    columns = {column.alias_or_name: column for column in _include(file)}
    sources = {"": "identity_calls"}
    rows = [(f"`{name}`", types[name], meaning_of(column, sources)) for name, column in columns.items()]
    return section(SHARED[file], description, rows)


def _include(file: str) -> list[exp.Expr]:
    columns = re.sub(r"^--.*\n", "", (SQL / file).read_text("utf-8"), flags=re.MULTILINE)
    select = parse_one(f"SELECT {columns}", read="bigquery")
    assert isinstance(select, exp.Select)
    return select.selects


def meaning_of(column: exp.Expr, sources: Mapping[str, str]) -> str:
    """What a view's column means: its comment in the file, else the JSON fields that it reads, else what the table's
    column means."""
    if column.comments:
        return " ".join(comment.strip() for comment in column.comments)
    fields = re.findall(r"JSON_(?:VALUE|TEXT)\((\w+), '\$\.([\w.]+)'\)", column.sql("bigquery"))
    if fields:
        return ", else ".join(f"`{document}.{path}`" for document, path in fields)
    (read,) = column.find_all(exp.Column)
    read_from = [sources[read.table]] if read.table else sources.values()
    candidates = [tables.BY_NAME[re.sub("_(unique|resolved)$", "", source)] for source in read_from]
    return next(each.description for table in candidates for each in table.columns if each.name == read.name)


# ---- the documents ----

GENERATED: Mapping[str, tuple[Path, Callable[[], str]]] = {
    "counters": (DOCS / "metrics.md", counters),
    "distributions": (DOCS / "metrics.md", distributions),
    "notes": (DOCS / "metrics.md", notes),
    "receiver_metrics": (DOCS / "receiver.md", of_receiver),
    "tables": (DOCS / "warehouse.md", all_tables),
    "views": (DOCS / "warehouse.md", all_views),
    "bytes": (DOCS / "bigquery.md", query_bytes),
}


def _block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: [^\n]* -->\n)(.*?)(<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize("name", GENERATED)
def test_what_is_made_from_declarations_is_up_to_date(name: str) -> None:
    document, generate = GENERATED[name]
    block = _block(name).search(document.read_text("utf-8"))
    assert block is not None
    assert block[2].strip() == generate(), "run: python -m tests.test_docs --update"


def test_every_column_of_every_view_is_described() -> None:
    page = (DOCS / "warehouse.md").read_text("utf-8")
    sections = {anchor(each.partition("\n")[0]): each for each in page.split("\n### ")}
    for view, types in types_of_views().items():
        assert set(types) == _described(sections, view), view


def _described(sections: Mapping[str, str], heading: str) -> set[str]:
    """The columns of a section's table, and of the sections that its rows refer to."""
    described: set[str] = set()
    for row in re.findall(r"^\| (.*) \|$", sections[heading], re.MULTILINE):
        described.update(re.findall(r"^\**`(\w+)`", row))
        for other in re.findall(r"\(#([\w-]+)\)$", row):
            described |= _described(sections, other)
    return described


def test_every_dead_letter_reason_is_documented_in_order_with_its_retryability() -> None:
    page = (DOCS / "dead-letters.md").read_text("utf-8")
    documented = re.findall(r"^\| `(\w+)` \|", page.partition("## ")[0], re.MULTILINE)
    assert documented == [reason.value for reason in Reason]
    retryable = re.search(r"`retryable` is true .*? for\s+(`\w+`(?:, `\w+`)*)\.", page, re.DOTALL)
    assert retryable is not None
    assert set(re.findall(r"\w+", retryable[1])) == {reason.value for reason in RETRYABLE}


SEMANTICS = (DOCS / "semantics.md").read_text("utf-8")


def test_the_contract_has_its_eight_sections() -> None:
    numbers = re.findall(r"^## (\d)\. ", SEMANTICS, re.MULTILINE)
    assert numbers == list("12345678")


def test_the_contract_names_the_reasons_in_their_order() -> None:
    sentence = SEMANTICS.partition("Dead-letter reasons, the first that applies:")[2].partition("for an `alias`")[0]
    others = (Reason.MISSING_ID, Reason.MISSING_FIELD, Reason.OUT_OF_PARTITION_RANGE)
    first = [reason.value for reason in Reason if reason not in others]
    assert re.findall(r"`(\w+)`", sentence) == first


@pytest.mark.parametrize(
    ("row", "declared"),
    [
        ("`type`", CALL_TYPES),
    ],
)
def test_the_contract_lists_what_the_code_lists(row: str, declared: frozenset[str]) -> None:
    line = next(line for line in SEMANTICS.splitlines() if line.startswith(f"| {row} |"))
    listed = set(re.findall(r"`([^`]+)`", line.removeprefix(f"| {row} |")))
    assert listed - {"unsupported_type"} == declared


def test_the_contract_lists_the_placeholder_ids_and_each_is_one() -> None:
    line = next(line for line in SEMANTICS.splitlines() if line.startswith("| placeholder ids |"))
    listed = set(re.findall(r"`([^`]+)`", line)) - {"placeholder_ids"}
    assert PLACEHOLDER_IDS - {""} <= listed
    examples = {example.replace("\u2026", "id") for example in listed} - {"0x"}
    assert [example for example in examples if not ids.is_placeholder(example)] == []


@pytest.mark.parametrize(
    "limit",
    [
        f"{MAX_MESSAGE_BYTES:,} bytes",
        f"{KEPT_OF_TOO_LARGE_BYTES:,} bytes",
        f"nested deeper than {MAX_DEPTH}",
        f"at most the first {MAX_PREVIOUS_IDS:,}",
        f"{times.iso(Timestamp(PARTITIONS.start))[:10]} to {times.iso(Timestamp(PARTITIONS.stop - 1))[:10]}",
    ],
)
def test_the_contract_says_the_limits_of_the_code(limit: str) -> None:
    assert limit in " ".join(SEMANTICS.split())


def test_a_stream_and_a_file_of_the_sample_differ_as_the_contract_says() -> None:
    """By a call without any time, and by those without receivedAt, which get the time of publication."""
    reader = Reader.of(load_connections(str(ROOT / "examples" / "connections.yaml")))
    lines = [line for line in (ROOT / "examples" / "events.jsonl").read_bytes().splitlines() if line.strip()]
    calls, refused, received = 0, 0, 0
    for line in lines:
        from_a_file = list(reader.read(Received(line)))
        published = list(reader.read(Received(line, published_at=Timestamp(1_800_000_000_000_000))))
        calls += len(from_a_file)
        for one, other in zip(from_a_file, published, strict=True):
            if type(one) is not type(other):
                assert (isinstance(one, DeadLetter), isinstance(other, Call)) == (True, True)
                refused += 1
            elif isinstance(one, Call) and isinstance(other, Call) and one.received_at != other.received_at:
                assert one.timestamp == other.timestamp
                received += 1
    assert (calls, refused, received) == (3_024, 1, 2)
    section = SEMANTICS.partition("## Where a stream and a file differ\n")[2].partition("\n## ")[0]
    assert "three of 3,024 calls" in section
    assert "or `receivedAt`: one call |" in section
    assert "no `receivedAt`: two calls |" in section
    assert "semantics.md#where-a-stream-and-a-file-differ" in (ROOT / "README.md").read_text("utf-8")


def update() -> None:
    """Writes what is made from declarations into the documents."""
    for name, (document, generate) in GENERATED.items():
        text = generate()
        page = document.read_text("utf-8")
        page = _block(name).sub(lambda block, text=text: f"{block[1]}\n{text}\n\n{block[3]}", page)  # type: ignore[misc]
        document.write_text(page, "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.test_docs --update")
    update()
