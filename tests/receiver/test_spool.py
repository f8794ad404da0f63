"""The spool: what it has taken reaches the sink, whatever happens to the process, the disk and the sink."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import spool
from receiver.sink import Message, Unavailable
from receiver.spool import Backlog, SpooledMessage, SpooledSink
from tests.receiver.faulty_disk import FaultyDisk
from tests.receiver.memory_sink import MemorySink
from tests.receiver.stored import web
from tests.receiver.waiting import until

ROOT = Path(__file__).parents[2]

Use = Callable[[SpooledSink, MemorySink], Awaitable[None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_BACKOFF_S", 0.01)
    monkeypatch.setattr(spool, "_LONGEST_BACKOFF_S", 0.05)
    monkeypatch.setattr(spool, "_RETRY_S", 0.05)
    monkeypatch.setattr(spool, "_TIMEOUT_S", 20.0)


def run(directory: Path, use: Use, *, max_bytes: int = 1_000_000, segment_bytes: int = 100_000) -> MemorySink:
    """Uses a spool before a sink that is new and empty, from its start to its close."""

    async def used() -> MemorySink:
        sink = MemorySink()
        spooled = SpooledSink(sink, directory, max_bytes=max_bytes, segment_bytes=segment_bytes)
        await spooled.start()
        try:
            await use(spooled, sink)
        finally:
            await spooled.close()
        return sink

    return asyncio.run(used())


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.spool*"))


async def emptied(spooled: SpooledSink, sink: MemorySink) -> None:
    await until(lambda: not spooled.backlog().messages)


def recovered(directory: Path) -> list[Message]:
    """What the next process stores in the sink."""
    return run(directory, emptied).stored


def fill(directory: Path, *requests: list[Message], segment_bytes: int = 100_000) -> None:
    """Leaves a spool behind that holds these requests."""

    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.is_away = True
        for messages in requests:
            await spooled.store(messages)

    run(directory, use, max_bytes=20_000_000, segment_bytes=segment_bytes)


# ---- before and behind a failure ----


def test_what_the_sink_takes_does_not_touch_the_spool(tmp_path: Path) -> None:
    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        await spooled.store(web(b"1", b"2"))
        assert sink.stored == web(b"1", b"2")
        assert spooled.backlog() == Backlog(0, 0, 0.0)
        assert segments(tmp_path) == []

    run(tmp_path, use)


def test_what_the_sink_does_not_take_it_gets_later_oldest_first(tmp_path: Path) -> None:
    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.is_away = True
        for number in range(50):
            await spooled.store(web(b"%d" % number, b"%d too" % number))
        assert spooled.problem() is None
        backlog = spooled.backlog()
        assert backlog.messages == 100
        assert backlog.size == sum(path.stat().st_size for path in segments(tmp_path))
        assert 0 < backlog.oldest_s < 60
        sink.is_away = False
        await emptied(spooled, sink)
        await until(lambda: not segments(tmp_path))
        assert spooled.backlog() == Backlog(0, 0, 0.0)
        assert (spooled.spooled, spooled.emptied, spooled.put_aside, spooled.refused) == (100, 100, 0, 0)

    sink = run(tmp_path, use, segment_bytes=200)
    assert sink.stored == web(*itertools.chain(*((b"%d" % number, b"%d too" % number) for number in range(50))))


def test_a_sink_that_has_failed_is_not_asked_by_each_request(tmp_path: Path) -> None:
    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.is_away, sink.delay_s = True, 2.0
        await spooled.store(web(b"first"))
        began = time.monotonic()
        await spooled.store(web(b"second"))
        assert time.monotonic() - began < 1.4
        for number in range(100):
            await spooled.store(web(b"%d" % number))
        assert sink.asked < 50
        sink.is_away, sink.delay_s = False, 0.0
        await emptied(spooled, sink)
        asked = sink.asked
        await spooled.store(web(b"last"))
        assert sink.asked == asked + 1
        assert spooled.spooled == 102

    assert len(run(tmp_path, use).stored) == 103


def test_new_messages_do_not_wait_for_the_backlog(tmp_path: Path) -> None:
    fill(tmp_path, *(web(b"%d" % number) for number in range(20)), segment_bytes=10)

    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.delay_s = 0.05
        await spooled.store(web(b"new"))
        assert spooled.backlog().messages
        await emptied(spooled, sink)

    stored = run(tmp_path, use).stored
    assert web(b"new")[0] in stored[:10]
    assert len(stored) == 21


def test_the_backlog_is_kept_over_a_restart(tmp_path: Path) -> None:
    requests = [web(b"1", b"\xff\n\0"), [Message(connection="Ünï", payload=b"")], web(b"3")]
    fill(tmp_path, *requests)

    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        assert spooled.backlog().messages == 4
        sink.is_away = True
        await spooled.store(web(b"4"))

    run(tmp_path, use)
    stored = recovered(tmp_path)
    assert stored[-5:] == [*itertools.chain(*requests), *web(b"4")]
    assert recovered(tmp_path) == []


def test_a_large_backlog_goes_in_batches(tmp_path: Path) -> None:
    fill(tmp_path, web(*(b"%d" % number for number in range(2_500))), web(b"x" * 3_000_000, b"y" * 3_000_000))

    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        await emptied(spooled, sink)
        assert sink.asked == 5

    assert len(run(tmp_path, use, max_bytes=20_000_000).stored) == 2_502


def test_on_a_slow_network_fewer_go_at_a_time(tmp_path: Path) -> None:
    fill(tmp_path, web(*(b"%d" % number for number in range(1_000))))

    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.most = 100
        await emptied(spooled, sink)

    stored = run(tmp_path, use).stored
    assert stored == web(*(b"%d" % number for number in range(1_000)))


def test_a_segment_that_cannot_be_read_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, web(b"1"))

    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        (segment,) = segments(tmp_path)
        segment.rename(tmp_path / "away")
        await until(lambda: "cannot be emptied: FileNotFoundError" in caplog.text)
        (tmp_path / "away").rename(segment)
        await emptied(spooled, sink)

    assert run(tmp_path, use).stored == web(b"1")


# ---- what the sink never takes ----


def test_a_message_that_the_sink_never_takes_is_put_aside_and_blocks_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.refuses = lambda message: message.payload.startswith(b"bad")
        for number in range(10):
            await spooled.store(web(b"%d" % number))
        await spooled.store(web(b"before", b"bad\n1", *(b"x%d" % number for number in range(100)), b"bad 2"))
        await spooled.store([Message(connection="Mobile app", payload=b"bad 3")])
        await emptied(spooled, sink)
        await until(lambda: not segments(tmp_path))
        assert (spooled.put_aside, spooled.emptied) == (3, 101)
        assert spooled.problem() is None
        assert not spooled._has_failed

    sink = run(tmp_path, use)
    assert len(sink.stored) == len(set(sink.stored)) == 111
    assert (tmp_path / "refused" / "web.jsonl").read_bytes() == b"bad\r1\nbad 2\n"
    assert (tmp_path / "refused" / "mobile-app.jsonl").read_bytes() == b"bad 3\n"
    assert "is put aside in" in caplog.text
    assert "bad 3" not in caplog.text, "what people send is in no log"


def test_what_cannot_be_put_aside_stays_in_the_spool(tmp_path: Path) -> None:
    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        (tmp_path / "refused").write_text("in the way")
        sink.refuses = lambda message: message.payload == b"bad"
        await spooled.store(web(b"bad"))
        asked = sink.asked
        await until(lambda: sink.asked > asked + 3)
        assert spooled.backlog().messages == 1
        (tmp_path / "refused").unlink()
        await emptied(spooled, sink)

    run(tmp_path, use)
    assert (tmp_path / "refused" / "web.jsonl").read_bytes() == b"bad\n"


# ---- the disk ----


def test_a_full_spool_refuses_until_there_is_room(tmp_path: Path) -> None:
    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.is_away = True
        for _ in range(9):
            await spooled.store(web(b"x" * 80))
        full = rf"^the sink is away; the spool {tmp_path} is full: it holds 9\d\d bytes$"
        with pytest.raises(Unavailable, match=full):
            await spooled.store(web(b"x" * 80))
        assert f"the spool {tmp_path} is full" in str(spooled.problem())
        await spooled.store(web(b"y"))
        assert spooled.refused == 1
        sink.is_away = False
        await emptied(spooled, sink)
        await until(lambda: spooled.problem() is None)
        sink.is_away = True
        await spooled.store(web(b"z" * 80))
        assert spooled.problem() is None

    sink = run(tmp_path, use, max_bytes=1_000, segment_bytes=300)
    assert sink.stored.count(*web(b"x" * 80)) == 9
    assert recovered(tmp_path) == web(b"z" * 80)


@pytest.mark.parametrize(
    "fault", ["no room", "some room", "some room and truncate", "sync", "sync and truncate", "folder"]
)
def test_a_disk_that_fails_refuses_and_nothing_torn_is_taken_up(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.is_away = True
        await spooled.store(web(b"before"))
        await asyncio.to_thread(spooled._segments.oldest)  # the next append makes a segment
        await spooled.store(web(b"too"))
        if fault == "folder":
            await asyncio.to_thread(spooled._segments.close)  # and the one after it
        disk.room = 0 if fault == "no room" else 17 if "some room" in fault else None
        disk.broken_folder = fault == "folder"
        disk.broken_sync = "sync" in fault
        disk.broken_truncate = "truncate" in fault
        with pytest.raises(Unavailable, match=r"cannot be written: (no space|input/output)"):
            await spooled.store(web(b"during"))
        assert spooled.refused == 1
        disk.heal()
        await until(lambda: spooled.problem() is None)
        await spooled.store(web(b"after"))
        shutil.copytree(directory, copy)

    disk, directory, copy = FaultyDisk(monkeypatch), tmp_path / "spool", tmp_path / "copy"
    run(directory, use)
    for left in (directory, copy):  # closed in order, and killed
        stored = recovered(left)
        assert [message for message in stored if message.payload != b"during"] == web(b"before", b"too", b"after")
        assert fault == "sync and truncate" or len(stored) == 3


def test_a_full_disk_does_not_keep_the_spool_from_being_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, web(b"1"), web(b"2"))
    disk = FaultyDisk(monkeypatch)
    disk.room = 0
    assert recovered(tmp_path) == web(b"1", b"2")


def test_a_spool_belongs_to_one_process(tmp_path: Path) -> None:
    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        other = SpooledSink(MemorySink(), tmp_path)
        with pytest.raises(Unavailable, match=r"^the spool .* is in use by another receiver: give each its own$"):
            await other.start()

    run(tmp_path, use)
    run(tmp_path, use)


def test_a_spool_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"file/lock: not a directory$"):
        recovered(tmp_path / "file")


def test_a_sink_that_does_not_start_leaves_the_spool_to_the_next_process(tmp_path: Path) -> None:
    async def start() -> None:
        sink = MemorySink()
        sink.start_problem = "there is no topic"
        with pytest.raises(Unavailable, match="there is no topic"):
            await SpooledSink(sink, tmp_path).start()

    fill(tmp_path, web(b"1"))
    asyncio.run(start())
    assert recovered(tmp_path) == web(b"1")


# ---- after a crash ----


@given(st.lists(st.binary(max_size=12), max_size=4), st.integers(0, 200), st.binary(max_size=30))
def test_what_is_read_is_what_was_written_up_to_where_it_is_cut(
    payloads: list[bytes], cut: int, garbage: bytes
) -> None:
    messages = [SpooledMessage(number, "Web", payload) for number, payload in enumerate(payloads)]
    records = [*map(spool._record, messages)]
    read, end = spool._read(b"".join(records)[:cut] + garbage)
    whole = [size for size in itertools.accumulate(map(len, records)) if size <= cut]
    assert read[: len(whole)] == messages[: len(whole)]
    assert end >= sum(map(len, records[: len(whole)]))
    assert garbage or len(read) == len(whole)


def test_a_spool_that_was_cut_anywhere_gives_every_acknowledged_message_and_no_other(tmp_path: Path) -> None:
    requests = [[b"1", b""], [b"\0\xff\n"], [b"x" * 30, b"4"]]
    sizes: list[int] = []

    async def use(spooled: SpooledSink, sink: MemorySink) -> None:
        assert spooled._emptying is not None
        spooled._emptying.cancel()
        sink.is_away = True
        for payloads in requests:
            await spooled.store(web(*payloads))
            (part,) = segments(tmp_path / "sound")
            sizes.append(part.stat().st_size)
        shutil.copy(part, tmp_path)

    run(tmp_path / "sound", use)
    (part,) = segments(tmp_path)
    content, sent = part.read_bytes(), web(*itertools.chain(*requests))
    for length in range(len(content) + 1):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / part.name).write_bytes(content[:length] + bytes(length % 3 * 20))
        stored = recovered(directory)
        acknowledged = sum(len(request) for request, size in zip(requests, sizes, strict=True) if size <= length)
        assert stored == sent[: len(stored)]
        assert len(stored) >= acknowledged
        assert [path.name for path in directory.iterdir()] == ["lock"]


def test_what_is_cut_after_a_crash_is_no_damage_at_the_next_start(tmp_path: Path) -> None:
    async def stay_away(spooled: SpooledSink, sink: MemorySink) -> None:
        sink.is_away = True
        await spooled.store(web(b"2"))

    fill(tmp_path, web(b"1"))
    (segment,) = segments(tmp_path)
    segment.with_name(f"{segment.name}.part").write_bytes(segment.read_bytes() + b"torn")
    segment.unlink()
    run(tmp_path, stay_away)
    assert {*recovered(tmp_path)} >= {*web(b"2")}
    assert not (tmp_path / "refused").exists()


def test_a_damage_of_the_disk_is_told_and_what_cannot_be_read_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, web(b"first", b"second", b"third"))
    (segment,) = segments(tmp_path)
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b"second", b"sEcond"))
    assert recovered(tmp_path) == web(b"first")
    (kept,) = (tmp_path / "refused").iterdir()
    assert content.endswith(kept.read_bytes().replace(b"sEcond", b"second"))
    assert b"third" in kept.read_bytes()
    assert f"{segment} is damaged" in caplog.text


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    storing = """
import asyncio, sys
from pathlib import Path
from receiver.sink import Message
from receiver.spool import SpooledSink
from tests.receiver.memory_sink import MemorySink

async def main():
    sink = MemorySink()
    sink.is_away = True
    spooled = SpooledSink(sink, Path(sys.argv[1]), segment_bytes=20_000)
    await spooled.start()

    async def store(requester):
        number = 0
        while True:
            await spooled.store([Message(connection="Web", payload=b"%d %d" % (requester, number))])
            print(requester, number, flush=True)
            number += 1

    await asyncio.gather(*(store(requester) for requester in range(20)))

asyncio.run(main())
"""
    acknowledged: set[bytes] = set()
    for kill in range(2):
        process = subprocess.Popen([sys.executable, "-c", storing, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        acknowledged |= {b"%d: " % kill + process.stdout.readline().strip() for _ in range(500 + 717 * kill)}
        process.kill()
        printed = process.communicate()[0].splitlines(keepends=True)
        acknowledged |= {b"%d: " % kill + line.strip() for line in printed if line.endswith(b"\n")}
    stored = [message.payload for message in recovered(tmp_path)]
    assert {line.partition(b": ")[2] for line in acknowledged} <= set(stored)
    assert len(stored) >= len(acknowledged)
