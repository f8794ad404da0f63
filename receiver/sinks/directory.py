"""A directory that the job follows as a sink: one line a message, in the sub-directory of its connection.

A file is `NAME.jsonl.part` while it is written, and gets its final name when it is complete: after a second, or at
16 MB. The names begin with the time and are unique, so that several receivers may fill one directory. Who writes a part
holds a lock on it; a part without one is what a process has left that was killed, and is completed at the next start.

A message's bytes are written as they are, with two exceptions, and neither makes JSON of what was none, or the reverse.
A line feed becomes a carriage return, which JSON allows and forbids in the same places. A space is put before what
would make something else of a file that begins with it: a byte order mark, or gzip's first bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import re
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from receiver.appended_file import AppendedFile, is_full, make_folder, probe, sync_data, sync_folder, why
from receiver.group_commit import GroupCommit
from receiver.sink import Message, Unavailable
from transforms.core.connection_paths import folded_name

_COMPLETE_S: Final = 1.0
_COMPLETE_BYTES: Final = 16_000_000
_PART: Final = ".part"
_PART_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[a-z0-9-]+-\d+-[0-9a-f]{8}\.jsonl\.part")
"""Other writers may fill the directory too: of theirs nothing is touched."""
_THREADS: Final = 16
_RETRY_S: Final = 1.0
"""How often something is tried again that has failed: to complete a file, to write at all."""
_BLOCK_BYTES: Final = 1 << 16
_CHANGED_BY_READERS: Final = (b"\xef\xbb\xbf", b"\x1f\x8b")
"""What a file must not begin with: a byte order mark is dropped, and after gzip's first bytes gzip is expected."""
_READ: Final = "read"
"""Where the job moves what it has read."""
_LONGEST_NAME: Final = 255

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class DirectorySink:
    """Stores messages in a directory of this machine, synced to disk."""

    def __init__(
        self,
        directory: Path,
        *,
        complete_s: float = _COMPLETE_S,
        complete_bytes: int = _COMPLETE_BYTES,
    ) -> None:
        self._directory = directory
        self._parts = _Parts(directory, complete_s, complete_bytes)
        self._commits: GroupCommit[Sequence[Message]] | None = None

    async def start(self) -> None:
        try:
            await asyncio.to_thread(self._parts.recover)
        except OSError as error:
            raise Unavailable(f"{error.filename or self._directory}: {why(error)}") from error
        self._commits = GroupCommit(self._parts, str(self._directory))

    def store(self, messages: Sequence[Message]) -> Awaitable[None]:
        if self._commits is None:
            raise Unavailable("the receiver is starting")
        return self._commits.commit(messages)

    def problem(self) -> str | None:
        if self._commits is None:
            return "the receiver is starting"
        if self._commits.is_overdue:
            return f"{self._directory} does not answer"
        return self._parts.problem

    async def close(self) -> None:
        if self._commits is not None:
            await self._commits.close()


def folder_name(connection: str) -> str:
    """The sub-directory of a connection. Raises ValueError, which says why, where it can have none."""
    folder = folded_name(connection)
    if not folder:
        raise ValueError(f"the connection {connection!r} has no sub-directory: no ASCII letter or digit is in its name")
    if folder == _READ:
        raise ValueError(f"the connection {connection!r} has no sub-directory: {_READ} is for what the job has read")
    if len(folder) > _LONGEST_NAME:
        raise ValueError(f"the connection {connection!r} has no sub-directory: its name is too long")
    return folder


def as_line(payload: bytes) -> bytes:
    """The payload on one line, with its end; the job reads it as it would read the payload."""
    return _without_end(payload) + b"\n"


def _without_end(payload: bytes) -> bytes:
    line = payload.replace(b"\n", b"\r")
    return b" " + line if line.startswith(_CHANGED_BY_READERS) else line


class _Part:
    """A part that this process writes."""

    def __init__(self, path: Path, descriptor: int, due_at: float) -> None:
        self.path = path
        self.file = AppendedFile(descriptor)
        self.due_at = due_at


