"""Each message id is in `events` once, whatever came before: a job, an older version's file, a write that failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.warehouses.duckdb import message_ids
from pipeline.warehouses.duckdb.arrow import row_batch
from pipeline.warehouses.duckdb.database import Database, Inserted, RowsRefusedError
from pipeline.warehouses.duckdb.message_ids import DigestSet, MessageIds
from schemas.tables import EVENTS
from tests.rows import event
from transforms.core.rows import Append

NAMES = ["a", "b", "A", "\U0001f600", "x" * 64, *map(str, range(30))]
DIGEST = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.sampled_from([b"\0" * 16, b"\xff" * 16, b"a" + b"\0" * 15, b"a" * 15 + b"\0", b"\0" * 15 + b"a"]),
)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "w.duckdb")


def opened(file: str) -> Database:
    database = Database.of(file)
    database.start(bounded=True, runner="FnApiRunner", options="", history=True)
    return database


def rows_of(names: Sequence[str]) -> tuple[list[Append], Any]:
    appends = [Append(event(name), "event", b"") for name in names]
    return appends, row_batch(EVENTS, [append.row for append in appends], 0)


def append(database: Database, names: Sequence[str]) -> Inserted:
    inserted: Inserted = database.run(database.append, EVENTS, *rows_of(names)).result()
    return inserted


def stored(file: str) -> list[str]:
    Database.close(file)
    with duckdb.connect(file, read_only=True) as connection:
        return [name for (name,) in connection.execute("SELECT message_id FROM events ORDER BY 1").fetchall()]


def make_older(file: str) -> None:
    """Gives the file the index that earlier versions made."""
    opened(file)
    Database.close(file)
    with duckdb.connect(file) as connection:
        connection.execute("ALTER TABLE events ADD PRIMARY KEY (message_id)")


@given(st.lists(st.lists(DIGEST, max_size=40), max_size=8), st.integers(1, 20), st.integers(1, 5))
def test_a_set_of_digests_holds_what_was_added(batches: list[list[bytes]], recent: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_ids, "_RECENT", recent)
        patch.setattr(message_ids, "_PIECE", piece)
        first, *others = batches or [[]]
        digests = DigestSet(np.array([*set(first)], "S16"))
        expected = set(first)
        for batch in others:
            assert digests.among(batch) == expected.intersection(batch)
            digests.add(set(batch) - expected)
            expected.update(batch)
        assert digests.among([*expected, b"b" * 16]) == expected


@pytest.mark.parametrize("looks", [0, 2, 100])
@pytest.mark.parametrize("is_older", [False, True], ids=["new", "older"])
def test_a_message_id_is_stored_once_by_all_jobs(
    is_older: bool, looks: int, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_ids, "_LOOKS", looks)
    monkeypatch.setattr(message_ids, "_RECENT", 8)
    if is_older:
        make_older(file)
    rng = Random(7)
    expected: set[str] = set()
    for _ in range(2):
        database = opened(file)
        for _ in range(12):
            names = rng.choices(NAMES, k=rng.randrange(1, 8))
            assert append(database, names).written == len(set(names) - expected)
            expected.update(names)
        Database.close(file)
    assert stored(file) == sorted(expected)


def test_the_first_row_of_a_message_id_stands(file: str) -> None:
    database = opened(file)
    appends = [Append(event("a", b'{"n": %d}' % number), "event", b"") for number in range(3)]
    batch = row_batch(EVENTS, [append.row for append in appends], 0)
    assert database.run(database.append, EVENTS, appends, batch).result().written == 1
    Database.close(file)
    with duckdb.connect(file) as connection:
        assert connection.execute("SELECT properties FROM events").fetchall() == [('{"n": 0}',)]


@pytest.mark.parametrize("looks", [0, 100])
def test_what_a_write_has_committed_before_it_failed_is_not_written_again(
    looks: int, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB may fail behind a commit, where it writes a checkpoint; the write is then tried again with more memory."""
    monkeypatch.setattr(message_ids, "_LOOKS", looks)
    database = opened(file)
    append(database, ["a", "b"])
    failures = [duckdb.OutOfMemoryException("no room for a checkpoint")]
    add = MessageIds.add

    def add_but_once(ids: MessageIds, digests: set[bytes]) -> None:
        if failures:
            raise failures.pop()
        add(ids, digests)

    monkeypatch.setattr(MessageIds, "add", add_but_once)
    assert append(database, ["b", "c"]).written == 0
    assert append(database, ["c", "d"]).written == 1
    assert stored(file) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("looks", [0, 100])
def test_what_was_undone_can_be_written(looks: int, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_ids, "_LOOKS", looks)
    database = opened(file)
    append(database, ["a"])
    _, batch = rows_of(["b", "a", "c"])
    bad = row_batch(EVENTS, [event("d", b'{"a": ')], 0)
    with pytest.raises(RowsRefusedError):
        database.run(database.replace, [(EVENTS, batch), (EVENTS, bad)], []).result()
    assert database.run(database.refusal, EVENTS, rows_of(["b"])[1]).result() is None
    assert database.run(database.replace, [(EVENTS, batch), (EVENTS, batch)], []).result() == [[0, 2], []]
    assert append(database, ["b", "c", "d"]).written == 1
    assert stored(file) == ["a", "b", "c", "d"]


def test_a_refused_row_leaves_its_message_id_to_another(file: str) -> None:
    database = opened(file)
    appends = [Append(event("a", text), "event", b"") for text in (b'{"a": ', b"{}", b"{}")]
    batch = row_batch(EVENTS, [append.row for append in appends], 0)
    inserted = database.run(database.append, EVENTS, appends, batch).result()
    assert (inserted.written, [*inserted.refused]) == (1, [0])
    assert stored(file) == ["a"]


@pytest.mark.parametrize("is_older", [False, True], ids=["new", "older"])
def test_memory_is_kept_free_for_the_index_of_an_older_file_alone(is_older: bool, file: str) -> None:
    if is_older:
        make_older(file)
    database = opened(file)
    append(database, ["a", "b"])
    assert (database._indexed > 0) is is_older
    Database.close(file)
    assert (opened(file)._indexed > 0) is is_older
    Database.close(file)
