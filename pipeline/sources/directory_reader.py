"""This process's hold on a directory: which file is read next, how far, and which are to be moved away."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from pipeline.sources.files import Block, Gunzip, Line, blocks, is_gzip
from schemas.tables import Timestamp
from transforms.core.connection_paths import names_by_path

READ: Final = "read"
"""The sub-directory for files that were read."""
_ENDINGS: Final = (".jsonl", ".jsonl.gz")
_LISTED_S: Final = 0.25
"""How often the directory is listed at most, when there is nothing left to read."""
_BEHIND_US: Final = 500_000
"""How far the watermark stays behind the clock when nothing is held: a file may just have been completed. Windows close
later by as much; a file that is listed later is stamped with the watermark, and loses nothing."""
_PARTING_S: Final = 10.0
"""How long a job that stops waits for the runner to finalize what was read."""


FileIdentity = tuple[int, int, int, int]
"""What tells a file from another one under its name, and from itself once it has grown."""


class ReadBlock(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines of a file; none of an empty one. `completed_at` is when the file was completed, `size` the bytes of
    the lines; `problem` says in one line what could not be read of the file, and is empty where nothing is wrong."""

    path: str
    lines: Sequence[Line]
    attributes: Mapping[str, str]
    completed_at: Timestamp
    size: int
    problem: str
    is_last: bool


