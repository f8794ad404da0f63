"""The audit finds every kind of difference that is planted, and none after jobs that went right."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import msgspec
import pytest

import judge
from judge import Config
from pipeline.audit import configuration, main
from pipeline.options import parse
from pipeline.run import run
from tests.histories import CONFIGS, WHOLE, Message, deal, history, line
from tests.transforms.core.calls import START_MS
from transforms.core.connections import DEFAULT, Connections


def job(folder: Path, messages: Sequence[Message], config: Config | None = None, *options: str) -> None:
    """Runs a job on the messages, which goes on from those before it, into `warehouse.duckdb`."""
    (folder / "calls.jsonl").write_bytes(b"".join(line(message) + b"\n" for message in messages))
    if config is not None:
        (folder / "connections.yaml").write_text(json.dumps(config.document()))
        options = (*options, f"--connections={folder}/connections.yaml")
    if "--rebuild" not in options:
        options = (*options, f"--input={folder}/calls.jsonl")
    run(*parse([f"--warehouse=duckdb:///{folder}/warehouse.duckdb", *options]), "")


def audit(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str]]:
    """The status of an audit of `warehouse.duckdb`, and the lines that it prints."""
    if (folder / "connections.yaml").exists():
        options = (*options, f"--connections={folder}/connections.yaml")
    status = main([f"--warehouse=duckdb:///{folder}/warehouse.duckdb", *options])
    printed = capsys.readouterr()
    assert printed.err == ""
    return status, printed.out.splitlines()


# ---- nothing to be found ----


@pytest.mark.parametrize(
    ("name", "jobs"),
    [("group + fallback", 1), ("identify_traits + fallback, registrable", 3), ("mixed", 1), ("mixed", 3)],
)
def test_random_histories_leave_no_difference(
    name: str, jobs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = Random(name)
    alphabet = dataclasses.replace(WHOLE, ids=(*WHOLE.ids, *(f"q{number}" for number in range(40))), seconds=30)
    messages = history(rng, 250, alphabet)
    for part in deal(rng, messages, jobs):
        job(tmp_path, part, CONFIGS[name])
    status, printed = audit(tmp_path, capsys)
    assert (status, len(printed)) == (0, 1)
    found = re.fullmatch(
        r"(\d+) calls of identity_calls replayed: "
        r"no difference in contacts \((\d+)\), accounts \((\d+)\), identities \((\d+)\), memberships \((\d+)\)",
        printed[0],
    )
    assert found is not None
    assert all(int(count) >= 5 for count in found.groups()), printed


# ---- what is planted ----

AUDIENCE = {"personas": {"computation_class": "audience", "computation_key": "vip"}}


def at(second: int, type_: str, /, **fields: Any) -> Message:
    return {"messageId": f"m{second}", "type": type_, "timestamp": START_MS + second * 1000, **fields}


STORY = [
    at(1, "identify", userId="ann", traits={"email": "ann@acme.com", "color": "red", "size": 1}),
    at(2, "identify", anonymousId="phone", userId="ann", traits={"vip": "true"}, context=AUDIENCE),
    at(3, "identify", userId="bob", traits={"name": "Bob"}),
    at(4, "group", userId="bob", groupId="globex", traits={"employees": 7, "plan": "free"}),
]
RIGHT = (
    "4 calls of identity_calls replayed: no difference in contacts (2), accounts (2), identities (1), memberships (2)"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a warehouse that a job has written from the story."""
    folder = tmp_path_factory.mktemp("audit")
    job(folder, STORY)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to plant differences in."""
    shutil.copy(written / "warehouse.duckdb", tmp_path)
    return tmp_path


def plant(folder: Path, statement: str) -> None:
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute(statement)


PLANTED = [
    # (what, how it is planted, the lines of the differences)
    (
        "a row is missing",
        "DELETE FROM contacts WHERE external_id = 'bob'",
        [
            'contacts "bob": no row in the table, in the replay {"account_id":"globex","account_source":"group",'
            '"connections":["default"],"first_identified_at":"2023-11-14T22:13:23.000000Z",'
            '"last_identified_at":"2023-11-14T22:13:23.000000Z","name":"Bob","traits":{…'
        ],
    ),
    (
        "a row too many",
        "INSERT INTO memberships VALUES ('bob', 'acme.com', 'group', '2023-01-01', '2023-01-01', now())",
        [
            'memberships "bob", "acme.com": no row in the replay, in the table {"account_source":"group",'
            '"first_named_at":"2023-01-01T00:00:00.000000Z","last_named_at":"2023-01-01T00:00:00.000000Z"}'
        ],
    ),
    (
        "the wrong contact of an id",
        "UPDATE identities SET external_id = 'bob' WHERE id = 'phone'",
        ['identities "phone": external_id is "bob" in the table, "ann" in the replay'],
    ),
    (
        "an id that should have none",
        "INSERT INTO identities VALUES ('bob', 'ann', now())",
        ['identities "bob": no row in the replay, in the table {"external_id":"ann"}'],
    ),
    (
        "an id that lost its own",
        "DELETE FROM identities",
        ['identities "phone": no row in the table, in the replay {"external_id":"ann"}'],
    ),
    (
        "a wrong value",
        "UPDATE contacts SET email = 'x@y.com' WHERE external_id = 'ann'",
        ['contacts "ann": email is "x@y.com" in the table, "ann@acme.com" in the replay'],
    ),
    (
        "a value that should be NULL, and one that is",
        "UPDATE accounts SET domain = 'x', employees = NULL WHERE account_id = 'globex'",
        [
            'accounts "globex": domain is "x" in the table, null in the replay',
            'accounts "globex": employees is null in the table, 7 in the replay',
        ],
    ),
    (
        "a wrong time",
        "UPDATE memberships SET last_named_at = last_named_at + INTERVAL 1 MICROSECOND WHERE external_id = 'ann'",
        [
            'memberships "ann", "acme.com": last_named_at is "2023-11-14T22:13:21.000001Z" in the table, '
            '"2023-11-14T22:13:21.000000Z" in the replay'
        ],
    ),
    (
        "wrong traits, one by one",
        """UPDATE contacts SET traits = '{"email":"ann@acme.com","color":"blue","vip":true,"new":[1]}'"""
        " WHERE external_id = 'ann'",
        [
            'contacts "ann": traits.color is "blue" in the table, "red" in the replay',
            'contacts "ann": traits.new is [1] in the table, absent in the replay',
            'contacts "ann": traits.size is absent in the table, 1 in the replay',
        ],
    ),
    (
        "numbers that are equal and not the same",
        """UPDATE contacts SET traits = '{"email":"ann@acme.com","color":"red","size":1.0,"vip":1}'"""
        " WHERE external_id = 'ann'",
        [
            'contacts "ann": traits.size is 1.0 in the table, 1 in the replay',
            'contacts "ann": traits.vip is 1 in the table, true in the replay',
        ],
    ),
    (
        "a list",
        "UPDATE contacts SET previous_ids = ['phone', 'tablet'] WHERE external_id = 'ann'",
        ['contacts "ann": previous_ids is ["phone","tablet"] in the table, ["phone"] in the replay'],
    ),
    (
        "an audience",
        "UPDATE contacts SET audiences = list_transform(audiences, lambda a: struct_insert(struct_pack("
        "audience_key := a.audience_key), is_member := false, updated_at := a.updated_at)) WHERE external_id = 'ann'",
        [
            'contacts "ann": audiences is '
            '[{"audience_key":"vip","is_member":false,"updated_at":"2023-11-14T22:13:22.000000Z"}] in the table, '
            '[{"audience_key":"vip","is_member":true,"updated_at":"2023-11-14T22:13:22.000000Z"}] in the replay'
        ],
    ),
]


@pytest.mark.parametrize(("what", "statement", "expected"), PLANTED, ids=[what for what, *_ in PLANTED])
def test_what_is_planted_is_found(
    what: str, statement: str, expected: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(folder, statement)
    table = expected[0].partition(" ")[0]
    differences = f"{len(expected)} difference{'s' if len(expected) > 1 else ''}"
    assert audit(folder, capsys) == (
        1,
        [*expected, f"4 calls of identity_calls replayed: {differences}, {len(expected)} in {table}"],
    )


def test_the_time_of_writing_is_no_difference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(folder, "UPDATE contacts SET updated_at = '2020-01-01'")
    assert audit(folder, capsys) == (0, [RIGHT])


def test_a_call_that_is_missing_from_the_log_shows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(folder, "DELETE FROM identity_calls WHERE message_id = 'm2'")
    status, printed = audit(folder, capsys)
    assert status == 1
    assert printed[-1] == "3 calls of identity_calls replayed: 5 differences, 4 in contacts, 1 in identities"


def test_no_more_is_shown_than_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(folder, "DELETE FROM accounts; DELETE FROM identities; DELETE FROM memberships")
    status, printed = audit(folder, capsys, "--show=2")
    assert (status, len(printed)) == (1, 4)
    assert printed[2:] == [
        "and 3 more",
        "4 calls of identity_calls replayed: 5 differences, 2 in accounts, 1 in identities, 2 in memberships",
    ]


def test_a_job_that_did_not_end_is_told_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = "The last job did not end: what it logged is in the tables after the next one."
    plant(folder, "UPDATE jobs SET ended_at = NULL")
    assert audit(folder, capsys) == (0, [RIGHT])
    plant(folder, "DELETE FROM identities")
    assert told in audit(folder, capsys)[1]


def test_a_call_that_cannot_be_read_any_more_is_told_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(folder, "UPDATE identity_calls SET payload = '{' WHERE message_id = 'm3'")
    assert "1 call of the log cannot be read any more: invalid_json" in audit(folder, capsys)[1]


def test_the_warehouse_is_only_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashlib.sha256((folder / "warehouse.duckdb").read_bytes()).digest()
    assert audit(folder, capsys) == (0, [RIGHT])
    assert hashlib.sha256((folder / "warehouse.duckdb").read_bytes()).digest() == before
    assert [path.name for path in folder.iterdir()] == ["warehouse.duckdb"]


# ---- configurations ----


def test_a_connection_that_is_no_longer_configured_is_mapped_like_the_catch_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = history(Random(1), 120, WHOLE)
    job(tmp_path, messages, CONFIGS["mixed"])
    for name in ("identify_traits + fallback", "email_domain"):
        job(tmp_path, [], CONFIGS[name], "--rebuild")
        status, printed = audit(tmp_path, capsys)
        assert (status, printed[:2]) == (
            0,
            [f"The connections file has no connection {gone!r}, which the log names." for gone in ("app", "crm")],
        )


def test_the_configuration_must_be_the_jobs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "connections.yaml").write_text("link_anonymous_ids: false")
    status, printed = audit(folder, capsys)
    assert status == 1
    assert 'identities "phone": no row in the replay, in the table {"external_id":"ann"}' in printed


@pytest.mark.parametrize("name", CONFIGS)
def test_the_replay_takes_every_configuration_as_it_is(name: str) -> None:
    assert configuration(msgspec.convert(CONFIGS[name].document(), Connections)) == CONFIGS[name]
    assert configuration(DEFAULT) == Config()


@pytest.mark.parametrize(
    ("struct", "own"),
    [
        (Connections, judge.Config),
        (Connections().connections[0], judge.ConnectionRules),
        (Connections().connections[0].account_mapping, judge.MappingRules),
    ],
)
def test_the_replay_knows_every_key_of_a_connections_file(struct: Any, own: Any) -> None:
    assert set(struct.__struct_fields__) - {"receive"} == {field.name for field in dataclasses.fields(own)}


# ---- mistakes ----


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--warehouse=duckdb:///{folder}/none.duckdb"], "there is no such file; name the file"),
        (["--warehouse=duckdb:///{folder}/no/w.duckdb"], "there is no folder {folder}/no; make it, or name"),
        (["--warehouse=duckdb:///{folder}/other.duckdb"], "is not a warehouse of this version: Catalog Error: "),
        (["--warehouse=bigquery://project"], "is not the URL of a dataset; give bigquery://PROJECT_ID/DATASET"),
        ([], "the following arguments are required: --warehouse; python -m pipeline.audit --help shows the options"),
        (["--warehouse=x", "--show=many"], "argument --show: 'many' is not a count: give a whole number from 0"),
        (["--warehouse=x", "--show=-5"], "argument --show: '-5' is not a count: give a whole number from 0"),
        (["--warehouse=x", "--show", "-5"], "argument --show: '-5' is not a count: give a whole number from 0"),
        (["--warehouse=x", "--show=1.5"], "argument --show: '1.5' is not a count: give a whole number from 0"),
        (["--warehouse=x", "--show=1", "--show=1"], "--show: is given more than once; give it once"),
        (["--warehouse=x", "--connections=none.yaml"], "--connections=none.yaml: no such file; give a YAML file"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_is_said_in_a_line(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    assert main([argument.format(folder=tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (said,) = printed.err.splitlines()
    assert said.startswith("python -m pipeline.audit: ")
    assert expected.format(folder=tmp_path) in said
