"""A spool before a sink: what the sink does not take now is synced to disk, and stored in the sink later.

The spool is a directory of segments, which are numbered. Each record of one is its length, its checksum and a message.
A segment is `NUMBER.spool.part` while it is written, and `NUMBER.spool` afterwards; it is removed when the sink has all
of its messages. After a kill its messages are stored again, some of them perhaps for the second time.

A sink that has failed is not asked again by each request, which would cost each of them its time: requests go straight
to the spool until the sink has taken the oldest messages of the spool. What it will never take is put aside, one line a
message, in `refused/<connection>.jsonl`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from receiver.appended_file import AppendedFile, is_full, make_folder, probe, sync_data, sync_folder, why
from receiver.group_commit import GroupCommit
from receiver.sink import Message, MessageRefused, Sink, Unavailable
from receiver.sinks.directory import as_line
from transforms.core.connection_paths import folded_name

MAX_BYTES: Final = 10_000_000_000
_SEGMENT_BYTES: Final = 8_000_000
_TIMEOUT_S: Final = 1.5
"""How long a request waits for the disk, perhaps after it has waited for the sink."""
_BATCH_MESSAGES: Final = 1_000
_BATCH_BYTES: Final = 4_000_000
"""What is stored in the sink at a time."""
_BACKOFF_S: Final = 0.25
_LONGEST_BACKOFF_S: Final = 5.0
_RETRY_S: Final = 1.0
"""How often it is tried whether a disk that has failed can be written again."""
_ENDING: Final = ".spool"
_PART: Final = ".part"
_LOCK: Final = "lock"
_REFUSED: Final = "refused"
_HEAD: Final = struct.Struct("<II")
_NAME: Final = re.compile(r"\d{12}\.spool(\.part)?")

_log = logging.getLogger(__name__)


class SpooledMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message in the spool, and when it came there, in microseconds since the epoch."""

    spooled_at: int
    connection: str
    payload: bytes


class Backlog(NamedTuple):
    """What is in the spool: the messages that the sink does not have yet, the bytes on disk, and the age of the oldest
    message in seconds, 0 without any."""

    messages: int
    size: int
    oldest_s: float