class _Parts:
    """The committer of a directory: the parts that are written, one for each sub-directory in use."""

    def __init__(self, directory: Path, complete_s: float, complete_bytes: int) -> None:
        self.problem: str | None = None
        self._directory = directory
        self._complete_s = complete_s
        self._complete_bytes = complete_bytes
        self._written: dict[str, _Part] = {}
        self._ended: list[_Part] = []
        """Nothing more is written to these, and they have not got their final names yet."""
        self._retry_at = 0.0
        self._threads = ThreadPoolExecutor(_THREADS, "directory")

    def recover(self) -> None:
        """Makes the directory, and completes what processes have left that are gone: on a full disk too, so that the
        job can make room. Raises OSError."""
        make_folder(self._directory)
        try:
            probe(self._directory)
        except OSError as error:
            if not is_full(error):
                raise
            self._note(f"{self._directory} cannot be written: {why(error)}")
        for part in _parts(self._directory):
            with contextlib.suppress(FileNotFoundError):  # another receiver has completed it
                self._recover(part)

    def commit(self, items: Sequence[Sequence[Message]]) -> Sequence[str | None]:
        nowhere: dict[str, str] = {}
        by_connection: dict[str, list[bytes]] = defaultdict(list)
        for message in itertools.chain.from_iterable(items):
            by_connection[message.connection].append(_without_end(message.payload))
        lines: dict[str, list[bytes]] = defaultdict(list)
        for connection, some in by_connection.items():
            try:
                lines[_folder_name(connection)] += some
            except ValueError as error:
                nowhere[connection] = str(error)
        outcomes = self._in_parallel(self._appended, lines.items())
        problems = {folder: problem for folder, problem in zip(lines, outcomes, strict=True) if problem is not None}
        self._note(next(iter(problems.values()), None))
        if not problems and not nowhere:
            return [None] * len(items)
        return [_first_problem(messages, problems, nowhere) for messages in items]

    def tick(self) -> float | None:
        now = time.monotonic()
        self._in_parallel(self._end, [folder for folder, part in self._written.items() if now >= part.due_at])
        if now >= self._retry_at:
            ended, self._ended = self._ended, []
            for part in ended:
                self._complete(part)
            if self.problem is not None:
                self._try_again()
            self._retry_at = now + _RETRY_S
        due = [part.due_at for part in self._written.values()]
        if self._ended or self.problem is not None:
            due.append(self._retry_at)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def close(self) -> None:
        self._in_parallel(self._end, [*self._written])
        for part in self._ended:  # they are completed at the next start
            os.close(part.file.descriptor)
        self._threads.shutdown()

    def _in_parallel(self, do: Callable[[Argument], Result], arguments: Collection[Argument]) -> list[Result]:
        """What `do` gives for each of the folders: what is synced at the same time costs the disk little more than
        one."""
        return [*map(do, arguments)] if len(arguments) < 2 else [*self._threads.map(do, arguments)]

    def _appended(self, lines: tuple[str, Sequence[bytes]]) -> str | None:
        """Appends to the part of a folder. Returns in one line why that is not done."""
        folder, some = lines
        try:
            self._append(folder, b"\n".join((*some, b"")))
        except OSError as error:
            return f"{self._directory} cannot be written: {why(error)}"
        return None

    def _note(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            _log.error("%s", problem)
        self.problem = problem

    def _append(self, folder: str, data: bytes) -> None:
        part = self._written.get(folder)
        if part is None:
            part = self._written[folder] = self._new_part(self._directory / folder)
        try:
            part.file.append(data)
        except OSError:
            self._end(folder)
            raise
        if part.file.size >= self._complete_bytes:
            self._end(folder)

    def _new_part(self, folder: Path) -> _Part:
        make_folder(folder)
        while True:
            path = folder / _part_name()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                if _locked(descriptor, path):
                    sync_folder(folder)
                    return _Part(path, descriptor, time.monotonic() + self._complete_s)
            except OSError:
                os.close(descriptor)
                with contextlib.suppress(OSError):
                    path.unlink()
                raise
            os.close(descriptor)  # a receiver that has just started took it for one that was left

    def _end(self, folder: str) -> None:
        """Nothing more is written to the part of a folder."""
        self._complete(self._written.pop(folder))

    def _complete(self, part: _Part) -> None:
        """Gives a part its final name, now or later."""
        try:
            _complete(part.file.descriptor, part.path)
        except FileNotFoundError:
            _log.error("%s is gone: somebody has moved or removed it", part.path)
        except OSError as error:
            _log.error("%s cannot be completed yet: %s", part.path, why(error))
            self._ended.append(part)
            return
        with contextlib.suppress(OSError):  # all that counts is synced
            os.close(part.file.descriptor)

    def _recover(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            if _locked(descriptor, path):
                _complete(descriptor, path)
        finally:
            os.close(descriptor)

    def _try_again(self) -> None:
        """Finds out whether the directory can be written again: without a request, since none may come."""
        with contextlib.suppress(OSError):
            probe(self._directory)
            self.problem = None


def _parts(directory: Path) -> Iterator[Path]:
    """The parts of receivers in the sub-directories."""
    with os.scandir(directory) as entries:
        folders = [Path(entry.path) for entry in entries if entry.is_dir() and entry.name != _READ]
    for folder in folders:
        names = sorted(name for name in os.listdir(folder) if _PART_NAME.fullmatch(name))
        yield from (folder / name for name in names)


def _locked(descriptor: int, path: Path) -> bool:
    """Locks the file, until it is closed; whether it could be locked, and still has its name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _complete(descriptor: int, path: Path) -> None:
    """Gives a part its final name, without what is behind its last whole line: nobody was told that it is stored. A
    part without any line is removed. Raises OSError."""
    end = _end_of_lines(descriptor)
    if end < os.fstat(descriptor).st_size:
        os.ftruncate(descriptor, end)
    if end == 0:
        path.unlink()
    else:
        sync_data(descriptor)
        os.rename(path, path.with_name(path.name.removesuffix(_PART)))
    with contextlib.suppress(OSError):  # under either name it is found after a crash
        sync_folder(path.parent)


def _end_of_lines(descriptor: int) -> int:
    """How long the file is up to the end of its last whole line."""
    at = os.fstat(descriptor).st_size
    while at:
        start = max(0, at - _BLOCK_BYTES)
        last = os.pread(descriptor, at - start, start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        at = start
    return 0


def _part_name() -> str:
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{now}-{_host()}-{os.getpid()}-{os.urandom(4).hex()}.jsonl{_PART}"


def _host() -> str:
    return folded_name(socket.gethostname())[:64] or "host"


def _first_problem(messages: Sequence[Message], problems: Mapping[str, str], nowhere: Mapping[str, str]) -> str | None:
    """Why the messages of a request are not all stored: by their sub-directories, or the connections without one."""
    for message in messages:
        problem = nowhere.get(message.connection) or problems.get(_folder_name(message.connection))
        if problem is not None:
            return problem
    return None


_folder_name: Final = lru_cache(folder_name)