class _OpenFile:
    """A file that is read block by block. Raises OSError where it cannot be opened."""

    def __init__(self, path: Path, attributes: Mapping[str, str]) -> None:
        self.path = str(path)
        self._attributes = attributes
        self._file = path.open("rb")
        status = os.fstat(self._file.fileno())
        self.identity = _identity(status)
        # A time in the future would hold windows open until then: the watermark never goes back.
        self.completed_at = Timestamp(min(status.st_mtime_ns, time.time_ns()) // 1000)
        self._gunzip = Gunzip(self._file) if is_gzip(self._file) else None
        self._blocks = blocks(self._file.read if self._gunzip is None else self._gunzip.read, 0)
        self._next: Block | None = next(self._blocks, None)

    def next_block(self) -> ReadBlock:
        """The next block. It looks one block ahead, to tell which is the last."""
        block, self._next = self._next, next(self._blocks, None)
        is_last = self._next is None
        if is_last:
            self._file.close()
        lines = [] if block is None else block.unmarked()
        problem = "" if self._gunzip is None or not is_last else self._gunzip.problem
        return ReadBlock(
            path=self.path,
            lines=lines,
            attributes=self._attributes,
            completed_at=self.completed_at,
            size=sum(len(line) if isinstance(line, bytes) else len(line.payload) for line in lines),
            problem=f"{self.path}: {problem}" if problem else "",
            is_last=is_last,
        )

    def close(self) -> None:
        self._file.close()


class _HeldFile(msgspec.Struct, kw_only=True):
    """A file from its first block until it is moved: what it was when it was opened, the blocks and lines that were
    given, the blocks of them that are durable, and whether its last block was given."""

    identity: FileIdentity
    completed_at: Timestamp
    blocks: int = 0
    lines: int = 0
    durable: int = 0
    is_read: bool = False


class DirectoryReader:
    """One directory, for the bundles of this process.

    A file moves when all of its blocks are durable, not when its last one is. For example, where the bundle with its
    first block has failed, and a later one with its last has not, it stays: the next job reads it again.
    """

    _open: Final[dict[str, DirectoryReader]] = {}
    _lock: Final = threading.Lock()
    _stopped: Final[dict[str, float]] = {}
    """When the reader of each directory was told to stop, by the monotonic clock: perhaps before there was one."""

    def __init__(self, path: str, connections: Iterable[str]) -> None:
        self._path = path
        self._names = names_by_path(connections)
        self._state = threading.Lock()
        self._waiting: deque[Path] = deque()
        self._held: dict[str, _HeldFile] = {}
        self._file: _OpenFile | None = None
        self._listed_at = 0.0
        self._watermark = 0
        self._lags_ms: list[int] = []
        self._failure: OSError | None = None

    @classmethod
    def of(cls, path: str, connections: Iterable[str]) -> DirectoryReader:
        """The process's reader of a directory, opened where it has none yet."""
        with cls._lock:
            if path not in cls._open:
                cls._open[path] = cls(path, connections)
            return cls._open[path]

    @classmethod
    def stop(cls, path: str) -> None:
        """From now on nothing is read. What was read is still moved when it is durable."""
        cls._stopped[path] = time.monotonic()

    @classmethod
    def close(cls, path: str) -> int:
        """Ends the process's reader. Returns how many lines were read of files that could not be moved."""
        with cls._lock:
            reader = cls._open.pop(path, None)
        cls._stopped.pop(path, None)
        if reader is None:
            return 0
        if reader._file is not None:
            reader._file.close()
        return sum(file.lines for file in reader._held.values() if file.is_read)

    @classmethod
    def failure(cls, path: str) -> OSError | None:
        """Why the reader cannot go on."""
        with cls._lock:
            reader = cls._open.get(path)
        return None if reader is None else reader._failure

    # ---- for bundles ----

    @property
    def is_stopping(self) -> bool:
        return self._path in self._stopped

    @property
    def is_done(self) -> bool:
        """Whether, since it was told to stop, every file that was read whole is moved, or will not be in time."""
        stopped_at = self._stopped.get(self._path)
        if stopped_at is None:
            return False
        with self._state:
            remains = any(file.is_read for file in self._held.values())
        return not remains or time.monotonic() > stopped_at + _PARTING_S

    def next_block(self) -> ReadBlock | None:
        """The next block of the file that is read, else of the oldest one; None where there is nothing to read, or the
        reader was told to stop. Raises OSError where the directory or a file cannot be read."""
        if self.is_stopping:
            return None
        try:
            if self._file is None:
                self._file = self._next_file()
            if self._file is None:
                return None
            block = self._file.next_block()
        except OSError as error:
            self._failure = error
            raise
        with self._state:
            held = self._held[block.path]
            held.blocks += 1
            held.lines += len(block.lines)
            held.is_read = block.is_last
        if block.is_last:
            self._file = None
        return block

    def finalized(self, blocks: Iterable[ReadBlock]) -> None:
        """These blocks are durable: moves the files of which all are."""
        for block in blocks:
            with self._state:
                held = self._held[block.path]
                held.durable += 1
                is_durable = held.is_read and held.durable == held.blocks
            if is_durable:
                self._move(block.path, held.identity)
                with self._state:
                    del self._held[block.path]
                    self._lags_ms.append(max(0, time.time_ns() // 1000 - block.completed_at) // 1000)

    def watermark(self) -> Timestamp:
        """The time, in microseconds, before which no more files are expected to have been completed. It never goes
        back, and stays while something older is held."""
        with self._state:
            if self._held:
                self._watermark = max(self._watermark, min(file.completed_at for file in self._held.values()))
            elif not self._waiting:
                self._watermark = max(self._watermark, time.time_ns() // 1000 - _BEHIND_US)
            return Timestamp(self._watermark)

    def pop_lags_ms(self) -> list[int]:
        """For each file that was moved since the last call: the milliseconds since it was completed."""
        with self._state:
            lags_ms, self._lags_ms = self._lags_ms, []
            return lags_ms

    # ---- files ----

    def _next_file(self) -> _OpenFile | None:
        if not self._waiting and time.monotonic() >= self._listed_at + _LISTED_S:
            self._waiting.extend(self._listed())
            self._listed_at = time.monotonic()
        while self._waiting:
            path = self._waiting.popleft()
            with contextlib.suppress(FileNotFoundError):  # somebody has taken it away
                file = _OpenFile(path, self._attributes(path))
                with self._state:
                    self._held[file.path] = _HeldFile(identity=file.identity, completed_at=file.completed_at)
                return file
        return None

    def _listed(self) -> list[Path]:
        """The complete files that are not held, oldest first, of the directory and its sub-directories."""
        files = list(_complete_files(self._path))
        with os.scandir(self._path) as entries:
            folders = [entry.path for entry in entries if entry.is_dir() and _is_shown(entry) and entry.name != READ]
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):  # somebody has taken it away
                files += _complete_files(folder)
        with self._state:
            return [Path(path) for _, _, path in sorted(files) if path not in self._held]

    def _attributes(self, path: Path) -> Mapping[str, str]:
        """The connection by the sub-directory's name. One that names none is handed on as it is, and the message's own
        `projectId` decides."""
        folder = path.parent
        if str(folder) == self._path:
            return {}
        return {"connection": self._names.get(folder.name, folder.name)}

    def _move(self, path: str, identity: FileIdentity) -> None:
        """Moves a file that was read. One that is another now, or longer, stays, and is read again."""
        source = Path(path)
        folder = Path(self._path, READ, source.parent.relative_to(self._path))
        target = folder / source.name
        number = 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while target.exists():  # its writer has used a name again
                number += 1
                target = folder / f"{number}-{source.name}"
            with contextlib.suppress(FileNotFoundError):  # somebody has taken it away
                if _identity(source.stat()) == identity:
                    source.rename(target)
        except OSError as error:
            self._failure = error
            raise


def _complete_files(folder: str) -> Iterator[tuple[int, str, str]]:
    """(time of completion in nanoseconds, name, path) of each complete file of a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_ENDINGS) and _is_shown(entry) and entry.is_file():
                with contextlib.suppress(FileNotFoundError):  # somebody has taken it away
                    yield entry.stat().st_mtime_ns, entry.name, entry.path


def _identity(status: os.stat_result) -> FileIdentity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_shown(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".")
