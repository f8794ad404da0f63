"""Whole jobs on a directory that grows, on Prism, judged by the replay."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import duckdb
import pytest

from pipeline.errors import UsageError
from pipeline.job_kind import JobKind
from pipeline.run import run
from pipeline.sources.directory import Directory, DirectoryKind
from pipeline.warehouses.duckdb import DuckDbWarehouse
from tests import streaming
from tests.histories import Alphabet, deal, history
from tests.streaming import DirectoryStream, shuffled, wait_until
from transforms import metrics

ROOT = Path(__file__).parents[3]
PEOPLE = Alphabet(ids=(*(f"p{number}" for number in range(12)), "p@initech.com"), seconds=30)


@pytest.fixture
def stream(tmp_path: Path) -> DirectoryStream:
    return DirectoryStream(tmp_path)


def test_random_histories_come_to_the_replay(stream: DirectoryStream) -> None:
    rng = Random(1)
    with stream.job() as job:
        for part in deal(rng, history(rng, 120, PEOPLE), 5):
            stream.publish(shuffled(rng, part))
            time.sleep(0.5)
        job.wait_for_all()
        job.wait_until("all files are moved", lambda: not stream.waiting)
    stream.check()
    assert job.counts.messages == len(stream.published)
    assert job.counts.lag_ms() is not None


def test_a_second_job_goes_on_where_the_first_has_stopped(stream: DirectoryStream) -> None:
    rng = Random(2)
    for part in deal(rng, history(rng, 80, PEOPLE), 2):
        stream.publish(shuffled(rng, part))
        stream.complete()
        assert stream.waiting == []
    stream.check()


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", [3, 4])
def test_a_job_that_is_killed_loses_and_doubles_nothing(seed: int, stream: DirectoryStream) -> None:
    rng = Random(seed)
    for part in deal(rng, history(rng, 400, PEOPLE), 20):
        stream.publish(shuffled(rng, part))
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", *stream.arguments()],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            wait_until("it opens the warehouse", lambda: stream.is_opened)
            time.sleep(rng.uniform(0.0, 4.0))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    with stream.job() as job:  # rows may all be there already, of files that are not moved
        job.wait_for_all()
        job.wait_until("all files are moved", lambda: not stream.waiting)
    stream.check()


def test_a_message_without_a_time_has_the_time_that_its_file_was_completed(stream: DirectoryStream) -> None:
    stream.publish([b'{"type": "page", "messageId": "m", "userId": "ann", "projectId": "s1"}'])
    (file,) = stream.waiting
    os.utime(file, (1_700_000_000, 1_700_000_000))
    with stream.job() as job:
        job.wait_until("it has its row", lambda: stream.stored("events"))
    with duckdb.connect(str(stream.file), read_only=True) as connection:
        rows = connection.execute("SELECT epoch(timestamp), epoch(received_at) FROM events").fetchall()
    assert rows == [(1_700_000_000, 1_700_000_000)]


def test_a_sub_directory_is_a_connection(stream: DirectoryStream) -> None:
    (stream.folder / "connections.yaml").write_text("connections: [{name: Shop}, {name: My site, project_ids: [x]}]")
    page = {"type": "page", "userId": "ann", "timestamp": "2024-01-01T09:00:00Z"}
    for number, connection in enumerate(["my-site", "", "nobody"]):
        stream.publish([json.dumps({**page, "messageId": str(number)}).encode()], connection=connection)
    with stream.job() as job:
        job.wait_until("they have their rows", lambda: stream.stored("events") == 3)
    with duckdb.connect(str(stream.file), read_only=True) as database:
        rows = database.execute("SELECT connection FROM events ORDER BY message_id").fetchall()
    assert rows == [("My site",), ("Shop",), ("Shop",)]


def test_of_a_damaged_file_the_rest_is_read_and_noted(stream: DirectoryStream) -> None:
    page = b'{"type": "page", "userId": "ann", "messageId": "%d", "timestamp": "2024-01-01T09:00:00Z"}\n'
    content = gzip.compress(b"".join(page % number for number in range(1_000)))
    (stream.inbox / "a.jsonl.gz").write_bytes(content[:-20])
    with stream.job() as job:
        job.wait_until("what can be read has its row", lambda: stream.stored("events"))
        job.wait_until("it is moved", lambda: (stream.inbox / "read" / "a.jsonl.gz").exists())
    assert job.summary is not None
    assert len(job.summary.unreadable) == 1
    assert "a.jsonl.gz: the gzip data end early" in job.summary.unreadable[0]
    assert job.summary.notes[metrics.UNREADABLE.phrase(1)] == 1


def test_what_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cases = {"none": "there is no such directory; make it", "file": "is not a directory; make it"}
    for name, line in cases.items():
        with pytest.raises(UsageError, match=f"^--input_directory={tmp_path / name}: {line}"):
            DirectoryKind().source(str(tmp_path / name), JobKind.STREAMING, ["default"]).check()
    Directory(str(tmp_path), ("default",)).check()


def test_a_directory_that_goes_away_ends_the_job_in_one_line(stream: DirectoryStream) -> None:
    with stream.job() as job:
        job.wait_until("it reads", lambda: stream.is_opened)
        time.sleep(1)
        stream.inbox.rmdir()
        job.join()
    assert isinstance(job.error, UsageError)
    line = str(job.error)
    assert line.startswith(f"--input_directory={stream.inbox}: cannot be read or moved: No such file or directory; ")


@pytest.mark.parametrize("kind", [JobKind.STREAMING, JobKind.DATAFLOW_STREAMING])
def test_where_nobody_waits_for_it_a_job_that_is_drained_enters_its_end(
    kind: JobKind, stream: DirectoryStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dataflow's graph on Prism: a stop moves the watermark to the end of time, as a drain does."""
    ends = stream.folder / "ends"

    def finish(*_: object) -> None:
        with ends.open("a") as file:  # the graph has a copy of this function
            file.write("end\n")

    monkeypatch.setattr(DuckDbWarehouse, "finish", finish)
    stream.publish(shuffled(Random(5), history(Random(5), 20, PEOPLE)))
    monkeypatch.setattr(streaming, "run", lambda settings, *more: run(replace(settings, kind=kind), *more))
    with stream.job() as job:
        job.wait_for_all()
        assert not ends.exists(), "not before it is told to stop"
    assert job.error is None
    by_the_process = 1
    assert len(ends.read_text().splitlines()) == by_the_process + kind.on_dataflow
