"""A purge takes what a deleted person left behind, and nothing else (docs/semantics.md, section 7)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import duckdb
import pytest

from pipeline import audit, purge
from pipeline.options import parse
from pipeline.run import run
from tests import warehouse
from tests.bigquery_double import BigQueryDouble
from tests.histories import Message, history, line

START = "2025-03-01T09:%02d:00.000Z"
SECRET = "ann's own"


def at(minute: int, type_: str, **fields: Any) -> Message:
    return {"messageId": f"m{minute}", "type": type_, "timestamp": START % minute, "receivedAt": START % 59, **fields}


ANN = [
    at(1, "page", anonymousId="phone", properties={"note": SECRET}),
    at(2, "track", anonymousId="phone", event="Bought", properties={"note": SECRET}),
    at(3, "identify", userId="ann", anonymousId="phone", traits={"email": "ann@acme.com", "note": SECRET}),
    at(4, "alias", previousId="ann", userId="u7"),
    at(5, "group", userId="u7", groupId="acme", traits={"note": SECRET}, context={"ip": SECRET}),
    at(6, "identify", userId="u7", traits="ann@acme.com"),  # a dead letter
    at(7, "track", userId="u7", event="Entered", properties={"audience_key": "vip", "vip": True, "note": SECRET})
    | {"context": {"personas": {"computation_class": "audience", "computation_key": "vip"}}},
]
DELETE = at(10, "delete", userId="u7")
BACK = [at(20, "page", anonymousId="phone"), at(21, "identify", userId="u7", traits={"plan": "pro"})]
BOB = [
    at(30, "identify", userId="bob", anonymousId="phone", traits={"note": "bob's"}),
    at(31, "page", userId="bob"),
    at(32, "track", userId="bob"),  # a dead letter
    at(33, "identify", userId=7),
    at(34, "group", userId=7, groupId=["acme"]),  # a dead letter
    at(35, "identify", userId=77, traits=[1]),  # a dead letter
]


def job(url: str, folder: Path, messages: Iterable[Message]) -> None:
    source = folder / "calls.jsonl"
    source.write_bytes(b"".join(line(message) + b"\n" for message in messages))
    settings, options = parse([f"--input={source}", f"--warehouse={url}"])
    run(settings, options, "")


@pytest.fixture(params=["duckdb", "bigquery"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[str]:
    if request.param == "duckdb":
        yield f"duckdb:///{tmp_path / 'warehouse.duckdb'}"
        return
    with BigQueryDouble() as bigquery, mock.patch.dict(os.environ, bigquery.environment):
        yield "bigquery://project/dataset"


def test_what_came_up_to_the_delete_goes(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(url, tmp_path, [*ANN, DELETE, *BOB])
    assert purge.main([f"--warehouse={url}", "--id=phone"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 removed from events",
        "1 removed from dead_letters",
        "4 of identity_calls keep nothing but ids and times",
        "Nothing is left of phone up to the delete, and nothing came after it",
    ]
    assert purge.main([f"--warehouse={url}", "--id=u7"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["0 removed from events", "0 removed from dead_letters"]
    settings, options = parse(["--rebuild", f"--warehouse={url}"])
    run(settings, options, "")
    assert audit.main([f"--warehouse={url}"]) == 0


def test_what_came_after_it_stays(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(url, tmp_path, [*ANN, DELETE, *BACK])
    assert purge.main([f"--warehouse={url}", "--id=ann"]) == 0
    assert capsys.readouterr().out.splitlines()[3:] == [
        "1 of events are left: they came after the delete",
        "1 of identity_calls are left: they came after the delete",
    ]


def test_without_a_delete_nothing_goes(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(url, tmp_path, ANN)
    assert purge.main([f"--warehouse={url}", "--id=ann"]) == 1
    line = "No delete call of the log names ann or another id of the same contact: nothing was purged"
    assert capsys.readouterr().out.splitlines() == [line]
    assert audit.main([f"--warehouse={url}"]) == 0


def test_nothing_of_the_person_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    job(f"duckdb:///{file}", tmp_path, [*ANN, DELETE, *BOB])
    assert purge.main([f"--warehouse=duckdb:///{file}", "--id=u7"]) == 0
    with duckdb.connect(str(file), read_only=True) as connection:
        for table in ("events", "identity_calls", "contacts", "dead_letters"):
            assert SECRET not in str(connection.execute(f"SELECT * FROM {table}").fetchall()), table
        assert connection.execute("SELECT user_id FROM events").fetchall() == [("bob",)]
        assert len(connection.execute("SELECT * FROM dead_letters").fetchall()) == 3


@pytest.mark.parametrize(("id_", "letters"), [("7", 1), ("77", 1), ("bob", 1)])
def test_a_dead_letter_is_the_persons_whose_id_it_holds_as_a_value(id_: str, letters: int, tmp_path: Path) -> None:
    url = f"duckdb:///{tmp_path / 'warehouse.duckdb'}"
    job(url, tmp_path, [*BOB, at(40, "delete", userId=id_)])
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        before = len(connection.execute("SELECT * FROM dead_letters").fetchall())
    assert purge.main([f"--warehouse={url}", f"--id={id_}"]) == 0
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        assert before - len(connection.execute("SELECT * FROM dead_letters").fetchall()) == letters


@pytest.mark.parametrize("seed", range(8))
def test_the_log_gives_the_same_contacts(seed: int, tmp_path: Path) -> None:
    messages = history(Random(seed), 60)
    file = tmp_path / "warehouse.duckdb"
    url = f"duckdb:///{file}"
    job(url, tmp_path, messages)
    before = warehouse.tables(file)
    for id_ in sorted({str(message["userId"]) for message in messages if "userId" in message}):
        assert purge.main([f"--warehouse={url}", f"--id={id_}"]) in (0, 1)
    settings, options = parse(["--rebuild", f"--warehouse={url}"])
    run(settings, options, "")
    after = warehouse.tables(file)
    assert (after.contacts, after.identities) == (before.contacts, before.identities)
    assert after.memberships.keys() == before.memberships.keys()
