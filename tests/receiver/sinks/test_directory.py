"""The directory sink: what it has stored the job reads, once, whatever happens to the process and the disk."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.files import is_gzip
from receiver.sink import Message, Unavailable
from receiver.sinks.directory import DirectorySink, as_line, folder_name
from tests.receiver.faulty_disk import FaultyDisk
from tests.receiver.stored import parts, read_by_the_job, web
from tests.receiver.waiting import until

ROOT = Path(__file__).parents[3]
SOON_S = 0.02
NEVER_S = 600.0


def run(directory: Path, use: Callable[[DirectorySink], Awaitable[None]], complete_s: float = NEVER_S) -> DirectorySink:
    """Uses a sink from its start to its close."""

    async def used() -> DirectorySink:
        sink = DirectorySink(directory, complete_s=complete_s)
        await sink.start()
        try:
            await use(sink)
        finally:
            await sink.close()
        return sink

    return asyncio.run(used())


# ---- lines ----


PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.text('\n\r\t {}[]":,\\\\ab1\ufeff', max_size=12).map(str.encode),
    st.sampled_from(
        [b"\xef\xbb\xbf{}", b"\x1f\x8b\x08", b"\xff\xfe{\0}\0", b"\0", b'{"a":"\n"}', b"{}\n{}", b"\n", b""]
    ),
)


def value(payload: bytes) -> object:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "no JSON"


@given(PAYLOADS)
def test_a_line_is_json_where_its_payload_is_and_says_the_same(payload: bytes) -> None:
    line = as_line(payload)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert value(line[:-1]) == value(payload)


@given(st.recursive(st.none() | st.integers(0, 9) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_indented_json_says_the_same(document: object) -> None:
    assert value(as_line(json.dumps(document, indent=1).encode())) == document


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (b'{"batch": []}', b'{"batch": []}\n'),
        (b'{\r\n "a": 1\n}', b'{\r\r "a": 1\r}\n'),
        (b'{"a": "x\ny"}', b'{"a": "x\ry"}\n'),
        (b"\xff\0\xfe", b"\xff\0\xfe\n"),
        (b"\xef\xbb\xbf{}", b" \xef\xbb\xbf{}\n"),
        (b"\x1f\x8b\x08\n", b" \x1f\x8b\x08\r\n"),
    ],
    ids=[
        "as it is",
        "line feeds between tokens",
        "in a string a line feed stays what JSON forbids",
        "neither UTF-8 nor JSON",
        "a byte order mark is kept",
        "no gzip",
    ],
)
def test_a_payload_on_one_line(payload: bytes, line: bytes, tmp_path: Path) -> None:
    assert as_line(payload) == line
    run(tmp_path, lambda sink: sink.store(web(payload, b"2")))
    assert [message.payload for message in read_by_the_job(tmp_path)] == [line[:-1], b"2"]


def test_no_payload_makes_a_file_gzip(tmp_path: Path) -> None:
    run(tmp_path, lambda sink: sink.store(web(b"\x1f\x8b")))
    (file,) = (tmp_path / "web").iterdir()
    with file.open("rb") as opened:
        assert not is_gzip(opened)


# ---- files ----


def test_messages_are_in_their_connections_sub_directory(tmp_path: Path) -> None:
    messages = [*web(b"1"), Message(connection="Mobile app", payload=b"2"), *web(b"3")]
    run(tmp_path / "made" / "here", lambda sink: sink.store(messages))
    assert sorted(path.name for path in (tmp_path / "made" / "here").iterdir()) == ["mobile-app", "web"]
    read = read_by_the_job(tmp_path / "made" / "here")
    assert sorted(read, key=lambda message: message.payload) == messages


@pytest.mark.parametrize("name", ["Читатели", "READ", "a" * 300], ids=["empty", "the job's own", "too long"])
def test_a_connection_without_a_sub_directory_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no sub-directory"):
        folder_name(name)

    async def use(sink: DirectorySink) -> None:
        with pytest.raises(Unavailable, match="has no sub-directory"):
            await sink.store([Message(connection=name, payload=b"1")])
        await sink.store(web(b"2"))

    run(tmp_path, use)
    assert read_by_the_job(tmp_path) == web(b"2")


def test_what_is_stored_is_in_a_part_until_it_is_complete(tmp_path: Path) -> None:
    async def use(sink: DirectorySink) -> None:
        await sink.store(web(b"1"))
        (part,) = parts(tmp_path)
        assert part.read_bytes() == b"1\n"
        assert read_by_the_job(tmp_path) == []

    run(tmp_path, use)
    assert parts(tmp_path) == []
    assert read_by_the_job(tmp_path) == web(b"1")


def test_a_part_is_completed_after_a_while_though_nothing_more_comes(tmp_path: Path) -> None:
    async def use(sink: DirectorySink) -> None:
        await sink.store(web(b"1"))
        await until(lambda: not parts(tmp_path))
        assert read_by_the_job(tmp_path) == web(b"1")

    run(tmp_path, use, SOON_S)


def test_a_part_is_completed_when_it_is_large(tmp_path: Path) -> None:
    async def used() -> None:
        sink = DirectorySink(tmp_path, complete_s=NEVER_S, complete_bytes=100)
        await sink.start()
        for _ in range(10):
            await sink.store(web(b"x" * 49))
        await until(lambda: not parts(tmp_path))
        await sink.close()

    asyncio.run(used())
    assert len([*(tmp_path / "web").iterdir()]) == 5


def test_names_sort_by_time_and_receivers_share_a_directory(tmp_path: Path) -> None:
    async def used() -> None:
        sinks = [DirectorySink(tmp_path, complete_s=SOON_S) for _ in range(3)]
        for sink in sinks:
            await sink.start()
        for number in range(6):
            await sinks[number % 3].store(web(b"%d" % number))
            await until(lambda: not parts(tmp_path))
        for sink in sinks:
            await sink.close()

    asyncio.run(used())
    files = sorted((tmp_path / "web").iterdir())
    assert b"".join(file.read_bytes() for file in files) == b"0\n1\n2\n3\n4\n5\n"


def test_requests_that_wait_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: DirectorySink) -> None:
        await sink.store(web(b"first"))
        disk.sync_s, disk.syncs = 0.1, 0
        await asyncio.gather(*(sink.store(web(b"%d" % number)) for number in range(100)))
        assert disk.syncs <= 3

    disk = FaultyDisk(monkeypatch)
    run(tmp_path, use)
    assert len(read_by_the_job(tmp_path)) == 101


def test_files_are_synced_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: DirectorySink) -> None:
        disk.sync_s = 0.3
        began = time.monotonic()
        await sink.store([Message(connection=name, payload=b"1") for name in names])
        assert time.monotonic() - began < 0.3 * 8

    disk, names = FaultyDisk(monkeypatch), [f"site {number}" for number in range(16)]
    run(tmp_path, use)
    assert len(read_by_the_job(tmp_path, names)) == 16


# ---- after a crash ----


def crashed(directory: Path, name: str, content: bytes) -> None:
    (directory / "web").mkdir(parents=True, exist_ok=True)
    (directory / "web" / name).write_bytes(content)


async def nothing(_: DirectorySink) -> None:
    pass


def test_a_part_that_was_cut_anywhere_gives_every_acknowledged_message_and_no_other(tmp_path: Path) -> None:
    sizes = [0]

    async def use(sink: DirectorySink) -> None:
        for payload in payloads:
            await sink.store(web(payload))
            (part,) = parts(tmp_path / "sound")
            sizes.append(part.stat().st_size)
            shutil.copy(part, tmp_path / part.name)

    payloads = [b'{"a":1}', b"", b"\xff\n\n\xfe", b"x" * 70, b"\0"]
    run(tmp_path / "sound", use)
    (part,) = tmp_path.glob("*.part")
    content = part.read_bytes()
    for length in range(len(content) + 1):
        directory = tmp_path / str(length)
        crashed(directory, part.name, content[:length])
        run(directory, nothing)
        acknowledged = sum(size <= length for size in sizes[1:])
        assert read_by_the_job(directory) == web(*(as_line(payload)[:-1] for payload in payloads[:acknowledged]))
        assert parts(directory) == []


PART = "20261129T120000.000000Z-host-1-0123abcd.jsonl.part"


def test_a_long_torn_line_is_cut(tmp_path: Path) -> None:
    crashed(tmp_path, PART, b"1\n" + b"x" * 300_000)
    run(tmp_path, nothing)
    assert read_by_the_job(tmp_path) == web(b"1")


@pytest.mark.parametrize("name", ["other.part", "other.jsonl.part", f".{PART}"])
def test_parts_of_other_writers_are_left_alone(name: str, tmp_path: Path) -> None:
    crashed(tmp_path, name, b"1\n2")
    run(tmp_path, nothing)
    assert (tmp_path / "web" / name).read_bytes() == b"1\n2"


def test_a_part_of_a_living_receiver_is_left_alone(tmp_path: Path) -> None:
    async def use(sink: DirectorySink) -> None:
        await sink.store(web(b"1"))
        (part,) = parts(tmp_path)
        other = DirectorySink(tmp_path)
        await other.start()
        await other.close()
        assert parts(tmp_path) == [part]
        await sink.store(web(b"2"))

    run(tmp_path, use)
    assert read_by_the_job(tmp_path) == web(b"1", b"2")


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    storing = """
import asyncio, sys
from pathlib import Path
from receiver.sink import Message
from receiver.sinks.directory import DirectorySink

