"""A purge takes what a deleted person left behind, and nothing else (docs/semantics.md, section 7)."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import duckdb
import pytest

from pipeline import audit, purge
from pipeline.options import parse
from pipeline.run import run
from pipeline.warehouses import open_warehouse
from pipeline.warehouses.bigquery.warehouse import BigQueryGoogleSql, BigQueryWarehouse
from schemas.tables import APPENDED, KEYED
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
LATE = at(22, "identify", userId="ann", traits=[1])
"""A dead letter from after the delete."""
BOB = [
    at(30, "identify", userId="bob", anonymousId="phone", traits={"note": "bob's"}),
    at(31, "page", userId="bob"),
    at(32, "track", userId="bob"),  # a dead letter
    at(33, "identify", userId=7),
    at(34, "group", userId=7, groupId=["acme"]),  # a dead letter
    at(35, "identify", userId=77, traits=[1]),  # a dead letter
]


EVE = [
    at(1, "page", anonymousId="eves-phone", properties={"note": SECRET}),
    at(3, "identify", userId="eve@acme.com", anonymousId="eves-phone", traits={"email": "eve@acme.com"}),
    at(4, "alias", previousId="eve@acme.com", userId="eve@initech.com"),
    at(5, "group", userId="eve@initech.com", groupId="acme", traits={"contact": "eve@acme.com"}),
    at(6, "identify", userId="eve@initech.com", traits=[1]),  # a dead letter
    at(10, "delete", userId="eve@initech.com"),
]
"""Her ids are e-mail addresses."""
EVE_BACK = [
    at(20, "page", anonymousId="eves-phone"),
    at(21, "page", userId="eve@acme.com", anonymousId="eves-phone", previousId="eve@initech.com", channel=["x"]),
    at(22, "identify", userId="eve@initech.com", traits={"plan": "pro"}),
    at(23, "identify", userId="bob", anonymousId="eves-phone", previousId="eve@acme.com", traits={"plan": "free"}),
    at(24, "group", anonymousId=" eves-phone ", groupId="bobs"),
]
ADDRESSES = (b"eve@acme.com", b"eve@initech.com")
KEY = "a key of ours"


def job(url: str, folder: Path, messages: Iterable[Message | bytes]) -> None:
    source = folder / "calls.jsonl"
    lines = (message if isinstance(message, bytes) else line(message) for message in messages)
    source.write_bytes(b"".join(message + b"\n" for message in lines))
    settings, options = parse([f"--input={source}", f"--warehouse={url}"])
    run(settings, options, "")


def rebuild(url: str) -> None:
    settings, options = parse(["--rebuild", f"--warehouse={url}"])
    run(settings, options, "")


def hashed(id: str) -> str:
    return hmac.new(KEY.encode(), id.encode(), hashlib.sha256).hexdigest()


def contents(url: str) -> Mapping[str, list[Mapping[str, Any]]]:
    """Every row but those of jobs, without the times at which rows were written."""
    with open_warehouse(url).contents() as held:
        return {
            table.name: sorted(
                ({name: value for name, value in row.items() if name != table.written} for row in held.rows(table)),
                key=str,
            )
            for table in (*APPENDED, *KEYED)
        }


@pytest.fixture(params=["duckdb", pytest.param("bigquery", marks=pytest.mark.acceptance)])
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
    assert audit.main([f"--warehouse={url}"]) == 0
    before = contents(url)
    rebuild(url)
    assert contents(url) == before


def test_what_came_after_it_stays(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(url, tmp_path, [*ANN, DELETE, *BACK, LATE])
    assert purge.main([f"--warehouse={url}", "--id= ann "]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 removed from events",
        "1 removed from dead_letters",
        "4 of identity_calls keep nothing but ids and times",
        "1 of events are left: they came after the delete",
        "1 of identity_calls are left: they came after the delete",
        "1 of dead_letters are left: they came after the delete",
    ]
    assert audit.main([f"--warehouse={url}"]) == 0


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


LETTERS = [
    ("an escaped id", b'{"type":"identify","userId":"\\u0061nn","traits":[1]}', True),
    ("a padded id", b'{"type":"identify","userId":" ann ","traits":[1]}', True),
    ("beside a byte that is no UTF-8", b'{"type":"page","userId":"\\u0061nn","name":"\xff"}', True),
    ("a byte that is no UTF-8 in the id", b'{"type":"page","userId":"ann\xff"}', True),
    ("an integer", b'{"type":"group","userId":4711,"groupId":["acme"]}', True),
    ("another of the person's ids", b'{"type":"page","anonymousId":"phone","traits":[1]}', True),
    ("cut off", b'{"type":"page","userId":"ann","name":"Pri', True),
    ("one of several people", b'[{"type":"page","userId":"bob"},{"type":"page","userId":"ann"},', True),
    ("of the moment of the delete", line(at(10, "x", userId="ann") | {"messageId": "m1"}), True),
    ("from after the delete", line(at(11, "x", userId="ann")), False),
    ("a batch's item from after the delete", line({"batch": [at(12, "x", userId="ann")]}), False),
    ("another's, whose text contains the id", b'{"type":"identify","userId":"bob","traits":["ann"]}', False),
    (
        "another's, whose event is the id",
        b'{"type":"ann","userId":"bob","event":"ann","name":"userId: ann"}',
        False,
    ),
    ("another's, of which the id is a part", b'{"type":"identify","userId":"ann2","traits":[1]}', False),
    ("an error page", b"<html>ann</html>", False),
]
"""Dead letters, and whether they go with Ann."""


def test_a_dead_letter_goes_where_it_names_the_person(url: str, tmp_path: Path) -> None:
    person = [at(1, "identify", userId="ann", anonymousId="phone"), at(2, "alias", userId="ann", previousId=4711)]
    job(url, tmp_path, [*person, DELETE | {"userId": "ann"}, *(letter for _, letter, _ in LETTERS)])
    payloads = [letter["payload"] for letter in contents(url)["dead_letters"]]
    names = {payload: name_of(payload) for payload in payloads}
    assert sorted(names.values()) == sorted(what for what, _, _ in LETTERS)
    assert purge.main([f"--warehouse={url}", "--id=phone", "--no_rebuild"]) == 0
    left = [names[letter["payload"]] for letter in contents(url)["dead_letters"]]
    assert sorted(left) == sorted(what for what, _, goes in LETTERS if not goes)


def name_of(payload: bytes) -> str:
    """Which of the dead letters this is; of a batch its item is one."""
    return next(what for what, letter, _ in LETTERS if payload in letter)


@pytest.mark.parametrize("id_", ["track", "identify", "timestamp", "7", "bob"])
def test_an_id_that_is_a_common_word_takes_nothing_of_others(id_: str, tmp_path: Path) -> None:
    url = f"duckdb:///{tmp_path / 'warehouse.duckdb'}"
    others = [at(50, "track", userId="carl"), at(51, "identify", userId="carl", traits=[1, id_])]
    hers = at(52, "identify", userId=id_, traits=[1])
    job(url, tmp_path, [*others, hers, at(58, "delete", userId=id_)])
    assert purge.main([f"--warehouse={url}", f"--id={id_}", "--no_rebuild"]) == 0
    left = contents(url)["dead_letters"]
    assert {json.loads(letter["payload"])["userId"] for letter in left} == {"carl"}
    assert len(left) == 2


def test_hashes_take_the_place_of_ids(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(url, tmp_path, [*EVE, *EVE_BACK])
    plain = contents(url)
    capsys.readouterr()
    with mock.patch.dict(os.environ, {"SEGMENT_PURGE_KEY": KEY}):
        assert purge.main([f"--warehouse={url}", "--id=eve@acme.com", "--hash_ids"]) == 0
    printed = capsys.readouterr()
    assert "Hashes took the place of ids in 7 of identity_calls, and of 3 ids of events" in printed.out
    assert KEY not in printed.out + printed.err
    held = contents(url)
    assert not [name for name, rows in held.items() for address in ADDRESSES if address.decode() in str(rows)]
    assert not [name for name, rows in held.items() if "eves-phone" in str(rows)]
    new = {id: hashed(id) for id in ("eve@acme.com", "eve@initech.com", "eves-phone")}
    assert {(row["id"], row["external_id"]) for row in held["identities"]} == {
        (new.get(row["id"], row["id"]), new.get(row["external_id"], row["external_id"])) for row in plain["identities"]
    }
    (eve,) = (row for row in held["contacts"] if row["external_id"] == new["eve@initech.com"])
    assert eve["previous_ids"] == sorted([new["eve@acme.com"], new["eves-phone"]])
    assert audit.main([f"--warehouse={url}"]) == 0
    rebuild(url)
    assert contents(url) == held


def test_a_second_purge_agrees_with_the_first(tmp_path: Path) -> None:
    """What comes between the two is as if it had come before both."""
    later = EVE_BACK[:3]
    urls = [f"duckdb:///{tmp_path / name}.duckdb" for name in ("once", "twice")]
    job(urls[0], tmp_path, [*EVE, *later])
    job(urls[1], tmp_path, EVE)
    with mock.patch.dict(os.environ, {"SEGMENT_PURGE_KEY": KEY}):
        assert purge.main([f"--warehouse={urls[1]}", "--id=eves-phone", "--hash_ids"]) == 0
        job(urls[1], tmp_path, later)
        assert [contact["external_id"] for contact in contents(urls[1])["contacts"]] == ["eve@initech.com"]
        assert purge.main([f"--warehouse={urls[0]}", "--id=eve@initech.com", "--hash_ids"]) == 0
        for id_ in ("eve@initech.com", "eve@acme.com", "eves-phone", "eve@initech.com"):
            assert purge.main([f"--warehouse={urls[1]}", f"--id={id_}", "--hash_ids"]) == 0
    once, twice = (contents(url) for url in urls)
    for name in ("events", "contacts", "identities", "memberships", "dead_letters"):
        assert once[name] == twice[name]


def test_an_address_that_stays_in_ids_is_told(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(url, tmp_path, EVE)
    capsys.readouterr()
    assert purge.main([f"--warehouse={url}", "--id=eves-phone"]) == 0
    assert capsys.readouterr().out.splitlines()[3:] == [
        "2 of the ids are e-mail addresses, which stay in what is kept of ids: --hash_ids puts hashes in their place"
    ]


@pytest.mark.parametrize("hash_ids", [False, True])
def test_nothing_removed_is_in_the_bytes_of_the_file(hash_ids: bool, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    messages = EVE if hash_ids else [*ANN, DELETE]
    traces = [*ADDRESSES, b"eves-phone"] if hash_ids else [b"ann@acme.com", SECRET.encode()]
    job(f"duckdb:///{file}", tmp_path, messages)
    assert all(trace in file.read_bytes() for trace in traces), "compressed, so that this test could not fail"
    id_ = "eve@acme.com" if hash_ids else "ann"
    with mock.patch.dict(os.environ, {"SEGMENT_PURGE_KEY": KEY}):
        assert purge.main([f"--warehouse=duckdb:///{file}", f"--id={id_}", *["--hash_ids"] * hash_ids]) == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"warehouse.duckdb", "warehouse.duckdb.wal", "calls.jsonl"}
    for path in tmp_path.glob("warehouse.duckdb*"):
        assert not [trace for trace in traces if trace in path.read_bytes()], path
    assert audit.main([f"--warehouse=duckdb:///{file}"]) == 0


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("hash_ids", "change"),
    [(True, 0), (True, 2), (True, 3), (True, 5), (True, 6), (True, 7), (True, 8), (False, 1), (False, 3)],
)
def test_one_that_broke_off_is_finished_by_the_next(hash_ids: bool, change: int, tmp_path: Path) -> None:
    """In BigQuery each change is durable at once."""
    url = "bigquery://project/dataset"
    arguments = [f"--warehouse={url}", "--id=eve@acme.com", *["--hash_ids"] * hash_ids]
    with BigQueryDouble() as bigquery, mock.patch.dict(os.environ, bigquery.environment, SEGMENT_PURGE_KEY=KEY):
        job(url, tmp_path, [*EVE, *EVE_BACK])
        with dying_at(change), pytest.raises(Died):
            purge.main(arguments)
        assert purge.main(arguments) == 0
        assert contents(url) == purged_at_once(hash_ids)
        assert audit.main([f"--warehouse={url}"]) == 0


@functools.cache
def purged_at_once(hash_ids: bool) -> Mapping[str, list[Mapping[str, Any]]]:
    url = "bigquery://project/dataset"
    with (
        BigQueryDouble() as bigquery,
        mock.patch.dict(os.environ, bigquery.environment, SEGMENT_PURGE_KEY=KEY),
        tempfile.TemporaryDirectory() as folder,
    ):
        job(url, Path(folder), [*EVE, *EVE_BACK])
        assert purge.main([f"--warehouse={url}", "--id=eve@acme.com", *["--hash_ids"] * hash_ids]) == 0
        return contents(url)


class Died(Exception):
    """What ends a purge in the middle."""


@contextlib.contextmanager
def dying_at(change: int) -> Iterator[None]:
    """Ends a purge in BigQuery before its change of that number. The seventh is to make the tables anew, the eighth is
    the end of that."""
    sent = itertools.count()
    send = BigQueryGoogleSql.change

    def dying(self: BigQueryGoogleSql, statement: str, parameters: Any = None) -> int:
        if next(sent) == change:
            raise Died
        return send(self, statement, parameters)

    rebuilding = (BigQueryWarehouse, "finish") if change == 8 else (purge, "run")
    with mock.patch.object(BigQueryGoogleSql, "change", dying), mock.patch.object(*rebuilding, side_effect=Died):
        yield


KILLED = """
import os, signal, sys
from unittest import mock
import duckdb
from pipeline import purge
from pipeline.warehouses.duckdb import database, googlesql, rewrite

