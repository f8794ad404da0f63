"""Whole jobs on dead letters: what was refused comes to the tables that the right rules would have given at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import apache_beam as beam
import duckdb
import pytest
from msgspec import Raw
from msgspec.structs import replace

from judge import replay
from pipeline import audit
from pipeline.options import parse
from pipeline.run import run
from pipeline.summary import Summary
from pipeline.warehouses import Warehouse, open_warehouse
from pipeline.warehouses.bigquery import queries, sink
from pipeline.warehouses.bigquery import redelivery as bigquery_redelivery
from pipeline.warehouses.duckdb import arrow, redelivery
from schemas.segment import KEPT_OF_TOO_LARGE_BYTES
from schemas.tables import DEAD_LETTERS, EVENTS, DeadLetter, Identity, Table
from tests.bigquery_double import BigQueryDouble
from tests.histories import CLOSED_CONFIG, CONFIGS, Message, history, line, odd_line
from tests.pipeline import test_job
from tests.pipeline.test_job import NEVER, PEOPLE, Moment, Place, as_lines, check, collected, place, run_mortal
from tests.transforms.core.calls import IDENTIFY, PAGE, TRACK, second, without
from tests.warehouse import bigquery_tables, comparable, differences, tables
from transforms.core.dead_letters import Reason, Refused, Stage, dead_letter
from transforms.core.rows import Append, Upsert

__all__ = ["collected", "place"]

OPEN_CONFIG = CONFIGS["mixed"]


def letter(message: Message | bytes, reason: Reason = Reason.UNKNOWN_CONNECTION, **given: Any) -> DeadLetter:
    payload = message if isinstance(message, bytes) else line(message)
    return dead_letter(given.pop("stage", Stage.PARSE), Refused(reason, "why"), payload, **{"attributes": {}, **given})


def keep(place: Place, letters: Iterable[DeadLetter]) -> None:
    """Has the warehouse hold these dead letters."""
    warehouse = open_warehouse(f"duckdb:///{place.file}")
    write(warehouse, letters)
    warehouse.close()


def write(warehouse: Warehouse, letters: Iterable[DeadLetter]) -> None:
    job = warehouse.start(bounded=True, runner="FnApiRunner", options="", history=True)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create([Append(each) for each in letters]) | warehouse.append(DEAD_LETTERS, job)
    pipeline.run().wait_until_finish()


def held(place: Place, columns: str = "reason, payload") -> list[tuple[Any, ...]]:
    with duckdb.connect(str(place.file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(f"SELECT {columns} FROM dead_letters ORDER BY ALL").fetchall()


def audited(url: str, folder: Path) -> int:
    return audit.main([f"--warehouse={url}", f"--connections={folder / 'connections.yaml'}"])


def check_audited(place: Place, lines: Sequence[Message | bytes]) -> None:
    check(place, lines)
    assert audited(f"duckdb:///{place.file}", place.folder) == 0


# ---- a file that lacked connections ----


@pytest.mark.parametrize("reasons", ["all", "unknown_connection"])
def test_a_corrected_connections_file_comes_to_what_it_would_have_come_to_at_once(reasons: str, place: Place) -> None:
    rng = Random(reasons)
    messages = history(rng, 200, PEOPLE)
    drawn = (odd_line(rng, PEOPLE) for _ in range(200))
    lines = [*as_lines(messages), *(each for each in drawn if not each.startswith(b"\x1f\x8b"))]
    place.config = CLOSED_CONFIG
    place.deliver(lines)
    to_read = [reason for reason, _ in held(place) if reasons in ("all", reason)]
    assert len(to_read) > 100
    place.config = OPEN_CONFIG
    summary = place.run(f"--redeliver={reasons}")
    check_audited(place, lines)
    assert summary.reread == len(to_read)
    assert summary.outcomes["event"] > 0
    assert summary.outcomes["identity_call"] > 0
    shown = comparable(tables(place.file))
    letters = held(place, "*")
    again = place.run(f"--redeliver={reasons}")
    assert comparable(tables(place.file)) == shown
    assert held(place, "*") == letters, "with the time at which each was first refused"
    assert again.read == again.outcomes.get("dead_letter", 0) == (len(letters) if reasons == "all" else 0)


def test_a_catch_all_of_all_that_was_refused(place: Place) -> None:
    place.config = CLOSED_CONFIG
    messages = [{**IDENTIFY, "messageId": f"{n}", "userId": f"u{n}", "projectId": "s9"} for n in range(20)]
    place.deliver(messages)
    summary = place.run("--redeliver=unknown_connection", "--connection=app")
    assert (summary.outcomes["identity_call"], held(place)) == (20, [])
    assert {row["connection"] for row in tables(place.file).identity_calls.values()} == {"app"}


def test_attributes_and_the_time_of_publication_come_again(place: Place) -> None:
    place.config = OPEN_CONFIG
    late = without(TRACK, "timestamp")
    attributes = {"connection": "app", "k": "v"}
    published = letter(late, attributes=attributes, published_at=second(5))
    again = letter({**late, "messageId": "again", "userId": None}, attributes=attributes, published_at=second(6))
    keep(place, [published, again])
    place.run("--redeliver=all")
    (event,) = tables(place.file).events.values()
    assert (event["connection"], event["timestamp"], event["received_at"]) == ("app", second(5), second(5))
    kept = held(place, "reason, attributes, epoch_us(published_at)")
    assert kept == [("missing_id", '{"connection":"app","k":"v"}', second(6))]


# ---- every reason ----


def test_of_a_reason_those_leave_that_the_rules_accept_by_now(place: Place) -> None:
    keep(place, [letter({**TRACK, "messageId": reason.value}, reason) for reason in Reason])
    left = [reason.value for reason in Reason]
    for reason in Reason:
        summary = place.run(f"--redeliver={reason.value}")
        left.remove(reason.value)
        assert (summary.read, summary.reread) == (1, 1), reason
        assert sorted(kept for kept, _ in held(place)) == sorted(left)
        assert {*tables(place.file).events} == {each.value for each in Reason} - {*left}


BATCH = [PAGE, {**PAGE, "userId": None}, {**IDENTIFY, "messageId": "i"}]
STAYS: list[tuple[str, Message | bytes, Reason, dict[str, Any], list[tuple[str, str, bytes]]]] = [
    ("as before", b"rubbish", Reason.INVALID_JSON, {}, [("parse", "invalid_json", b"rubbish")]),
    ("for another reason", b"nonsense", Reason.MISSING_ID, {}, [("parse", "invalid_json", b"nonsense")]),
    (
        "a part of it",
        line(BATCH),
        Reason.INVALID_JSON,
        {},
        [("parse", "missing_id", line(BATCH[1]))],
    ),
    (
        "at the write, as before",
        line({**TRACK, "properties": {"k": "?"}}).replace(b'"?"', b"1e400"),
        Reason.INVALID_FIELD,
        {"stage": Stage.WRITE, "message_id": "m"},
        [("write", "invalid_field", line({**TRACK, "properties": {"k": "?"}}).replace(b'"?"', b"1e400"))],
    ),
    ("an empty array, which is none", b"[]", Reason.INVALID_JSON, {}, []),
]


def test_what_is_refused_again_is_there_once(place: Place) -> None:
    keep(place, [letter(message, reason, **given) for _, message, reason, given, _ in STAYS])
    expected = sorted(row for *_, rows in STAYS for row in rows)
    for _ in range(2):
        place.run("--redeliver=all")
        assert held(place, "stage, reason, payload") == expected
    assert audited(f"duckdb:///{place.file}", place.folder) == 0


def test_what_is_no_message_stays_and_is_told(place: Place) -> None:
    cut = letter(b"x" * KEPT_OF_TOO_LARGE_BYTES, Reason.TOO_LARGE)
    row = Upsert(("a",), (1,), Identity("a", "b")).refused("identities", "why").row
    assert isinstance(row, DeadLetter)
    keep(place, [cut, row, letter(PAGE)])
    before = held(place)
    summary = place.run("--redeliver=all")
    assert (summary.read, summary.reread, summary.unreadable_letters) == (1, 1, {"cut": 1, "keyed_row": 1})
    assert held(place) == [each for each in before if each[0] != "unknown_connection"]


@pytest.mark.parametrize("letters", [1, 3, 1000])
def test_what_only_duckdb_refuses_costs_no_neighbour(
    letters: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "_BATCH_LETTERS", letters)
    real, bad = arrow.row_batch, {"3", "4", "9"}

    def row_batch(table: Any, rows: Sequence[Any], written_at: int) -> Any:
        """The JSON of some rows is cut, as the parser would never let through."""
        cut = bad if table is not DEAD_LETTERS else set()
        rows = [replace(row, context=Raw(b'{"a": ')) if row.message_id in cut else row for row in rows]
        return real(table, rows, written_at)

    monkeypatch.setattr(redelivery, "row_batch", row_batch)
    messages = [{**(IDENTIFY if n % 2 else PAGE), "messageId": f"{n}", "userId": f"u{n}"} for n in range(10)]
    keep(place, [letter(message) for message in messages])
    summary = place.run("--redeliver=all")
    found = tables(place.file)
    assert {*found.events, *found.identity_calls} == {f"{n}" for n in range(10)} - bad
    assert {row[0] for row in held(place, "message_id, stage, reason")} == bad
    assert summary.outcomes["dead_letter"] == 3
    assert found.contacts.keys() == {"u1", "u5", "u7"}


# ---- a job that is killed ----


def rows_or_letters(place: Place) -> tuple[set[str], set[str]]:
    """The message ids of the rows, and those of the dead letters."""
    with duckdb.connect(str(place.file), read_only=True) as connection:
        rows = connection.execute(
            "SELECT message_id FROM events UNION SELECT message_id FROM identity_calls"
        ).fetchall()
        letters = connection.execute("SELECT message_id FROM dead_letters").fetchall()
    return {id for (id,) in rows}, {id for (id,) in letters}


SMALL_BATCHES = """
from pipeline.warehouses.duckdb import redelivery
redelivery._BATCH_LETTERS = 25
"""


@pytest.mark.acceptance
def test_a_job_that_is_killed_loses_and_doubles_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_job, "MORTAL", SMALL_BATCHES + test_job.MORTAL)
    rng = Random(8)
    place.config = CLOSED_CONFIG
    messages = [{**message, "projectId": "s9"} for message in history(rng, 150, PEOPLE) if "messageId" in message]
    place.deliver(messages)
    place.config = OPEN_CONFIG
    all_ids = {message["messageId"] for message in messages}
    assert rows_or_letters(place) == (set(), all_ids)

    undisturbed = place.copy("undisturbed")
    requests = run_mortal(undisturbed, NEVER, "--redeliver=all")
    check_audited(undisturbed, messages)
    begins = [number for number, request in enumerate(requests) if request == "begin"]
    assert len(begins) >= 5, "transactions of letters, and that of the keyed rows"
    lengths = [requests.index("commit", begin) - begin for begin in begins]
    moments = [Moment(name="begin", nth=2, later=later) for later in range(lengths[1] + 2)]
    for _ in range(3):
        nth = rng.randrange(len(begins))
        moments.append(Moment(name="begin", nth=nth + 1, later=rng.randrange(lengths[nth])))
    for number, moment in enumerate(moments):
        killed = place.copy(f"killed-{number}")
        run_mortal(killed, moment, "--redeliver=all")
        rows, letters = rows_or_letters(killed)
        assert rows | letters == all_ids, moment
        assert not rows & letters, moment
        killed.run("--redeliver=all")
        check_audited(killed, messages)


# ---- BigQuery ----

DATASET = "acme-data.segment"
URL = "bigquery://acme-data/segment"


@pytest.fixture
def bigquery() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served, mock.patch.dict(os.environ, served.environment):
        yield served


def run_on_bigquery(place: Place, *options: str) -> Summary:
    summary = run(*parse([f"--warehouse={URL}", *place.arguments(*options)[1:]]), "")
    assert summary.missing == 0
    return summary


def check_bigquery(bigquery: BigQueryDouble, place: Place, lines: Sequence[Message | bytes]) -> None:
    """The tables are the replay's, each dead letter is there once, and the audit agrees."""
    assert differences(bigquery_tables(bigquery, DATASET), replay(as_lines(lines), place.config)) == []
    ids = [row["dead_letter_id"] for row in bigquery.rows(f"{DATASET}.dead_letters")]
    assert len(ids) == len(set(ids))
    assert audited(URL, place.folder) == 0


