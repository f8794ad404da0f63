"""The whole job: whatever way the messages come to it, the tables that it leaves are the replay's."""

from __future__ import annotations

import gc
import gzip
import hashlib
import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import duckdb
import pytest

from judge import Config, ConnectionRules, MappingRules, replay, replay_log
from pipeline import schema_command
from pipeline.errors import UsageError
from pipeline.options import parse
from pipeline.run import run
from pipeline.summary import Summary
from pipeline.warehouses import open_warehouse
from pipeline.warehouses.duckdb import arrow, database, sink
from tests.histories import (
    CLOSED_CONFIG,
    CONFIGS,
    INTEGRATION_CONFIG,
    MAPPINGS,
    Alphabet,
    Message,
    deal,
    history,
    line,
    odd_line,
)
from tests.warehouse import comparable, tables

ROOT = Path(__file__).parents[2]
PEOPLE = Alphabet(ids=(*(f"p{number}" for number in range(20)), "p@initech.com"), seconds=30)
"""Ids and times for a history of some hundred messages: as dense as the small ones that they stand for."""
KEYED = ("contacts", "accounts", "identities", "memberships")


@dataclass
class Place:
    """A folder with a warehouse and with what was delivered to it."""

    folder: Path
    config: Config = CONFIGS["mixed"]
    number: Iterator[int] = field(default_factory=itertools.count)

    @property
    def file(self) -> Path:
        return self.folder / "warehouse.duckdb"

    def arguments(self, *options: str) -> list[str]:
        connections = self.folder / "connections.yaml"
        connections.write_text(json.dumps(self.config.document()))
        return [f"--warehouse=duckdb:///{self.file}", f"--connections={connections}", *options]

    def input(self, lines: Sequence[bytes], rng: Random | None = None) -> str:
        """Writes the lines to a file; with a generator, to some, plain and packed in several ways."""
        folder = self.folder / f"input-{next(self.number)}"
        folder.mkdir()
        files: list[list[bytes]] = [[] for _ in range(1 if rng is None else rng.randint(1, 3))]
        for each in lines:
            (rng or Random(0)).choice(files).append(each)
        for number, part in enumerate(files):
            content = b"".join(each + b"\n" for each in part)
            (folder / f"{number}.jsonl").write_bytes(content if rng is None else packed(content, rng))
        return f"--input={folder}/*"

    def run(self, *options: str) -> Summary:
        summary = run(*parse(self.arguments(*options)), "")
        assert summary.read == sum(summary.outcomes.values()), "an item read has no outcome"
        assert summary.outcomes.get("dead_letter", 0) == sum(summary.dead_letters.values())
        return summary

    def deliver(self, messages: Sequence[Message | bytes], *options: str, rng: Random | None = None) -> Summary:
        """Runs a job on the messages alone."""
        return self.run(self.input(as_lines(messages), rng), *options)

    def copy(self, name: str) -> Place:
        """The folder with all that is in it, beside it: pytest gives the folders of other tests the same parent."""
        folder = self.folder.with_name(f"{self.folder.name} {name}")
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)


def as_lines(messages: Sequence[Message | bytes]) -> list[bytes]:
    return [message if isinstance(message, bytes) else line(message) for message in messages]


def packed(content: bytes, rng: Random) -> bytes:
    """As it is, without its last line feed, or as a gzip file of one member or two."""
    cut = rng.randint(0, len(content))
    ways = (
        content,
        content.removesuffix(b"\n"),
        b"\n \r\n" + content,
        gzip.compress(content),
        gzip.compress(content[:cut]) + gzip.compress(content[cut:]),
    )
    return rng.choice(ways)


def check(place: Place, messages: Sequence[Message | bytes]) -> None:
    """The warehouse is what the replay makes of the messages."""
    expected, made = comparable(replay(as_lines(messages), place.config)), comparable(tables(place.file))
    for name, keyed in expected.items():
        assert made[name] == keyed, name


def keyed(file: Path) -> Mapping[str, Mapping[str, str]]:
    """The tables that a job shows at its end."""
    return {name: rows for name, rows in comparable(tables(file)).items() if name in KEYED}


def identify(id_: str, second: int, **traits: object) -> Message:
    timestamp = f"2024-01-01T09:00:{second:02}Z"
    return {"type": "identify", "messageId": f"{id_}-{second}", "timestamp": timestamp, "userId": id_, "traits": traits}