target, name = {"change": (googlesql.DuckDbGoogleSql, "change"), "rebuild": (purge, "run"),
    "publish": (database.Database, "publish"), "look": (purge, "look"), "copy": (rewrite.shutil, "copymode"),
    "replace": (rewrite.os, "replace"), "replaced": (rewrite, "to_disk"), "report": (purge, "_report")}[sys.argv[1]]
with mock.patch.object(target, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)):
    purge.main(sys.argv[2:])
"""


@pytest.mark.acceptance
@pytest.mark.parametrize("step", ["change", "rebuild", "publish", "look", "copy", "replace", "replaced", "report"])
def test_one_that_was_killed_is_finished_by_the_next(step: str, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    url = f"duckdb:///{file}"
    job(url, tmp_path, EVE)
    arguments = [f"--warehouse={url}", "--id=eve@acme.com", "--hash_ids"]
    environment = {**os.environ, "SEGMENT_PURGE_KEY": KEY}
    ended = subprocess.run([sys.executable, "-c", KILLED, step, *arguments], env=environment, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    with mock.patch.dict(os.environ, environment):
        assert purge.main(arguments) == 0
    for path in tmp_path.glob("warehouse.duckdb*"):
        assert not [address for address in ADDRESSES if address in path.read_bytes()], path
    assert {path.name for path in tmp_path.iterdir()} == {"warehouse.duckdb", "calls.jsonl"}
    assert audit.main([f"--warehouse={url}"]) == 0
    held = contents(url)
    assert (held["events"], held["dead_letters"]) == ([], [])


def test_what_came_while_it_ran_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with BigQueryDouble() as bigquery, mock.patch.dict(os.environ, bigquery.environment):
        url = "bigquery://project/dataset"
        job(url, tmp_path, [*ANN, DELETE])
        capsys.readouterr()
        late = at(8, "page", userId="ann")
        with mock.patch.object(purge, "_rebuild", side_effect=lambda _: job(url, tmp_path, [late])):
            assert purge.main([f"--warehouse={url}", "--id=ann"]) == 1
        lines = capsys.readouterr().out.splitlines()[3:]
        assert lines == ["1 of events up to the delete are left: they came while this ran, so run it again"]


def test_an_id_that_came_while_it_ran_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"duckdb:///{tmp_path / 'warehouse.duckdb'}"
    job(url, tmp_path, EVE)
    capsys.readouterr()
    late = [at(30, "page", userId="bob", anonymousId="eves-phone"), at(31, "identify", userId="eve@acme.com")]
    rebuilding = mock.patch.object(purge, "_rebuild", side_effect=lambda _: job(url, tmp_path, late))
    with rebuilding, mock.patch.dict(os.environ, {"SEGMENT_PURGE_KEY": KEY}):
        assert purge.main([f"--warehouse={url}", "--id=eve@acme.com", "--hash_ids"]) == 1
    assert capsys.readouterr().out.splitlines()[4:] == [
        "1 of identity_calls carry ids that are not hashes: they came while this ran, so run it again",
        "1 of events carry ids that are not hashes: they came while this ran, so run it again",
        "1 of identity_calls are left: they came after the delete",
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--id="], "--id='': is blank; give a userId or an anonymousId"),
        (["--id=  "], "--id='  ': is blank; give a userId or an anonymousId"),
        (["--id=\udcff"], "is not text in UTF-8; write it in UTF-8"),
        (["--id=eve", "--hash_ids"], "--hash_ids: the environment variable SEGMENT_PURGE_KEY is not set; "),
        (["--id=eve", "--connections=/nowhere.yaml"], "/nowhere.yaml"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert purge.main([f"--warehouse=duckdb:///{tmp_path / 'warehouse.duckdb'}", *arguments]) == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert problem in printed


def test_no_hash_while_a_job_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its state has the ids as they were."""
    with BigQueryDouble() as bigquery, mock.patch.dict(os.environ, bigquery.environment):
        url = "bigquery://project/dataset"
        job(url, tmp_path, EVE)
        open_warehouse(url).start(bounded=False, runner="DataflowRunner", options="", history=True)
        before = contents(url)
        capsys.readouterr()
        with mock.patch.dict(os.environ, {"SEGMENT_PURGE_KEY": KEY}):
            assert purge.main([f"--warehouse={url}", "--id=eve@acme.com", "--hash_ids"]) == 2
        assert "has not entered its end" in capsys.readouterr().err
        assert contents(url) == before
        assert purge.main([f"--warehouse={url}", "--id=eve@acme.com"]) == 0
        assert "are as they were until the next job" in capsys.readouterr().out
        assert contents(url)["accounts"] == before["accounts"]


