"""Contacts of a time that has passed, made from another warehouse's log: the replay of the calls until then."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from unittest import mock

import duckdb
import pytest

from judge import Config, Tables, canonical
from judge.message import ReplayedMessage
from judge.reading import read
from judge.sequential import tables_of
from pipeline import schema_command
from pipeline.errors import UsageError
from pipeline.options import parse
from pipeline.run import run
from pipeline.summary import Summary
from schemas.tables import Timestamp
from tests.bigquery_double import BigQueryDouble
from tests.histories import CONFIGS, Alphabet, history, line
from tests.warehouse import comparable, tables
from transforms.core import times

KEYED = ("contacts", "accounts", "identities", "memberships")
PEOPLE = Alphabet(ids=(*(f"p{number}" for number in range(12)), "p@initech.com"), seconds=30)
DATASET = "bigquery://acme-data/segment"


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A job keeps what is loaded from being collected, which is for a process that runs one."""
    yield
    gc.unfreeze()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(config: Config, *options: str) -> Summary:
    Path("connections.yaml").write_text(json.dumps(config.document()))
    return run(*parse(["--connections=connections.yaml", *options]), "")


def deliver(messages: list[bytes], config: Config, url: str) -> None:
    Path("calls.jsonl").write_bytes(b"".join(message + b"\n" for message in messages))
    job(config, "--input=calls.jsonl", f"--warehouse={url}")


def outcomes(messages: list[bytes], config: Config) -> list[ReplayedMessage]:
    read_ones = [outcome for message in messages for outcome in read(message, config, None, None)]
    return [outcome for outcome in read_ones if isinstance(outcome, ReplayedMessage)]


def until(messages: list[bytes], config: Config, time: int) -> Tables:
    """The replay of those that happened until then."""
    return tables_of([each for each in outcomes(messages, config) if each.timestamp <= time], config, keyed_log=True)


def keyed(of: Tables) -> Mapping[str, Mapping[str, str]]:
    return {name: rows for name, rows in comparable(of).items() if name in KEYED}