async def main():
    sink = DirectorySink(Path(sys.argv[1]), complete_s=0.05)
    await sink.start()

    async def store(requester):
        number = 0
        while True:
            payload = b"%d %d" % (requester, number) + b"x" * 500
            await sink.store([Message(connection="Web", payload=payload)])
            print(requester, number, flush=True)
            number += 1

    await asyncio.gather(*(store(requester) for requester in range(20)))

asyncio.run(main())
"""
    acknowledged: set[bytes] = set()
    for kill in range(2):
        directory = tmp_path / str(kill)
        process = subprocess.Popen([sys.executable, "-c", storing, directory], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        acknowledged = {process.stdout.readline().strip() for _ in range(300 + 517 * kill)}
        process.kill()
        acknowledged |= {line.strip() for line in process.communicate()[0].splitlines(keepends=True) if b"\n" in line}
        run(directory, nothing)
        stored = [message.payload for message in read_by_the_job(directory)]
        assert all(payload.endswith(b"x" * 500) for payload in stored)
        assert acknowledged <= {payload.rstrip(b"x") for payload in stored}
        assert len(set(stored)) == len(stored)


# ---- faults of the disk ----


@pytest.mark.parametrize("room", [0, 1, 7, 8, 15])
def test_a_full_disk_refuses_everyone_who_waits_and_leaves_nothing_torn(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(sink: DirectorySink) -> None:
        await sink.store(web(b"before"))
        disk.room = room
        outcomes = await asyncio.gather(*(sink.store(web(b"during")) for _ in range(9)), return_exceptions=True)
        refusals = [outcome for outcome in outcomes if outcome is not None]
        assert refusals
        assert {str(refusal) for refusal in refusals} == {f"{tmp_path} cannot be written: no space left on device"}
        assert sink.problem() == f"{tmp_path} cannot be written: no space left on device"
        stored.extend([b"during"] * (9 - len(refusals)))
        disk.heal()
        await sink.store(web(b"after"))
        assert sink.problem() is None

    disk, stored = FaultyDisk(monkeypatch), [b"before"]
    run(tmp_path, use)
    assert sorted(message.payload for message in read_by_the_job(tmp_path)) == sorted([*stored, b"after"])


def test_a_sink_without_requests_finds_out_that_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(sink: DirectorySink) -> None:
        disk.room = 0
        with pytest.raises(Unavailable):
            await sink.store(web(b"1"))
        await asyncio.sleep(1.2)
        assert sink.problem() is not None
        disk.heal()
        await until(lambda: sink.problem() is None)

    disk = FaultyDisk(monkeypatch)
    run(tmp_path, use)
    assert read_by_the_job(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["web"]


@pytest.mark.parametrize("truncates", [True, False])
def test_after_a_failed_sync_nothing_more_is_written_to_the_file(
    truncates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(sink: DirectorySink) -> None:
        await sink.store(web(b"before"))
        (part,) = parts(tmp_path)
        disk.broken_sync, disk.broken_truncate = True, not truncates
        with pytest.raises(Unavailable, match="input/output error"):
            await sink.store(web(b"during"))
        disk.heal()
        await sink.store(web(b"after"))
        assert part not in [path for path in parts(tmp_path) if b"after" in path.read_bytes()]

    disk = FaultyDisk(monkeypatch)
    run(tmp_path, use)
    run(tmp_path, nothing)
    payloads = [message.payload for message in read_by_the_job(tmp_path)]
    assert sorted({*payloads} - {b"during"}) == [b"after", b"before"]
    assert payloads.count(b"before") == payloads.count(b"after") == 1


def test_what_a_file_is_called_is_durable_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: DirectorySink) -> None:
        disk.broken_folder = True
        with pytest.raises(Unavailable, match="input/output error"):
            await sink.store(web(b"1"))
        assert parts(tmp_path) == []
        disk.heal()
        await sink.store(web(b"2"))
        disk.broken_folder = True  # with its final name it is complete all the same

    disk = FaultyDisk(monkeypatch)
    (tmp_path / "web").mkdir()
    run(tmp_path, use)
    assert read_by_the_job(tmp_path) == web(b"2")


def test_a_part_that_cannot_be_renamed_is_completed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: DirectorySink) -> None:
        disk.broken_rename = True
        await sink.store(web(b"1"))
        await asyncio.sleep(5 * SOON_S)
        assert len(parts(tmp_path)) == 1
        disk.heal()
        await until(lambda: not parts(tmp_path))

    disk = FaultyDisk(monkeypatch)
    run(tmp_path, use, SOON_S)
    assert read_by_the_job(tmp_path) == web(b"1")


def test_the_fault_of_one_connections_folder_refuses_its_messages_alone(tmp_path: Path) -> None:
    async def use(sink: DirectorySink) -> None:
        (tmp_path / "mobile-app").write_text("in the way")
        first, second = await asyncio.gather(
            sink.store([Message(connection="Mobile app", payload=b"1")]), sink.store(web(b"2")), return_exceptions=True
        )
        assert isinstance(first, Unavailable)
        assert second is None

    run(tmp_path, use)
    (tmp_path / "mobile-app").unlink()
    assert read_by_the_job(tmp_path) == web(b"2")


def test_a_directory_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"file.*: not a directory$"):
        run(tmp_path / "file", nothing)


def test_a_full_disk_does_not_keep_the_sink_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(sink: DirectorySink) -> None:
        assert sink.problem() == f"{tmp_path} cannot be written: no space left on device"
        assert read_by_the_job(tmp_path) == web(b"1")
        disk.heal()
        await until(lambda: sink.problem() is None)

    crashed(tmp_path, PART, b"1\n2")
    disk = FaultyDisk(monkeypatch)
    disk.room = 0
    run(tmp_path, use)


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """A real limit of the operating system."""
    storing = """