def test_tables_are_not_made_anew_under_another_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"duckdb:///{tmp_path / 'warehouse.duckdb'}"
    file = tmp_path / "connections.yaml"
    file.write_text("connections:\n  - name: Site\n    account_mapping: {method: identify_traits}\n")
    source = tmp_path / "calls.jsonl"
    bob = at(2, "identify", userId="bob", traits={"company": {"id": "initech"}})
    source.write_bytes(b"\n".join(map(line, [*EVE, bob])))
    arguments = [f"--input={source}", f"--connections={file}", f"--warehouse={url}"]
    settings, options = parse(arguments)
    run(settings, options, " ".join(arguments))
    before = contents(url)
    capsys.readouterr()
    with mock.patch.dict(os.environ, {"SEGMENT_PURGE_KEY": KEY}):
        assert purge.main([f"--warehouse={url}", "--id=eve@acme.com", "--hash_ids"]) == 2
        assert "--connections" in capsys.readouterr().err
        assert contents(url) == before
        assert purge.main([f"--warehouse={url}", "--id=eve@acme.com"]) == 0
        assert [contents(url)[table.name] for table in KEYED] == [before[table.name] for table in KEYED]
        assert "are as they were until the next job" in capsys.readouterr().out
        assert purge.main([f"--warehouse={url}", "--id=eve@acme.com", "--hash_ids", f"--connections={file}"]) == 0
    assert audit.main([f"--warehouse={url}", f"--connections={file}"]) == 0


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.acceptance) for seed in range(2, 8))])
def test_the_log_gives_the_same_contacts(seed: int, tmp_path: Path) -> None:
    messages = history(Random(seed), 60)
    file = tmp_path / "warehouse.duckdb"
    url = f"duckdb:///{file}"
    job(url, tmp_path, messages)
    before = warehouse.tables(file)
    for id_ in sorted({str(message["userId"]) for message in messages if "userId" in message}):
        assert purge.main([f"--warehouse={url}", f"--id={id_}", "--no_rebuild"]) in (0, 1)
    rebuild(url)
    after = warehouse.tables(file)
    assert (after.contacts, after.identities) == (before.contacts, before.identities)
    assert after.memberships.keys() == before.memberships.keys()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--id="], "--id='': is blank; give a userId or an anonymousId"),
        (["--id=  "], "--id='  ': is blank; give a userId or an anonymousId"),
        (["--id=\udcff"], "--id='\\udcff': is not text in UTF-8; write it in UTF-8"),
        (["--id=a", "--id=b"], "--id: is given more than once; give it once"),
    ],
)
def test_an_id_that_is_none_is_refused_in_a_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert purge.main(["--warehouse=duckdb:///none.duckdb", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"python -m pipeline.purge: {expected}")