def iso(time: int) -> str:
    return times.iso(Timestamp(time))


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["mixed", pytest.param("group + fallback", marks=pytest.mark.acceptance)])
def test_contacts_of_a_time_are_the_replay_of_the_calls_until_then(name: str, folder: Path) -> None:
    """One file takes one time after another; what only another time had is gone."""
    config, rng = CONFIGS[name], Random(name)
    messages = [line(message) for message in history(rng, 300, PEOPLE)]
    deliver(messages, config, "duckdb:///now.duckdb")
    before, then = digest(folder / "now.duckdb"), folder / "then.duckdb"
    moments = sorted({message.timestamp for message in outcomes(messages, config)})
    for time in (moments[len(moments) // 2], moments[len(moments) // 4] - 1, moments[0] - 1, moments[-1]):
        url = f"--as_of={iso(time)}", "--log_from=duckdb:///now.duckdb"
        summary = job(config, "--rebuild", *url, "--warehouse=duckdb:///then.duckdb")
        assert keyed(tables(then)) == keyed(until(messages, config, time)), time
        assert summary.read == 0
        if time < moments[0]:
            assert not any(keyed(tables(then)).values())
        else:
            check_traits(folder / "now.duckdb", tables(then), time)
    assert keyed(tables(then)) == keyed(tables(folder / "now.duckdb"))
    assert digest(folder / "now.duckdb") == before
    assert tables(then).identity_calls == tables(then).events == {}


def check_traits(now: Path, then: Tables, time: int) -> None:
    """That of a person who is one contact then and now, and of whom nothing was deleted, the traits of then are those
    that `trait_changes` gives for that time."""
    with duckdb.connect(str(now), read_only=True) as connection:
        deleted = {
            each
            for (each,) in connection.execute("SELECT user_id FROM identity_calls WHERE type = 'delete'").fetchall()
        }
        ids: dict[str, set[str]] = {}
        for id_, label in connection.execute("SELECT id, external_id FROM identities").fetchall():
            ids.setdefault(label, {label}).add(id_)
        standing: dict[str, dict[str, object]] = {}
        query = (
            "SELECT external_id, trait, value FROM trait_changes WHERE valid_from <= make_timestamptz($1)"
            " AND (valid_to > make_timestamptz($1) OR valid_to IS NULL)"
        )
        for label, trait, value in connection.execute(query, [time]).fetchall():
            standing.setdefault(label, {})[trait] = json.loads(value)
    for label, contact in then.contacts.items():
        of_now = ids.get(label, {label})
        if {label, *contact["previous_ids"]} == of_now and not of_now & deleted:
            assert canonical(standing.get(label, {})) == canonical(contact["traits"])


def test_the_log_of_a_dataset_makes_contacts_in_a_file(folder: Path) -> None:
    config = CONFIGS["mixed"]
    messages = [line(message) for message in history(Random(7), 60, PEOPLE)]
    moments = sorted({message.timestamp for message in outcomes(messages, config)})
    time = moments[len(moments) // 2]
    with BigQueryDouble() as double, mock.patch.dict(os.environ, double.environment):
        deliver(messages, config, DATASET)
        jobs = list(double.rows("acme-data.segment.jobs"))
        job(
            config,
            "--rebuild",
            f"--as_of={iso(time)}",
            f"--log_from={DATASET}",
            "--warehouse=duckdb:///then.duckdb",
        )
        assert list(double.rows("acme-data.segment.jobs")) == jobs
    assert keyed(tables(folder / "then.duckdb")) == keyed(until(messages, config, time))


def test_another_configuration_can_be_tried_beside_the_warehouse(folder: Path) -> None:
    messages = [line(message) for message in history(Random(8), 80, PEOPLE)]
    deliver(messages, CONFIGS["group"], "duckdb:///now.duckdb")
    other = CONFIGS["email_domain"]
    summary = job(other, "--rebuild", "--log_from=duckdb:///now.duckdb", "--warehouse=duckdb:///other.duckdb")
    assert keyed(tables(folder / "other.duckdb")) == keyed(until(messages, other, 2**62))
    with duckdb.connect("other.duckdb", read_only=True) as connection:
        assert connection.execute(summary.query).fetchall()


@pytest.fixture(scope="module")
def warehouses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with a call, another that has none, and a text."""
    made = tmp_path_factory.mktemp("warehouses")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        call = [b'{"type": "identify", "messageId": "1", "userId": "ann", "timestamp": "2024-01-01"}']
        deliver(call, CONFIGS["group"], "duckdb:///now.duckdb")
        assert schema_command.main(["create", "--warehouse=duckdb:///empty.duckdb"]) == 0
    (made / "text.duckdb").write_text("no warehouse " * 1_000)
    return made


@pytest.mark.parametrize(
    ("log", "warehouse", "line"),
    [
        ("none.duckdb", "then.duckdb", "--log_from=$/none.duckdb: there is no such file; name the file that a job"),
        (
            "empty.duckdb",
            "then.duckdb",
            "--log_from=duckdb:///empty.duckdb: has no identity_calls yet; name a warehouse",
        ),
        ("text.duckdb", "then.duckdb", "--log_from=duckdb:///text.duckdb: is not a DuckDB file; "),
        (
            "now.duckdb",
            "full.duckdb",
            "--warehouse=duckdb:///full.duckdb: has a log of its own, and contacts made from",
        ),
        ("now.duckdb", "now.duckdb", "--log_from=duckdb:///now.duckdb: is --warehouse itself; leave it out, or name"),
        ("now.duckdb", "link.duckdb", "--log_from=duckdb:///now.duckdb: is --warehouse itself; leave it out, or name"),
    ],
)
def test_a_log_that_cannot_be_read_is_told_in_one_line(
    log: str, warehouse: str, line: str, warehouses: Path, folder: Path
) -> None:
    shutil.copytree(warehouses, folder, dirs_exist_ok=True)
    shutil.copy("now.duckdb", "full.duckdb")
    (folder / "link.duckdb").symlink_to(folder / "now.duckdb")
    before = keyed(tables(folder / "full.duckdb"))
    with pytest.raises(UsageError) as raised:
        job(CONFIGS["group"], "--rebuild", f"--log_from=duckdb:///{log}", f"--warehouse=duckdb:///{warehouse}")
    assert str(raised.value).startswith(line.replace("$", str(folder)))
    assert not (folder / "then.duckdb").exists()
    assert keyed(tables(folder / "full.duckdb")) == before