class SpooledSink:
    """Stores messages in `sink`, whose `store` takes a bounded time, and what it does not take in a spool on this
    machine of `max_bytes` at most.

    Counters of messages: `spooled` came into the spool, `emptied` left it for the sink, `put_aside` the sink will never
    take; `refused` neither sink nor spool has taken.
    """

    def __init__(
        self, sink: Sink, directory: Path, *, max_bytes: int = MAX_BYTES, segment_bytes: int = _SEGMENT_BYTES
    ) -> None:
        self.spooled = 0
        self.emptied = 0
        self.put_aside = 0
        self.refused = 0
        self._sink = sink
        self._directory = directory
        self._segments = _Segments(directory, max_bytes, segment_bytes)
        self._commits: GroupCommit[Sequence[Message]] | None = None
        self._emptying: asyncio.Task[None] | None = None
        self._has_failed = False
        """Whether the sink has failed, and has taken nothing of the spool since."""
        self._being_spooled = 0
        self._is_filled = asyncio.Event()

    async def start(self) -> None:
        """Raises Unavailable where the spool cannot be used or another process uses it, and what the sink raises."""
        try:
            await asyncio.to_thread(self._segments.open)
        except OSError as error:
            raise Unavailable(f"{error.filename or self._directory}: {why(error)}") from error
        try:
            await self._sink.start()
        except Unavailable:
            self._segments.unlock()
            raise
        self._has_failed = self._sink.problem() is not None
        self._commits = GroupCommit(self._segments, f"the spool {self._directory}", _TIMEOUT_S)
        self._emptying = asyncio.get_running_loop().create_task(self._empty())

    async def store(self, messages: Sequence[Message]) -> None:
        if self._is_asked():
            try:
                await self._sink.store(messages)
            except MessageRefused:
                pass  # the sink takes others of the request: that is seen to where the spool is emptied
            except Unavailable:
                self._has_failed = True
            else:
                return
        await self._spool(messages)

    def backlog(self) -> Backlog:
        return self._segments.backlog()

    def problem(self) -> str | None:
        if self._commits is None:
            return "the receiver is starting"
        if self._is_asked() and self._sink.problem() is None:
            return None
        if self._commits.is_overdue:
            return f"the spool {self._directory} does not answer"
        return self._segments.problem

    async def close(self) -> None:
        """What is left in the spool is stored in the sink after the next start."""
        if self._emptying is not None:
            self._emptying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._emptying
        await self._sink.close()
        if self._commits is not None:
            await self._commits.close()
        self._segments.unlock()

    def _is_asked(self) -> bool:
        """Whether the sink is asked before the spool. While the spool holds something it is the spool that tries."""
        return not self._has_failed or not (self._segments.messages or self._being_spooled)

    async def _spool(self, messages: Sequence[Message]) -> None:
        if self._commits is None:
            raise Unavailable("the receiver is starting")
        self._being_spooled += 1
        try:
            await self._commits.commit(messages)
        except Unavailable as error:
            self.refused += len(messages)
            problem = self._sink.problem()
            raise Unavailable(f"{problem}; {error}" if problem else str(error)) from error
        finally:
            self._being_spooled -= 1
        self.spooled += len(messages)
        self._is_filled.set()

    # ---- emptying ----

    async def _empty(self) -> None:
        while True:
            self._is_filled.clear()
            try:
                segment = await asyncio.to_thread(self._segments.oldest)
                if segment is None:
                    await self._is_filled.wait()
                else:
                    await self._empty_segment(segment)
            except Exception as error:  # whatever it is, it is tried again: nothing else empties the spool
                _log.error("The spool %s cannot be emptied: %s: %s", self._directory, type(error).__name__, error)
                await asyncio.sleep(_RETRY_S)

    async def _empty_segment(self, segment: _Segment) -> None:
        """Stores the messages of a segment in the sink, and removes it. Raises OSError where it cannot be read."""
        messages = await asyncio.to_thread(self._segments.read, segment)
        done, most, pause = 0, _BATCH_MESSAGES, _BACKOFF_S
        while done < len(messages):
            self._segments.note_left(segment, messages[done:])
            batch = _batch(messages, done, most)
            try:
                await self._take([Message(connection=spooled.connection, payload=spooled.payload) for spooled in batch])
            except MessageRefused:
                most = len(batch) // 2  # until it is known which one
            except Unavailable:
                self._has_failed = True
                most = len(batch) // 2  # on a slow network fewer may be in time
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_BACKOFF_S)
            else:
                self._has_failed = False
                done, most, pause = done + len(batch), min(2 * len(batch), _BATCH_MESSAGES), _BACKOFF_S
        await asyncio.to_thread(self._segments.remove, segment)

    async def _take(self, messages: Sequence[Message]) -> None:
        """Stores the messages in the sink; one alone that it will never take is put aside. Raises Unavailable."""
        try:
            await self._sink.store(messages)
        except MessageRefused as error:
            if len(messages) > 1:
                raise
            (message,) = messages
            try:
                path = await asyncio.to_thread(self._segments.put_aside, message)
            except OSError as failure:
                raise Unavailable(why(failure)) from failure
            self.put_aside += 1
            _log.error("A message of the connection %s is put aside in %s: %s", message.connection, path, error)
        else:
            self.emptied += len(messages)


class _Segment:
    """A segment: how large it is, how many of its messages the sink does not have, and when the first of them came."""

    def __init__(self, path: Path, size: int = 0, messages: int = 0, oldest_at: int = 0) -> None:
        self.path = path
        self.size = size
        self.messages = messages
        self.oldest_at = oldest_at


class _Volume:
    """Some messages, and the bytes of their records."""

    def __init__(self) -> None:
        self.messages = 0
        self.size = 0