def refused_by_bigquery(place: Place) -> list[bytes]:
    """Runs a job whose connections file lacks some, on a history and on rubbish; the file is right afterwards."""
    rng = Random(9)
    nobody = {**PAGE, "userId": None, "projectId": "s9"}  # refused for another reason afterwards
    batch: Message = {"batch": [{**IDENTIFY, "messageId": "b"}, nobody], "context": {"ip": "::1"}}
    too_great = line({**TRACK, "projectId": "s9", "properties": {"k": "?"}}).replace(b'"?"', b"1e400")
    lines = [*as_lines(history(rng, 100, PEOPLE)), b"rubbish", line(nobody), line(batch), too_great]
    place.config = CLOSED_CONFIG
    assert run_on_bigquery(place, place.input(lines)).dead_letters["unknown_connection"] > 20
    place.config = OPEN_CONFIG
    return lines


def test_into_bigquery_too(bigquery: BigQueryDouble, place: Place) -> None:
    lines = refused_by_bigquery(place)
    run_on_bigquery(place, "--redeliver=unknown_connection")
    check_bigquery(bigquery, place, lines)
    events = bigquery.rows(f"{DATASET}.events")
    letters = bigquery.rows(f"{DATASET}.dead_letters")
    summary = run_on_bigquery(place, "--redeliver=all")
    assert summary.reread == summary.outcomes["dead_letter"] == len(letters)
    assert bigquery.rows(f"{DATASET}.events") == events
    assert bigquery.rows(f"{DATASET}.dead_letters") == letters, "with the time at which each was first refused"
    check_bigquery(bigquery, place, lines)


