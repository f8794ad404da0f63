"""The DuckDB warehouse: keys, versions, and what is shown when."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import apache_beam as beam
import duckdb
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp
from msgspec import Raw
from msgspec.structs import replace

from pipeline.errors import UsageError
from pipeline.warehouses import DEAD_LETTERS, LOGGED, JobRun, Warehouse, open_warehouse
from pipeline.warehouses.duckdb import database as databases
from pipeline.warehouses.duckdb import sink, sql
from pipeline.warehouses.duckdb.arrow import row_batch, upsert_batch
from pipeline.warehouses.duckdb.database import Database
from schemas.tables import (
    ACCOUNTS,
    CONTACTS,
    EVENTS,
    IDENTITIES,
    IDENTITY_CALLS,
    Account,
    Audience,
    Contact,
    Identity,
    IdentityCall,
    Timestamp,
)
from tests.rows import NOON, call, event, label
from tests.transforms.core.calls import IDENTIFY, accepted
from tests.warehouse import rows
from transforms import metrics
from transforms.core.dead_letters import Reason, Refused, Stage, dead_letter
from transforms.core.reader import Call, Received
from transforms.core.rows import Append, LogEntry, Upsert


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def warehouse(file: Path) -> Iterator[Warehouse]:
    opened = open_warehouse(f"duckdb:///{file}")
    yield opened
    opened.close()


def start(warehouse: Warehouse, *, bounded: bool = True, history: bool = True) -> JobRun:
    return warehouse.start(bounded=bounded, runner="FnApiRunner", options="", history=history)


def feed(elements: Iterable[Any], step: beam.PTransform, expected: Sequence[Any] | None = None) -> Mapping[str, int]:
    """Runs a step on elements; returns what was counted."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    outputs = pipeline | beam.Create(list(elements), reshuffle=False) | step
    if expected is not None:
        assert_that(outputs, equal_to(expected))
    result = pipeline.run()
    result.wait_until_finish()
    return {name: count for name, count in metrics.counts(result.metrics()).items() if count}


def publish(warehouse: Warehouse, job: JobRun) -> Mapping[str, int]:
    return feed([0], warehouse.publish(job))