def delete(id_: str, second: int) -> Message:
    return {**identify(id_, second), "type": "delete"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A job keeps what is loaded from being collected, which is for a process that runs one."""
    yield
    gc.unfreeze()


# ---- any way that messages may come ----


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        *((name, 1) for name in CONFIGS),
        *(pytest.param(name, 3, marks=pytest.mark.acceptance) for name in MAPPINGS),
        ("mixed", 3),
    ],
)
def test_random_histories_come_to_the_replay(name: str, jobs: int, place: Place) -> None:
    rng = Random(f"{name} {jobs}")
    place.config = CONFIGS[name]
    messages = history(rng, 250, replace(PEOPLE, edges=rng.random() < 0.5))
    for part in deal(rng, messages, jobs):
        place.deliver(part, rng=rng)
    check(place, messages)


@pytest.mark.parametrize("config", [CONFIGS["mixed"], INTEGRATION_CONFIG, CLOSED_CONFIG])
def test_rubbish_comes_to_the_replay(config: Config, place: Place) -> None:
    rng = Random(1)
    place.config = config
    drawn = (odd_line(rng, PEOPLE) for _ in range(200))
    lines = [each for each in drawn if not each.startswith(b"\x1f\x8b")]  # as the first of a file it makes it gzip
    dealt: list[list[bytes]] = [[], [], []]
    for each in [*lines, *lines]:
        rng.choice(dealt).append(each)
    for part in dealt:
        place.deliver(part, rng=rng)
    check(place, lines)


def test_of_calls_that_share_an_id_those_count_that_the_log_holds(place: Place) -> None:
    messages = history(Random(1), 200, replace(PEOPLE, shared_message_ids=0.2))
    summary = place.deliver(messages)
    received, made = comparable(replay(as_lines(messages), place.config)), comparable(tables(place.file))
    for name in ("events", "identity_calls"):
        assert made[name].keys() == received[name].keys()
    assert summary.outcomes["conflicting"]
    assert summary.missing == 0
    with open_warehouse(f"duckdb:///{place.file}").contents() as contents:
        logged = comparable(replay_log(list(contents.log()), place.config))
    assert {name: made[name] for name in KEYED} == {name: logged[name] for name in KEYED}
    place.run("--rebuild")
    assert {name: comparable(tables(place.file))[name] for name in KEYED} == {name: logged[name] for name in KEYED}


def test_the_same_messages_again_change_nothing(place: Place) -> None:
    messages: list[Message | bytes] = [*history(Random(2), 100, PEOPLE), b"rubbish"]
    first = place.deliver(messages)
    before = comparable(tables(place.file))
    again = place.deliver(messages)
    assert comparable(tables(place.file)) == before
    outcomes = {name: count for name, count in again.outcomes.items() if count}
    assert outcomes == {"duplicate": first.read - 1, "dead_letter": 1}
    assert {name for name, count in again.written.items() if count} <= set(KEYED)


def test_no_message_at_all_leaves_empty_tables(place: Place) -> None:
    summary = place.deliver([])
    assert summary.read == 0
    check(place, [])


def test_what_cannot_be_read_costs_only_itself(place: Place) -> None:
    good = [line(message) for message in history(Random(3), 60, PEOPLE)]
    long = b'{"type": "track", "event": "' + b"x" * 8_000_000 + b'"}'
    bad = [b"\x00", b'{"type": "track", "event": "\xff"}', b'{"type": "track", "event": "\x00"}', b"[" * 100_000, long]
    folder = place.folder / "input"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(good[:20]) + b"\r\n\r\n" + b"\n".join(bad))
    content = b"".join(each + b"\n" for each in good[20:])
    (folder / "b.gz").write_bytes(gzip.compress(content)[:-9])
    (folder / "c.jsonl.gz").write_bytes(content)
    summary = place.run(f"--input={folder}/*")
    check(place, [*good, *bad])
    assert [f"{folder}/b.gz" in each for each in summary.unreadable].count(True) == 1
    with duckdb.connect(str(place.file), read_only=True) as connection:
        query = "SELECT detail, octet_length(payload) FROM dead_letters WHERE reason = 'too_large'"
        digest = hashlib.sha256(long).hexdigest()
        assert connection.execute(query).fetchall() == [(f"{len(long)} bytes, SHA-256 {digest}", 1_000_000)]


def test_what_bigquery_would_refuse_costs_only_itself(place: Place) -> None:
    event = {"type": "track", "event": "Paid", "userId": "ann", "timestamp": "2024-01-01"}
    good = [{**event, "messageId": f"{number}", "properties": {"number": number}} for number in range(5)]
    bad = line({**event, "messageId": "bad"})[:-1] + b', "properties": {"number": 1e400}}'
    logged = line({**event, "type": "identify", "userId": "bob", "messageId": "bob"})[:-1] + (
        b', "traits": {"number": [-1e400]}}'
    )
    summary = place.deliver([*good[:3], bad, logged, *good[3:]])
    check(place, [*good, bad, logged])
    assert {name: count for name, count in summary.outcomes.items() if count} == {"event": 5, "dead_letter": 2}
    with duckdb.connect(str(place.file), read_only=True) as connection:
        found = connection.execute("SELECT stage, reason, message_id, payload FROM dead_letters ORDER BY message_id")
        letters = found.fetchall()
    assert letters == [("write", "invalid_field", "bad", bad), ("parse", "invalid_field", "bob", logged)]
    place.deliver([])
    assert "bob" not in tables(place.file).contacts


# ---- one job after another ----


def test_a_later_delete_removes_the_row_that_an_earlier_job_wrote(place: Place) -> None:
    first = [identify("ann", 1, email="ann@acme.com"), identify("bob", 1, email="bob@acme.com")]
    second = [identify("bob", 5, color="red"), identify("eve", 5)]
    third = [delete("ann", 9), delete("eve", 4)]
    place.deliver(first)
    assert tables(place.file).contacts.keys() == {"ann", "bob"}
    place.deliver(second)
    place.deliver(third)
    check(place, [*first, *second, *third])
    found = tables(place.file)
    assert found.contacts.keys() == {"bob", "eve"}
    assert found.memberships.keys() == {("bob", "acme.com")}
    assert found.accounts.keys() == {"acme.com"}
    place.deliver([])
    check(place, [*first, *second, *third])


def test_a_rebuild_follows_a_change_of_the_connections_file(place: Place) -> None:
    messages = history(Random(4), 150, PEOPLE)
    configs = [
        Config(tuple(replace(each, account_mapping=mapping) for each in CONFIGS["mixed"].connections))
        for mapping in (MAPPINGS["group"], MAPPINGS["identify_traits + fallback"], MAPPINGS["email_domain"])
    ]
    place.config = configs[0]
    place.deliver(messages)
    for config in configs[1:]:
        before = comparable(tables(place.file))
        place.config = config
        summary = place.run("--rebuild")
        check(place, messages)
        assert (summary.read, summary.written["contacts"]) == (0, len(before["contacts"]))
        assert comparable(tables(place.file))["accounts"] != before["accounts"]


def test_a_rebuild_of_an_empty_warehouse_leaves_it_empty(place: Place) -> None:
    assert schema_command.main(["create", f"--warehouse=duckdb:///{place.file}"]) == 0
    place.run("--rebuild")
    check(place, [])


def test_a_connection_that_is_gone_is_mapped_like_the_catch_all_and_counted(place: Place) -> None:
    site = ConnectionRules("site", ("s1",), MappingRules("group"))
    place.config = Config((site, ConnectionRules("rest", None, MappingRules("email_domain"))))
    message = {**identify("ann", 1, email="ann@acme.com"), "projectId": "s1"}
    place.deliver([message])
    assert tables(place.file).accounts == {}
    place.config = Config((ConnectionRules("rest", None, MappingRules("email_domain")),))
    summary = place.run("--rebuild")
    found = tables(place.file)
    assert found.contacts["ann"]["connections"] == ["site"]
    assert found.contacts["ann"]["account_id"] == "acme.com"
    assert [count for name, count in summary.notes.items() if "not configured any more" in name] == [1]


def test_history_may_be_left_out_only_where_there_is_none(place: Place) -> None:
    message = identify("ann", 1, color="red")
    place.deliver([{"type": "page", "userId": "ann", "timestamp": "2024-01-01"}], "--history=none")
    place.deliver([message], "--history=none")
    before = comparable(tables(place.file))
    with pytest.raises(UsageError, match="--history=none: the log of earlier jobs is not empty"):
        place.deliver([identify("bob", 1)], "--history=none")
    assert comparable(tables(place.file)) == before


def test_a_clock_that_goes_backwards_loses_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(5)
    messages = history(rng, 200, PEOPLE)
    for now, part in zip((3 * 10**15, 2 * 10**15, 10**15, 10**15), deal(rng, messages, 4), strict=True):
        for module in (arrow, database, sink):
            monkeypatch.setattr(module, "now_us", lambda now=now: now)
        place.deliver(part)
    check(place, messages)
    place.run("--rebuild")
    check(place, messages)
    with duckdb.connect(str(place.file), read_only=True) as connection:
        jobs = connection.execute("SELECT generation, history_done FROM jobs ORDER BY rowid").fetchall()
    generations = [generation for generation, _ in jobs]
    assert generations == sorted(set(generations))
    assert all(done for _, done in jobs)


# ---- a job that is killed ----

MORTAL = """
import os, signal, sys
from pipeline.warehouses.duckdb import database
from pipeline.__main__ import main

class Mortal:
    '''A connection whose process is killed right before a request of it, counted from the n-th of a name; 0: never.'''
    requests = []
    name, nth, later = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    def __init__(self, connection):
        self.connection = connection

    def cursor(self):
        return Mortal(self.connection.cursor())

    def __getattr__(self, name):
        Mortal.requests.append(name)
        started = [number for number, request in enumerate(Mortal.requests) if request == Mortal.name]
        if 0 < Mortal.nth <= len(started) and len(Mortal.requests) - 1 == started[Mortal.nth - 1] + Mortal.later:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self.connection, name)