@pytest.mark.acceptance
@pytest.mark.parametrize("moment", ["before the letters are removed", "between two statements that remove them"])
def test_a_job_on_bigquery_that_fails_loses_nothing_and_is_run_again(
    moment: str, bigquery: BigQueryDouble, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = refused_by_bigquery(place)
    letters = {row["dead_letter_id"] for row in bigquery.rows(f"{DATASET}.dead_letters")}
    real, statements = queries.query, iter(range(1 if moment.startswith("between") else 0))

    def query(client: Any, statement: str, *parameters: Any) -> Any:
        if statement.startswith("DELETE") and next(statements, None) is None:
            raise RuntimeError("the end of the process")
        return real(client, statement, *parameters)

    monkeypatch.setattr(bigquery_redelivery, "_IDS", 10)
    monkeypatch.setattr(bigquery_redelivery, "query", query)
    with pytest.raises(RuntimeError, match="the end of the process"):
        run_on_bigquery(place, "--redeliver=all")
    left = {row["dead_letter_id"] for row in bigquery.rows(f"{DATASET}.dead_letters")}
    assert len(letters - left) == (10 if moment.startswith("between") else 0)
    monkeypatch.undo()
    for _ in range(2):
        run_on_bigquery(place, "--redeliver=all")
        check_bigquery(bigquery, place, lines)


@pytest.mark.parametrize("table", [EVENTS, DEAD_LETTERS], ids=lambda table: table.name)
def test_no_letter_is_removed_before_all_rows_are_durable(
    table: Table, bigquery: BigQueryDouble, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused_by_bigquery(place)
    letters = bigquery.rows(f"{DATASET}.dead_letters")

    real = sink.AppendFn.finish_bundle

    def finish_bundle(fn: sink.AppendFn) -> Any:
        if fn.table == table:
            raise RuntimeError("the end of the process")
        return real(fn)

    monkeypatch.setattr(sink.AppendFn, "finish_bundle", finish_bundle)
    with pytest.raises(RuntimeError, match="the end of the process"):
        run_on_bigquery(place, "--redeliver=all")
    left = {row["dead_letter_id"] for row in bigquery.rows(f"{DATASET}.dead_letters")}
    assert left >= {row["dead_letter_id"] for row in letters}


def test_a_letter_that_bigquery_holds_twice_is_read_once_and_leaves_with_its_copy(
    bigquery: BigQueryDouble, place: Place
) -> None:
    place.config = OPEN_CONFIG
    item = without(TRACK, "timestamp")
    received: dict[str, Any] = {
        "attributes": {"connection": "app"},
        "published_at": second(5),
        "inherited": '{"context": {"ip": "x"}}',
    }
    refused = letter(item, **received)
    warehouse = open_warehouse(URL)
    write(warehouse, [refused, refused, letter({**item, "messageId": "n", "userId": None}, **received)])
    warehouse.close()
    summary = run_on_bigquery(place, "--redeliver=unknown_connection")
    (event,) = bigquery.rows(f"{DATASET}.events")
    assert (event["connection"], event["timestamp"], event["received_at"]) == ("app", second(5), second(5))
    assert json.loads(event["context"]) == {"ip": "x"}
    (left,) = bigquery.rows(f"{DATASET}.dead_letters")
    assert (left["reason"], left["published_at"], left["inherited"]) == ("missing_id", second(5), received["inherited"])
    assert json.loads(left["attributes"]) == {"connection": "app"}
    assert (summary.reread, summary.read) == (2, 2)