def stored(warehouse: Warehouse, file: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a table, sorted by key, once the warehouse has let go of the file."""
    warehouse.close()
    with duckdb.connect(str(file), read_only=True) as connection:
        return sorted(rows(connection, table), key=lambda row: str(next(iter(row.values()))))


def labels(warehouse: Warehouse, file: Path) -> dict[str, str]:
    return {row["id"]: row["external_id"] for row in stored(warehouse, file, "identities")}


# ---- the file ----


@pytest.mark.parametrize(
    ("what", "name", "message"),
    [
        ("text", "text", "is not a DuckDB file; name another file, or one that does not exist yet"),
        ("a folder", "folder", "is a folder; name a file in it"),
        ("no folder", "none/w.duckdb", "there is no folder"),
    ],
)
def test_a_file_that_is_no_warehouse_is_one_line(what: str, name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a,b\n1,2\n" * 100)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError) as error:
        start(open_warehouse(f"duckdb:///{tmp_path / name}"))
    line = str(error.value)
    assert line.startswith(f"--warehouse=duckdb:///{tmp_path / name}: ")
    assert message in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("what", "made", "message"),
    [
        (
            "another type",
            "CREATE TABLE contacts (external_id INTEGER PRIMARY KEY)",
            "table contacts, column external_id: is INTEGER, which cannot become VARCHAR",
        ),
        ("another key", "CREATE TABLE accounts (account_id VARCHAR)", "table accounts: its primary key is none"),
        ("a view", "CREATE VIEW events AS SELECT 1", "table events: there is a view of that name"),
    ],
)
def test_tables_that_do_not_fit_are_one_line_and_stay(
    what: str, made: str, message: str, warehouse: Warehouse, file: Path
) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute(made)
        before = connection.execute("SELECT table_name, column_name FROM duckdb_columns() ORDER BY ALL").fetchall()
    with pytest.raises(UsageError) as error:
        start(warehouse)
    assert message in str(error.value)
    assert str(error.value).endswith("; name another file")
    assert "\n" not in str(error.value)
    warehouse.close()
    with duckdb.connect(str(file)) as connection:
        query = "SELECT table_name, column_name FROM duckdb_columns() ORDER BY ALL"
        assert connection.execute(query).fetchall() == before


def test_an_older_warehouse_gets_what_it_lacks_and_keeps_its_rows(warehouse: Warehouse, file: Path) -> None:
    feed([Append(event("m1"))], warehouse.append(EVENTS, start(warehouse)))
    warehouse.close()
    with duckdb.connect(str(file)) as connection:
        for view in ("events_resolved", "contact_accounts", "users"):
            connection.execute(f"DROP VIEW {view}")
        connection.execute("ALTER TABLE events DROP COLUMN group_id")
        connection.execute("ALTER TABLE contacts DROP COLUMN title")
        connection.execute("DROP SCHEMA internal CASCADE")
        connection.execute("INSERT INTO identities VALUES ('a', 'old', NULL), ('of no version', 'old', NULL)")
    job = start(warehouse)
    feed([Append(event("m2"))], warehouse.append(EVENTS, job))
    feed([Upsert(("ann",), (1,), Contact("ann", title="Dr"))], warehouse.upsert(CONTACTS, job))
    feed([label("a", 1, "new")], warehouse.upsert(IDENTITIES, job))
    publish(warehouse, job)
    assert labels(warehouse, file) == {"a": "new"}
    assert [row["message_id"] for row in stored(warehouse, file, "events")] == ["m1", "m2"]
    assert [(row["external_id"], row["title"]) for row in stored(warehouse, file, "contacts")] == [("ann", "Dr")]


def test_generations_grow_and_a_job_is_entered_with_its_end(warehouse: Warehouse, file: Path) -> None:
    jobs = [start(warehouse), start(warehouse, bounded=False)]
    publish(warehouse, jobs[0])
    warehouse.finish(jobs[0])
    warehouse.close()
    with duckdb.connect(str(file)) as connection:
        query = "SELECT generation, runner, history_done, ended_at >= started_at FROM jobs ORDER BY generation"
        entered = connection.execute(query).fetchall()
    assert entered == [
        (jobs[0].generation, "FnApiRunner", True, True),
        (jobs[1].generation, "FnApiRunner", False, None),
    ]
    assert jobs[0].generation < jobs[1].generation


# ---- rows that are written once ----


@pytest.mark.parametrize("batch", [1, 2, 5000])
def test_a_key_is_stored_once_and_every_row_has_an_outcome(
    batch: int, warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_BATCH_ROWS", batch)
    job = start(warehouse)
    appends = [Append(event(f"m{number % 4}"), "event", b"bytes") for number in range(7)]
    counts = feed([*appends, Append(event("m9"))], warehouse.append(EVENTS, job), expected=[])
    assert counts == {
        "written-rows:events": 5,
        "repeated-rows:events": 3,
        "outcome-calls:event": 4,
        "outcome-calls:duplicate": 3,
    }
    assert feed([appends[0]], warehouse.append(EVENTS, job))["outcome-calls:duplicate"] == 1
    assert [row["message_id"] for row in stored(warehouse, file, "events")] == ["m0", "m1", "m2", "m3", "m9"]


@pytest.mark.parametrize("batch", [1, 2, 5000])
@pytest.mark.parametrize("number", [b"1e400", b"-1E+400", b"[1.5e308, 1e309]", b"1" + b"0" * 250 + b"e99", b"9" * 400])
def test_what_a_warehouse_would_refuse_is_a_dead_letter_and_costs_no_neighbour(
    number: bytes, batch: int, warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_BATCH_ROWS", batch)
    job = start(warehouse)
    refused = Append(event("m2", b'{"a": ' + number + b"}"), "event", b"its bytes", {"connection": "web"})
    appends = [*(Append(event(f"m{index}"), "event", b"good") for index in (1, 3)), refused]
    why = EVENTS.misfit(refused.row) or ""
    assert why.startswith("properties: number is infinity when parsed as double")
    letter = dead_letter(
        Stage.WRITE,
        Refused(Reason.INVALID_FIELD, why),
        b"its bytes",
        {"connection": "web"},
        message_id="m2",
        connection="web",
    )
    counts = feed([appends[0], refused, appends[1]], warehouse.append(EVENTS, job), expected=[Append(letter)])
    assert counts["outcome-calls:event"] == 2
    assert counts["outcome-calls:dead_letter"] == counts["dead-letter-calls:invalid_field"] == 1
    assert [row["message_id"] for row in stored(warehouse, file, "events")] == ["m1", "m3"]


@pytest.mark.parametrize("batch", [1, 3, 5000])
@pytest.mark.parametrize("document", [b'{"a": ', b'{"a": "\x01"}'], ids=["cut", "a control character"])
def test_what_only_duckdb_refuses_is_a_dead_letter_and_costs_no_neighbour(
    document: bytes, batch: int, warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_BATCH_ROWS", batch)
    bad = {3, 4, 9}
    appends = [Append(event(f"m{n}", document if n in bad else b"{}"), "event", b"%d" % n) for n in range(10)]
    step = warehouse.append(EVENTS, start(warehouse))
    letters = "Letters" >> beam.Map(lambda append: append.row.payload)
    counts = feed(appends, step | letters, [b"3", b"4", b"9"])
    assert counts["written-rows:events"] == counts["outcome-calls:event"] == 7
    assert counts["outcome-calls:dead_letter"] == counts["dead-letter-calls:invalid_field"] == 3
    expected = [f"m{n}" for n in range(10) if n not in bad]
    assert [row["message_id"] for row in stored(warehouse, file, "events")] == expected


@pytest.mark.parametrize(
    "document", [b'{"a": 1e308}', b'{"a": "1e400"}', b'{"a": 1e-400}', b'{"1e999": "' + b"9" * 400 + b'"}']
)
def test_what_only_looks_so_is_stored(document: bytes, warehouse: Warehouse, file: Path) -> None:
    feed([Append(event("m1", document))], warehouse.append(EVENTS, start(warehouse)), expected=[])
    assert stored(warehouse, file, "events")[0]["properties"] == json.loads(document)


def test_every_column_of_every_type_comes_back(warehouse: Warehouse, file: Path) -> None:
    contact = Contact(
        "ann",
        email="ann@acme.com",
        created_at=Timestamp(-62_135_596_800_000_000),
        traits=Raw('{"é": [1.0, null, "\u0000"]}'.replace("\u0000", "\\u0000").encode()),
        audiences=(Audience("a", True, NOON), Audience("b", False, Timestamp(NOON + 1))),
        previous_ids=("x", "é"),
        connections=(),
        first_identified_at=NOON,
        last_identified_at=Timestamp(253_402_300_799_999_999),
    )
    account = Account("7", "Seven", employees=2**63 - 1, connections=("web", "app"))
    job = start(warehouse)
    feed([Upsert(("ann",), (1,), contact)], warehouse.upsert(CONTACTS, job))
    feed([Upsert(("7",), (1,), account)], warehouse.upsert(ACCOUNTS, job))
    publish(warehouse, job)
    (row,) = stored(warehouse, file, "contacts")
    assert {name: value for name, value in row.items() if value is not None} == {
        "external_id": "ann",
        "email": "ann@acme.com",
        "created_at": -62_135_596_800_000_000,
        "traits": {"é": [1.0, None, "\u0000"]},
        "audiences": [
            {"audience_key": "a", "is_member": True, "updated_at": NOON},
            {"audience_key": "b", "is_member": False, "updated_at": NOON + 1},
        ],
        "previous_ids": ["x", "é"],
        "connections": [],
        "first_identified_at": NOON,
        "last_identified_at": 253_402_300_799_999_999,
    }
    (row,) = stored(warehouse, file, "accounts")
    assert (row["employees"], row["connections"]) == (2**63 - 1, ["web", "app"])


def test_the_log_gives_back_what_it_held_when_the_job_started(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "_STREAMED_ROWS", 2)
    first = start(warehouse)
    assert first.log_until is None
    feed(
        [Append(call(f"m{number}", connection=f"c{number}")) for number in range(5)],
        warehouse.append(IDENTITY_CALLS, first),
    )
    second = start(warehouse)
    feed([Append(call("later"))], warehouse.append(IDENTITY_CALLS, second))
    expected = [Received(f'{{"é": "m{n}"}}'.encode(), connection=f"c{n}") for n in range(5)]
    feed([0], Log(warehouse, second), expected)
    feed([0], Log(warehouse, first), [])


class Log(beam.PTransform):
    """What the log gives, whatever comes in."""

    def __init__(self, warehouse: Warehouse, job: JobRun) -> None:
        super().__init__()
        self.warehouse, self.job = warehouse, job

    def expand(self, elements: Any) -> Any:
        return elements.pipeline | self.warehouse.read_log(self.job)


# ---- calls that are logged ----


class _TimesFn(beam.DoFn):
    """Each call's message id and the seconds of its timestamp."""

    def process(self, logged: Call, timestamp: Any = beam.DoFn.TimestampParam) -> Iterator[tuple[str, int]]:
        yield logged.message_id, timestamp.micros // 1_000_000


def entry(row: IdentityCall, outcome: str | None = "identity_call") -> LogEntry:
    received = accepted({**IDENTIFY, "messageId": row.message_id})
    return LogEntry(call=received, append=Append(row, outcome, received.message))


def log(
    warehouse: Warehouse, job: JobRun, entries: Sequence[LogEntry], logged: Sequence[int], refused: Sequence[str] = ()
) -> Mapping[str, int]:
    """Logs entries, of which each has its index as its timestamp; returns what was counted. Expects the calls of
    `logged`, by index, and dead letters of the message ids of `refused`."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    timed = [TimestampedValue(element, second) for second, element in enumerate(entries)]
    outputs = pipeline | beam.Create(timed, reshuffle=False) | warehouse.log(job)
    times = [(entries[index].call.message_id, index) for index in logged]
    assert_that(outputs[LOGGED] | beam.ParDo(_TimesFn()), equal_to(times), label="Times")
    letters = outputs[DEAD_LETTERS] | beam.Map(lambda append: append.row.message_id)
    assert_that(letters, equal_to(list(refused)), label="Letters")
    result = pipeline.run()
    result.wait_until_finish()
    return {name: count for name, count in metrics.counts(result.metrics()).items() if count}


BATCHES = [1, 2, 5000]


@pytest.mark.parametrize("batch", BATCHES)
def test_a_logged_call_is_given_with_its_time_and_given_again_when_its_bundle_is_tried_again(
    batch: int, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_BATCH_ROWS", batch)
    job = start(warehouse)
    entries = [entry(call(f"m{number}")) for number in range(5)]
    counts = log(warehouse, job, entries, range(5))
    assert counts == {"written-rows:identity_calls": 5, "outcome-calls:identity_call": 5}
    counts = log(warehouse, job, [*entries, entry(call("new"))], range(6))
    assert counts == {
        "written-rows:identity_calls": 1,
        "repeated-rows:identity_calls": 5,
        "outcome-calls:identity_call": 1,
        "outcome-calls:duplicate": 5,
    }


CONFLICTS = {
    "another payload": call("m", payload='{"a": 2}'),
    "another connection": call("m", payload='{"a": 1}', connection="app"),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("other", CONFLICTS.values(), ids=CONFLICTS)
@pytest.mark.parametrize("before", [True, False], ids=["of an earlier bundle", "of the same bundle"])
def test_of_calls_with_the_same_message_id_the_first_alone_counts(
    before: bool, other: IdentityCall, batch: int, warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_BATCH_ROWS", batch)
    job = start(warehouse)
    first = call("m", payload='{"a": 1}')
    entries = [entry(first), entry(call("n")), entry(other), entry(first), entry(other, outcome=None)]
    if before:
        log(warehouse, job, [entry(first)], [0])
    counts = log(warehouse, job, entries, [0, 1, 3])
    assert counts["conflicting-rows:identity_calls"] == 2
    assert counts["outcome-calls:conflicting"] == 1, "one has no outcome of its own"
    assert counts["written-rows:identity_calls"] == counts["outcome-calls:identity_call"] == 1 + (not before)
    assert counts["repeated-rows:identity_calls"] == counts["outcome-calls:duplicate"] == 1 + before
    warehouse.close()
    with duckdb.connect(str(file), read_only=True) as connection:
        query = "SELECT payload, connection FROM identity_calls WHERE message_id = 'm'"
        assert connection.execute(query).fetchall() == [('{"a": 1}', "web")]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    "traits", [b'{"a": 1e400}', b'{"a": '], ids=["a number beyond FLOAT64", "what DuckDB cannot convert"]
)
def test_a_refused_call_gives_no_facts_and_takes_no_message_id(
    traits: bytes, batch: int, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_BATCH_ROWS", batch)
    job = start(warehouse)
    bad = replace(call("m"), traits=Raw(traits))
    entries = [entry(call("l")), entry(bad), entry(call("n")), entry(call("m"))]
    counts = log(warehouse, job, entries, [0, 2, 3], refused=["m"])
    assert counts["outcome-calls:dead_letter"] == counts["dead-letter-calls:invalid_field"] == 1
    assert counts["outcome-calls:identity_call"] == 3


@pytest.mark.parametrize("message_id", ["'", "''; --", "\\", "\0", "a\0'b", "\u2028é", "$1", "{}"])
def test_a_call_is_compared_whatever_its_message_id(message_id: str, warehouse: Warehouse) -> None:
    job = start(warehouse)
    entries = [entry(call(message_id, payload="{}")), entry(call(message_id, payload="[]"))]
    assert log(warehouse, job, entries, [0])["conflicting-rows:identity_calls"] == 1


def test_the_log_is_asked_for_nothing_when_nothing_repeats(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[int] = []

    def conflicting(
        self: Database, batch: pa.Table, refused: Mapping[int, str], new: Collection[int]
    ) -> frozenset[int]:
        lookups.append(batch.num_rows - len(new))
        return frozenset()

    monkeypatch.setattr(Database, "conflicting", conflicting)
    job = start(warehouse)
    bad = replace(call("bad"), traits=Raw(b'{"a": '))
    log(warehouse, job, [entry(call("m")), entry(bad)], [0], refused=["bad"])
    assert lookups == []
    log(warehouse, job, [entry(call("m"))], [0])
    assert lookups == [1]


def test_a_long_bundle_holds_few_calls(warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "_BATCH_ROWS", 10)
    fn = sink.InsertCalls(str(file), start(warehouse)).fn
    fn.setup()
    fn.start_bundle()
    given = most_held = 0
    for number in range(300):
        given += len(fn.process(entry(call(f"m{number}")), BeamTimestamp(number)))
        most_held = max(most_held, number + 1 - given)
    assert 0 < most_held <= 50
    assert given + len(list(fn.finish_bundle())) == 300


# ---- rows by version ----


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 5000])
def test_the_greatest_version_of_a_key_stands_whatever_the_order(
    batch: int, bounded: bool, warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_BATCH_ROWS", batch)
    rng = Random(1)
    history = [
        label(id_, version, rng.choice((None, f"{id_} at {version}"))) for id_ in "abcdefgh" for version in range(12)
    ]
    written = [*history, *rng.sample(history, 40)]
    rng.shuffle(written)
    job = start(warehouse, bounded=bounded)
    feed(written[:70], warehouse.upsert(IDENTITIES, job))
    feed(written[70:], warehouse.upsert(IDENTITIES, job))
    publish(warehouse, job)
    last = {upsert.key[0]: upsert.row for upsert in history}
    assert set(last.values()) > {None}
    expected = {id_: row.external_id for id_, row in last.items() if isinstance(row, Identity)}
    assert labels(warehouse, file) == expected


@pytest.mark.parametrize("bounded", [True, False])
def test_a_stale_version_never_overwrites_and_never_brings_back_a_removed_row(
    bounded: bool, warehouse: Warehouse, file: Path
) -> None:
    job = start(warehouse, bounded=bounded)
    feed([label("kept", 5, "new"), label("gone", 5, None)], warehouse.upsert(IDENTITIES, job))
    publish(warehouse, job)
    feed([label("kept", 4, "stale"), label("gone", 4, "stale")], warehouse.upsert(IDENTITIES, job))
    feed([label("kept", 5, "again"), label("gone", 5, "again")], warehouse.upsert(IDENTITIES, job))
    publish(warehouse, job)
    assert labels(warehouse, file) == {"kept": "new"}


def test_versions_are_compared_indexby_number(warehouse: Warehouse, file: Path) -> None:
    job = start(warehouse, bounded=False)
    for version in ((2, 1), (10, 0), (9, 9), (10,)):
        upsert = Upsert(("a",), version, Identity("a", f"{version}"))
        feed([upsert], warehouse.upsert(IDENTITIES, job))
    assert labels(warehouse, file) == {"a": "(10, 0)"}


@pytest.mark.parametrize("bounded", [True, False])
def test_a_later_job_wins_whatever_its_versions_and_removes_what_it_did_not_write(
    bounded: bool, warehouse: Warehouse, file: Path
) -> None:
    first = start(warehouse)
    feed([label("a", 99, "old"), label("b", 99, "old"), label("c", 99, None)], warehouse.upsert(IDENTITIES, first))
    publish(warehouse, first)
    second = start(warehouse, bounded=bounded)
    feed([label("a", 1, "new"), label("c", 1, "new")], warehouse.upsert(IDENTITIES, second))
    feed([label("b", 100, "late")], warehouse.upsert(IDENTITIES, first))
    publish(warehouse, second)
    assert labels(warehouse, file) == {"a": "new", "c": "new"}


@pytest.mark.parametrize(("bounded", "expected"), [(True, {}), (False, {"a": "b"})])
def test_a_bounded_jobs_rows_are_shown_when_it_publishes_and_others_at_once(
    bounded: bool, expected: dict[str, str], warehouse: Warehouse, file: Path
) -> None:
    job = start(warehouse, bounded=bounded)
    feed([label("a", 1, "b")], warehouse.upsert(IDENTITIES, job), expected=[1])
    assert labels(warehouse, file) == expected


def test_more_rows_are_shown_at_once_than_its_memory_for_reading_holds(
    warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_BUFFER_BYTES", 24_000_000)
    monkeypatch.setattr(databases, "_INDEX_STEP_BYTES", 1)
    job = start(warehouse)
    people = [label(f"anonymous-{number:064}", 1, f"user-{number:064}") for number in range(60_000)]
    database = Database.of(str(file))
    for first in range(0, len(people), 4_000):
        database.run(database.stage, IDENTITIES, upsert_batch(IDENTITIES, people[first : first + 4_000], job)).result()
    assert database.run(database.publish, job).result()["identities"] == len(people)


@pytest.mark.parametrize("name", ["{:08x}", "{:036x}", "{:0256x}", "{:064x}" + "-" * 150])
def test_its_memory_grows_with_the_index_that_it_must_hold(
    name: str, warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_BUFFER_BYTES", 24_000_000)
    monkeypatch.setattr(databases, "_INDEX_STEP_BYTES", 1_000_000)
    rng = Random(1)
    for _ in range(2):
        start(warehouse)
        database = Database.of(str(file))
        for _ in range(50):
            appends = [Append(call(name.format(rng.getrandbits(128))), "identity_call", b"") for _ in range(2_000)]
            batch = row_batch(IDENTITY_CALLS, [append.row for append in appends], 0)
            assert database.run(database.append, IDENTITY_CALLS, appends, batch).result().written == 2_000
        warehouse.close()


@pytest.mark.parametrize(
    "ask", [lambda file: Database.query(file, "SELECT 1"), lambda file: Database.row_counts(file, ["jobs"])]
)
def test_a_file_that_is_closed_between_a_query_and_its_rows_has_none(
    ask: Callable[[str], list[Any]], warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(warehouse)

    class Closing:
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self.connection = connection

        def execute(self, query: str) -> duckdb.DuckDBPyConnection:
            cursor = sql.new_cursor(self.connection).execute(query)
            cursor.close()
            return cursor

    monkeypatch.setattr(databases, "new_cursor", Closing)
    assert ask(str(file)) == []


# ---- the log of changes ----


def unwritten_bytes(file: Path) -> int:
    """Those of the log of changes beside the file, once the writing thread has nothing to do."""
    Database.of(str(file)).run(int).result()
    log = file.with_name(f"{file.name}.wal")
    return log.stat().st_size if log.exists() else 0


@pytest.mark.parametrize("bounded", [True, False])
def test_a_bounded_job_writes_its_changes_away_once_when_no_bundle_appends(
    bounded: bool, warehouse: Warehouse, file: Path
) -> None:
    job = start(warehouse, bounded=bounded)
    database = Database.of(str(file))
    database.open_bundle(job)
    feed([Append(event("m1"))], warehouse.append(EVENTS, job), expected=[])
    assert unwritten_bytes(file)
    database.close_bundle(job)
    assert bool(unwritten_bytes(file)) is not bounded
    feed([Append(event("m2"))], warehouse.append(EVENTS, job), expected=[])
    assert unwritten_bytes(file)
    assert [row["message_id"] for row in stored(warehouse, file, "events")] == ["m1", "m2"]


def test_it_is_told_why_changes_could_not_be_written_away(
    warehouse: Warehouse, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(warehouse)

    def fail(self: Database) -> None:
        raise duckdb.IOException("No space left on device")

    monkeypatch.setattr(Database, "_checkpoint", fail)
    feed([Append(event("m1"))], warehouse.append(EVENTS, job), expected=[])
    assert unwritten_bytes(file)
    failure = warehouse.explain()
    assert failure is not None
    assert "No space left on device" in str(failure)