class _Segments:
    """The committer of a spool, which another thread empties. Each counts by itself, so that neither waits for the
    other: `_filled` is what came into the spool, `_left` what has left it."""

    def __init__(self, directory: Path, max_bytes: int, segment_bytes: int) -> None:
        self.problem: str | None = None
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._filled = _Volume()
        self._left = _Volume()
        self._needed = 0
        """The size of what was refused last."""
        self._changing = threading.Lock()
        self._segments: deque[_Segment] = deque()
        self._written: AppendedFile | None = None
        """The file of the newest segment, while it is appended to."""
        self._number = 0
        self._lock: int | None = None

    def open(self) -> None:
        """Locks the spool for this process, and reads what it holds: on a full disk too, since emptying it makes room.
        Raises Unavailable, OSError."""
        make_folder(self._directory)
        self._lock = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            raise Unavailable(f"the spool {self._directory} is in use by another receiver: give each its own") from None
        try:
            probe(self._directory)
        except OSError as error:
            if not is_full(error):
                raise
            self._note(f"the spool {self._directory} cannot be written: {why(error)}")
        for name in sorted(filter(_NAME.fullmatch, os.listdir(self._directory))):
            self._number = int(name.partition(".")[0])
            self._recover(self._directory / name)

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def backlog(self) -> Backlog:
        try:
            oldest_s = max(0.0, time.time() - self._segments[0].oldest_at / 1e6)
        except IndexError:
            oldest_s = 0.0
        return Backlog(self.messages, self.size, oldest_s)

    @property
    def messages(self) -> int:
        return self._filled.messages - self._left.messages

    @property
    def size(self) -> int:
        return self._filled.size - self._left.size

    # ---- filling, in the thread of the group commit ----

    def commit(self, items: Sequence[Sequence[Message]]) -> Sequence[str | None]:
        now = time.time_ns() // 1000
        problems: list[str | None] = []
        records: list[bytes] = []
        messages = size = 0
        for item in items:
            some = [_record(SpooledMessage(now, message.connection, message.payload)) for message in item]
            some_size = sum(map(len, some))
            if self.size + size + some_size > self._max_bytes:
                problems.append(f"the spool {self._directory} is full: it holds {self.size:,} bytes")
                self._needed = some_size
                continue
            problems.append(None)
            records += some
            messages += len(some)
            size += some_size
        try:
            if records:
                self._append(b"".join(records), messages, now)
        except OSError as error:
            problem = f"the spool {self._directory} cannot be written: {why(error)}"
            problems = [earlier or problem for earlier in problems]
        self._note(next(filter(None, problems), None))
        return problems

    def _note(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            _log.error("%s", problem)
        self.problem = problem

    def tick(self) -> float | None:
        if self.problem is None:
            return None
        if self.size + self._needed <= self._max_bytes:
            with contextlib.suppress(OSError):
                probe(self._directory)
                self.problem = None
                return None
        return _RETRY_S

    def close(self) -> None:
        with self._changing:
            self._end()

    def _append(self, data: bytes, messages: int, now: int) -> None:
        with self._changing:
            if self._written is None:
                self._begin(now)
            assert self._written is not None
            try:
                self._written.append(data)
            except OSError:
                self._abandon()
                raise
            segment = self._segments[-1]
            segment.messages += messages
            segment.size += len(data)
            self._filled.messages += messages
            self._filled.size += len(data)
            if segment.size >= self._segment_bytes:
                self._end()

    def _begin(self, now: int) -> None:
        """Makes a new segment. Raises OSError."""
        self._number += 1
        path = self._directory / f"{self._number:012}{_ENDING}{_PART}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            sync_folder(self._directory)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self._written = AppendedFile(descriptor)
        self._segments.append(_Segment(path, oldest_at=now))

    def _end(self) -> None:
        """Nothing more is appended to the newest segment."""
        if self._written is None:
            return
        self._close_written()
        segment = self._segments[-1]
        with contextlib.suppress(OSError):  # with the name of a part it is as good
            segment.path = _renamed(segment.path)

    def _close_written(self) -> None:
        assert self._written is not None
        descriptor, self._written = self._written.descriptor, None
        with contextlib.suppress(OSError):  # all that counts is synced
            os.close(descriptor)

    def _abandon(self) -> None:
        """Nothing more is appended to the newest segment, and something may stand behind its last record: it stays a
        part."""
        self._close_written()
        if not self._segments[-1].messages:
            with contextlib.suppress(OSError):
                self._segments.pop().path.unlink()

    # ---- emptying ----

    def oldest(self) -> _Segment | None:
        """The oldest segment; nothing is appended to it any more."""
        with self._changing:
            if len(self._segments) == 1:
                self._end()
            return self._segments[0] if self._segments else None

    def read(self, segment: _Segment) -> list[SpooledMessage]:
        """The messages of a segment. Raises OSError."""
        data = segment.path.read_bytes()
        messages, end = _read(data)
        if len(messages) < segment.messages:
            self._keep_damaged(segment.path, data[end:])
        return messages

    def note_left(self, segment: _Segment, messages: Sequence[SpooledMessage]) -> None:
        """Notes which messages of a segment the sink does not have."""
        self._left.messages += segment.messages - len(messages)
        segment.messages = len(messages)
        segment.oldest_at = messages[0].spooled_at

    def remove(self, segment: _Segment) -> None:
        """Removes a segment of which the sink has all messages."""
        with self._changing:
            self._segments.remove(segment)
        self._left.messages += segment.messages
        self._left.size += segment.size
        try:
            segment.path.unlink()
        except OSError as error:
            _log.error("%s, which is done, cannot be removed: %s", segment.path, why(error))

    def put_aside(self, message: Message) -> Path:
        """Writes a message where what the sink will never take is kept. Raises OSError."""
        path = self._directory / _REFUSED / f"{folded_name(message.connection) or 'connection'}.jsonl"
        make_folder(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            AppendedFile(descriptor, os.fstat(descriptor).st_size).append(as_line(message.payload))
            sync_folder(path.parent)
        finally:
            os.close(descriptor)
        return path

    # ---- after a crash ----

    def _recover(self, path: Path) -> None:
        """Takes up a segment of an earlier process, without what is behind its last whole record: of a part nobody was
        told that it is stored. In another segment it is a damage, and is kept. Raises OSError."""
        data = path.read_bytes()
        messages, end = _read(data)
        if end < len(data):
            if path.name.endswith(_PART):
                _log.info("%s: %d bytes are cut that were never acknowledged", path, len(data) - end)
            else:
                self._keep_damaged(path, data[end:])
            os.truncate(path, end)
        if not messages:
            path.unlink()
            return
        if path.name.endswith(_PART):
            _sync(path)
            path = _renamed(path)
        self._segments.append(_Segment(path, end, len(messages), messages[0].spooled_at))
        self._filled.messages += len(messages)
        self._filled.size += end

    def _keep_damaged(self, path: Path, rest: bytes) -> None:
        kept = self._directory / _REFUSED / f"{path.name}.damaged"
        make_folder(kept.parent)
        kept.write_bytes(rest)
        _sync(kept)
        _log.error("%s is damaged: what cannot be read of it, %d bytes, is kept in %s", path, len(rest), kept)


def _record(message: SpooledMessage) -> bytes:
    body = msgspec.msgpack.encode(message)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


_decode: Final = msgspec.msgpack.Decoder(SpooledMessage).decode


def _read(data: bytes) -> tuple[list[SpooledMessage], int]:
    """The messages up to the first record that is not whole, and where that begins."""
    messages: list[SpooledMessage] = []
    at = 0
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        if not length or len(body) < length or zlib.crc32(body) != checksum:
            break
        messages.append(_decode(body))
        at += _HEAD.size + length
    return messages, at


def _batch(messages: Sequence[SpooledMessage], start: int, most: int) -> list[SpooledMessage]:
    """What is stored in the sink at a time: one message at least."""
    batch: list[SpooledMessage] = []
    size = 0
    for message in messages[start : start + max(1, most)]:
        size += len(message.payload)
        if batch and size > _BATCH_BYTES:
            break
        batch.append(message)
    return batch


def _renamed(path: Path) -> Path:
    """Gives a part its final name. Raises OSError."""
    name = path.with_name(path.name.removesuffix(_PART))
    os.rename(path, name)
    return name


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync_data(descriptor)
    finally:
        os.close(descriptor)