connect = database.connect
database.connect = lambda *arguments, **options: Mortal(connect(*arguments, **options))
status = main(sys.argv[4:])
print(*Mortal.requests)
sys.exit(status)
"""


@dataclass(frozen=True)
class Moment:
    """Right before a request to the database. The job's threads race: their requests are not numbered alike twice."""

    name: str  # of the request that it is counted from
    nth: int  # of that name; 0: never
    later: int = 0  # requests


NEVER = Moment(name="", nth=0)


def run_mortal(place: Place, moment: Moment, *options: str) -> list[str]:
    """Runs a job in a process of its own, and kills it at a moment; returns the requests made."""
    counted = (moment.name, str(moment.nth), str(moment.later))
    command = [sys.executable, "-c", MORTAL, *counted, *place.arguments(*options)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == (0 if moment == NEVER else -signal.SIGKILL), ended.stderr
    return ended.stdout.splitlines()[-1].split() if moment == NEVER else []


@pytest.mark.acceptance
def test_a_job_that_is_killed_shows_all_or_nothing_and_can_be_run_again(place: Place) -> None:
    rng = Random(6)
    messages = history(rng, 200, PEOPLE)
    first, second = deal(rng, messages, 2)
    place.deliver(first)
    delivery = place.input(as_lines(second))
    old = keyed(place.file)
    undisturbed = place.copy("undisturbed")
    requests = run_mortal(undisturbed, NEVER, delivery)
    check(undisturbed, messages)
    new = keyed(undisturbed.file)
    assert new != old

    transactions = requests.count("begin")
    assert requests.count("commit") == transactions
    written = requests[::-1].index("begin") - requests[::-1].index("commit")
    moments = {
        "the log is written in part": (Moment(name="register", nth=1, later=1), old),
        "the keyed rows are written in part": (Moment(name="begin", nth=transactions, later=written // 2), old),
        "they are about to be shown": (Moment(name="commit", nth=transactions), old),
        "they have been shown": (Moment(name="commit", nth=transactions, later=1), new),
    }
    for name, (moment, expected) in moments.items():
        killed = place.copy(name)
        run_mortal(killed, moment, delivery)
        assert keyed(killed.file) == expected, name
        killed.run(delivery)
        check(killed, messages)


@pytest.mark.acceptance
def test_a_first_job_that_is_killed_can_be_run_again(place: Place) -> None:
    messages = history(Random(7), 100, PEOPLE)
    delivery = place.input(as_lines(messages))
    for later in (0, 19, 49):
        run_mortal(place, Moment(name="execute", nth=1, later=later), delivery)
    place.run(delivery)
    check(place, messages)


def test_rows_of_many_megabytes_get_the_memory_that_they_need(place: Place) -> None:
    """Together they are more than a DuckDB file's memory is bounded to."""
    people = [identify(f"p{number}", number, text="x" * 3_800_000) for number in range(12)]
    summary = place.deliver(people)
    assert summary.outcomes["identity_call"] == summary.read == 12
    assert summary.written["contacts"] == 12