import asyncio, resource, sys
from pathlib import Path
from receiver.sink import Message, Unavailable
from receiver.sinks.directory import DirectorySink

async def main():
    sink = DirectorySink(Path(sys.argv[1]), complete_s=600)
    await sink.start()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    for number in range(20):
        if number == 12:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        payload = b"%d" % number + b"x" * (4_000 if number < 3 else 20_000)
        try:
            await sink.store([Message(connection="Web", payload=payload)])
        except Unavailable as unavailable:
            print("refused", number, unavailable)
        else:
            print("stored", number)
    await sink.close()

asyncio.run(main())
"""
    ran = subprocess.run(
        [sys.executable, "-c", storing, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    stored = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("stored")]
    assert stored == ["0", "1", *map(str, range(12, 20))]
    assert ran.stdout.count(f"{tmp_path} cannot be written: file too large") == 10
    payloads = [message.payload for message in read_by_the_job(tmp_path)]
    assert [payload.rstrip(b"x").decode() for payload in payloads] == stored


def test_a_disk_that_does_not_answer_delays_no_one_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.group_commit.TIMEOUT_S", 0.2)

    async def use(sink: DirectorySink) -> None:
        disk.sync_s = 3.0
        began = time.monotonic()
        with pytest.raises(Unavailable, match="has not answered for"):
            await sink.store(web(b"1"))
        assert time.monotonic() - began < 2.4, "the event loop stood still"
        await until(lambda: sink.problem() == f"{tmp_path} does not answer")  # the thread began later than the request
        disk.heal()
        await until(lambda: sink.problem() is None)
        await sink.store(web(b"2"))

    disk = FaultyDisk(monkeypatch)
    run(tmp_path, use)
    assert read_by_the_job(tmp_path)[-1:] == web(b"2")


def test_what_is_not_complete_at_a_termination_is_completed_by_close(tmp_path: Path) -> None:
    async def use(sink: DirectorySink) -> None:
        storing = asyncio.gather(*(sink.store(web(b"%d" % number)) for number in range(50)))
        await asyncio.sleep(0)
        await sink.close()
        await storing

    run(tmp_path, use)
    assert len(read_by_the_job(tmp_path)) == 50
