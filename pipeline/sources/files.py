"""Files as a source: one message a line, plain or gzip, local or on any of Beam's file systems.

A line is what stands between line feeds; bytes are never changed. What cannot be read costs only itself: the rest of a
truncated or damaged gzip file, and of a line beyond the size limit all but its beginning.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import re
import threading
import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, Final

import apache_beam as beam
import msgspec
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import remote_files, work_items
from pipeline.errors import printable, reason, shortened
from pipeline.job_kind import JobKind
from pipeline.plurals import counted
from pipeline.sources import file_formats, file_patterns
from pipeline.sources.base import BoundedSource
from pipeline.sources.file_patterns import Listing
from pipeline.warehouses import JobRun, Warehouse
from pipeline.work_items import Remainders
from schemas.segment import KEPT_OF_TOO_LARGE_BYTES, MAX_MESSAGE_BYTES
from transforms import metrics
from transforms.coders import OffsetRangeCoder
from transforms.core.reader import OversizedMessage, Received
from transforms.windows import in_global_window

_BLOCK_BYTES: Final = 1 << 20
_MANY: Final = 2_000
_MANY_BYTES: Final = 8 << 20
"""Lines go on together where they are so many, or have so many bytes, or a bundle ends: columns of fewer take longer
for each, and of many more they leave the processor's caches."""
_SPLIT_BYTES: Final = 64 << 20
"""Plain files are read in parallel pieces of about this size."""
_GZIP_END: Final = 1 << 62
"""Where what a gzip file holds ends at the latest: how much that is, is not known before it is read."""
_MOST_KEPT: Final = 8
"""So many gzip files are kept open for the work items that go on with them."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
_CHECKSUM: Final = re.compile("incorrect (data|length) check")
"""What zlib says where a member's data do not fit their checksum, which stands behind them."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Line = bytes | Received
"""A line as it is, or what was kept of one beyond the size limit."""

_log = logging.getLogger(__name__)


class FilesKind:
    """`--input`: files that are there when the job starts."""

    option: Final = "input"
    usage: Final = "--input=GLOB"
    bounded: Final = True
    is_local: Final = False

    def add_option(self, group: argparse._ArgumentGroup) -> None:
        group.add_argument(
            "--input",
            action="append",
            metavar="GLOB",
            help="Files, local or gs://, one JSON object on each line, plain or .gz. Repeatable, or comma-separated. "
            "Default: none. Example: --input='calls/*.jsonl.gz'",
        )

    def check(self, value: list[str]) -> None:
        """Whether there are such files is found out when the source is made."""

    def source(self, value: list[str], kind: JobKind, connections: Collection[str]) -> Files:
        patterns, listing = file_patterns.checked(value)
        for pattern in patterns:
            if kind.on_dataflow and file_patterns.is_local(pattern):
                problem = "is a file of this machine, which Dataflow's workers cannot read"
                raise file_patterns.refused(pattern, problem, "give gs://BUCKET/GLOB")
        return Files(patterns, () if kind.on_dataflow else listing)


@dataclass(frozen=True)
class Files(BoundedSource):
    """The files that patterns match; each matches one at least, which was checked. `listing` is what was there then,
    so that what is gone later is told; on Dataflow it is empty, since a job's graph has no room for it."""

    patterns: tuple[str, ...]
    listing: Listing = field(default=(), compare=False)

    label: ClassVar[str] = "Files"

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.listing)

    def read(self, warehouse: Warehouse, job: JobRun) -> ReadFiles:
        return ReadFiles(self.patterns, self.listing)

    def read_blocks(self, job: JobRun) -> ReadFileBlocks:
        return ReadFileBlocks(self.patterns, self.listing, in_one_bundle=job.bounded)

    def likely_mistake(self) -> str:
        return file_formats.likely_mistake(path for path, _ in self.listing)


class ReadFileBlocks(beam.PTransform):
    """PBegin → `Messages`: the lines of the files that the patterns match. What is gone of the listing is noted; where
    there is none, a pattern that matches nothing is.

    `in_one_bundle` is for a bounded job in this process: no work item is too large there, and at each bundle's end
    reading would wait until all is written.
    """

    def __init__(self, patterns: tuple[str, ...], listing: Listing = (), *, in_one_bundle: bool = False) -> None:
        super().__init__()
        self.patterns = patterns
        self.listing = listing
        self.in_one_bundle = in_one_bundle

    def expand(self, begin: PBegin) -> PCollection:
        matching = beam.ParDo(_MatchFn(self.patterns, self.listing)).with_output_types(tuple[str, int])
        files = begin | "Patterns" >> beam.Impulse() | "Match" >> matching
        if not self.in_one_bundle:
            files |= "Spread" >> beam.Reshuffle()
        blocks = files | "Blocks" >> beam.ParDo(_ReadBlocksFn(in_one_bundle=self.in_one_bundle))
        return blocks | "Lines" >> beam.ParDo(self.fn())

    def fn(self) -> beam.DoFn:
        return _BlockFn()


class ReadFiles(ReadFileBlocks):
    """The same one by one: PBegin → `Received`."""

    def fn(self) -> beam.DoFn:
        return _LinesFn()


class UnreadPaths(msgspec.Struct, frozen=True, array_like=True):
    """The paths after this one."""

    after: str = ""
    is_done: bool = False


class _Unread(Remainders[UnreadPaths]):
    nothing = UnreadPaths(is_done=True)

    def initial_restriction(self, _: bytes) -> UnreadPaths:
        return UnreadPaths()


class _MatchFn(beam.DoFn):
    """Gives the path and size of each file, once; of one that has become shorter or is gone, the size that it had. No
    grouping sees to that: it would move lines to the end of time, and in a job that goes on after them they are the
    beginning. Of very many files a work item gives some, in the order of their paths, and the next one lists again."""

    def __init__(self, patterns: tuple[str, ...], listing: Listing) -> None:
        self.patterns = patterns
        self.listing = listing

    def process(
        self,
        _: bytes,
        tracker: Any = beam.DoFn.RestrictionParam(_Unread()),  # noqa: B008
    ) -> Iterator[tuple[str, int]]:
        put_out = 0
        unread: UnreadPaths = tracker.current_restriction()
        for path, size in sorted(self._matched().items()):
            if path <= unread.after:
                continue
            if put_out >= work_items.BYTES:
                tracker.defer_remainder()
                return
            if not tracker.try_claim(UnreadPaths(path)):
                return
            put_out += len(path)
            yield path, size
        tracker.try_claim(_Unread.nothing)

    def _matched(self) -> dict[str, int]:
        files = dict(self.listing)
        for pattern in self.patterns:
            matched = FileSystems.match([pattern])[0].metadata_list
            for file in matched:
                path = file_patterns.absolute(file.path)
                files[path] = max(file.size_in_bytes, files.get(path, 0))
            if not matched and not self.listing:
                files[pattern] = 0
        return files


class _Pieces(RestrictionProvider):
    """A plain file is a range of bytes that can be split anywhere: a line belongs to the piece that its first byte is
    in. A gzip file is a range of the bytes that it holds, up to `_GZIP_END`, and can be left only where it is read."""

    def initial_restriction(self, file: tuple[str, int]) -> OffsetRange:
        path, size = file
        try:
            with _open(path) as opened:
                return OffsetRange(0, _GZIP_END if is_gzip(opened) else max(size, 1))
        except remote_files.unreadable() as error:
            if not _is_lost(path, error):
                raise
            return OffsetRange(0, max(size, 1))  # told where it is read

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return _PieceTracker(restriction)

    def split(self, file: tuple[str, int], restriction: OffsetRange) -> Iterable[OffsetRange]:
        return [restriction] if _is_of_gzip(restriction) else restriction.split(_SPLIT_BYTES)

    def restriction_coder(self) -> OffsetRangeCoder:
        return OffsetRangeCoder()

    def restriction_size(self, file: tuple[str, int], restriction: OffsetRange) -> int:
        return file[1] if _is_of_gzip(restriction) else restriction.size()


class _PieceTracker(OffsetRestrictionTracker):
    def try_split(self, fraction_of_remainder: float) -> Any:
        """A gzip file is split only by a checkpoint, where it is read: nothing behind that can be read by itself."""
        if fraction_of_remainder != 0 and _is_of_gzip(self.current_restriction()):
            return None
        return super().try_split(fraction_of_remainder)


def _is_of_gzip(restriction: OffsetRange) -> bool:
    return bool(restriction.stop == _GZIP_END)


class _ReadBlocksFn(metrics.CountingFn):
    """Reads a file block by block: what a runner does for each element of a splittable DoFn it does once a block.

    Unless all is to be read in one bundle, it defers the rest to another work item after `work_items.BYTES`. A plain
    file goes on there at its offset. A gzip file has to be decompressed again from its beginning; but where the same
    process goes on, it has kept what it reads, and nothing is done twice.
    """

    def __init__(self, *, in_one_bundle: bool = False) -> None:
        super().__init__()
        self.defers = not in_one_bundle

    def process(
        self,
        file: tuple[str, int],
        tracker: Any = beam.DoFn.RestrictionParam(_Pieces()),  # noqa: B008
    ) -> Iterator[list[Line]]:
        path, size = file
        try:
            if _is_of_gzip(tracker.current_restriction()):
                yield from self._gunzipped(path, size, tracker)
                return
            with _open(path) as opened:
                if (yield from self._plain(opened, tracker)):
                    self._check_size(path, opened, size)
        except remote_files.unreadable() as error:
            if not _is_lost(path, error):
                raise
            self._note_lost(path, reason(error))
            tracker.try_claim(tracker.current_restriction().stop)

    def _check_size(self, path: str, opened: BinaryIO, size: int) -> None:
        """Notes a file that has become shorter."""
        if (left := opened.seek(0, os.SEEK_END)) < size:
            self._note_lost(path, f"has {counted(left, 'byte')} left of {size:,}")

    def _note_lost(self, path: str, problem: str) -> None:
        line = printable(f"{shortened(path)}: {problem}")
        self.tally[metrics.LOST.name] += 1
        metrics.note(metrics.LOST_FILES, line)
        _log.warning("%s", line)

    def _count_bytes(self, start: int, end: int) -> None:
        self.tally[metrics.READ_BYTES.name] += max(0, end - start)
        self.tally.report()

    def _plain(self, opened: BinaryIO, tracker: Any) -> Generator[list[Line], None, bool]:
        """Gives the lines of a piece of a plain file; returns whether those were all, and nothing was deferred."""
        start, end = tracker.current_restriction().start, tracker.current_restriction().stop
        put_out = 0
        for block in blocks(opened.read, _first_line(opened, start)):
            if not tracker.try_claim(block.last_start):
                before = block.before(tracker.current_restriction().stop)
                self._count_bytes(before.start, before.start + sum(len(line) + 1 for line in before.whole()))
                yield before.unmarked()
                return True
            self._count_bytes(block.start, block.end)
            yield block.unmarked()
            put_out += block.end - block.start
            if self.defers and put_out >= work_items.BYTES:
                tracker.defer_remainder()
                return False
        tracker.try_claim(max(end, tracker.current_restriction().stop))
        return True

    def _gunzipped(self, path: str, size: int, tracker: Any) -> Iterator[list[Line]]:
        """Gives the lines of a gzip file from where the restriction starts."""
        start = tracker.current_restriction().start
        reading = _kept.take((path, size, start)) or _GzipReading(path, start)
        put_out, read_bytes = 0, reading.read_bytes if start else 0
        for block in reading.blocks:
            if not tracker.try_claim(block.end - 1):
                reading.opened.close()
                return
            self._count_bytes(read_bytes, reading.read_bytes)
            read_bytes = reading.read_bytes
            yield block.unmarked()
            put_out += block.end - block.start
            if self.defers and put_out >= work_items.BYTES:
                _kept.keep((path, size, block.end), reading)
                tracker.defer_remainder()
                return
        tracker.try_claim(_GZIP_END)
        self._count_bytes(read_bytes, size)
        with reading.opened:
            if reading.problem:
                note_unreadable(self.tally, f"{shortened(path)}: {reading.problem}")
            self._check_size(path, reading.opened, size)


class _GzipReading:
    """A gzip file that is read from the line on that begins at `start` of what it holds."""

    def __init__(self, path: str, start: int) -> None:
        self.opened = _open(path)
        self._gunzip = Gunzip(self.opened)
        self.blocks = blocks(self._gunzip.read, start)
        left = start
        while left and (skipped := self._gunzip.read(min(left, _BLOCK_BYTES))):
            left -= len(skipped)

    @property
    def problem(self) -> str:
        return self._gunzip.problem

    @property
    def read_bytes(self) -> int:
        """How far it is in the file as it is stored."""
        return self._gunzip.position


class _KeptReadings:
    """The readings of this process that another work item goes on with, if it comes to this process, by the path, the
    size and the position that it begins with. They are few: the oldest are closed."""

    def __init__(self) -> None:
        self._readings: dict[tuple[str, int, int], _GzipReading] = {}
        self._lock = threading.Lock()

    def keep(self, place: tuple[str, int, int], reading: _GzipReading) -> None:
        with self._lock:
            self._readings[place] = reading
            while len(self._readings) > _MOST_KEPT:
                self._readings.pop(next(iter(self._readings))).opened.close()

    def take(self, place: tuple[str, int, int]) -> _GzipReading | None:
        with self._lock:
            return self._readings.pop(place, None)


_kept: Final = _KeptReadings()


def _is_lost(path: str, error: Exception) -> bool:
    """Whether a file is gone or may not be read any more. What a service that is away fails with passes: the runner
    tries it again."""
    return not isinstance(error, OSError) or isinstance(error, FileNotFoundError) or file_patterns.is_local(path)


def note_unreadable(tally: metrics.Tally, problem: str) -> None:
    """Counts a file that could be read only in part, and has the problem, a line, in the summary and in the log."""
    line = printable(problem)
    tally[metrics.UNREADABLE.name] += 1
    metrics.note(metrics.UNREADABLE_PARTS, line)
    _log.warning("%s", line)


class _MessagesFn(metrics.CountingFn):
    """Leaves out blank lines, and counts."""

    def messages(self, lines: list[Line]) -> list[Line]:
        messages = [line for line in lines if isinstance(line, Received) or (line and not line.isspace())]
        self.tally[metrics.RECEIVED.name] += len(messages)
        self.tally[metrics.BLANK.name] += len(lines) - len(messages)
        self.tally.report()
        return messages


class _BlockFn(_MessagesFn):
    """Joins messages, also of several files, as long as a bundle lasts."""

    def start_bundle(self) -> None:
        self.joined: list[Line] = []
        self.size = 0

    def process(self, lines: list[Line]) -> Iterator[list[Line]]:
        messages = self.messages(lines)
        if len(messages) >= _MANY and not self.joined:
            yield messages
            return
        self.joined += messages
        self.size += sum(len(line.payload if isinstance(line, Received) else line) for line in messages)
        if len(self.joined) >= _MANY or self.size >= _MANY_BYTES:
            yield self._all_joined()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self.joined:
            yield in_global_window(self._all_joined())
        super().finish_bundle()

    def _all_joined(self) -> list[Line]:
        messages, self.joined, self.size = self.joined, [], 0
        return messages


class _LinesFn(_MessagesFn):
    def process(self, lines: list[Line]) -> Iterator[Received]:
        return (line if isinstance(line, Received) else Received(line) for line in self.messages(lines))


class Block(msgspec.Struct, frozen=True):
    """Consecutive lines, the offsets of the first and the last of them, and where they end. A line beyond the size
    limit comes alone, as what was kept of it."""

    start: int
    last_start: int
    end: int
    lines: list[Line]

    def before(self, end: int) -> Block:
        """The lines that begin before an offset."""
        lines, at = [], self.start
        for line in self.lines:
            if at >= end:
                break
            lines.append(line)
            at += 1 + (len(line) if isinstance(line, bytes) else 0)
        return Block(self.start, self.last_start, self.end, lines)

    def whole(self) -> Iterator[bytes]:
        """The lines that were kept whole."""
        return (line for line in self.lines if isinstance(line, bytes))

    def unmarked(self) -> list[Line]:
        """The lines, without the byte order mark that may begin a file."""
        if self.start == 0 and self.lines and isinstance(first := self.lines[0], bytes):
            return [first.removeprefix(_BYTE_ORDER_MARK), *self.lines[1:]]
        return self.lines


def blocks(read: Callable[[int], bytes], position: int) -> Iterator[Block]:
    """The lines that `read` gives, from the offset `position` on, in bounded memory."""
    tail = b""
    while data := read(_BLOCK_BYTES):
        data = tail + data
        cut = data.rfind(b"\n") + 1
        if cut:
            last_start, end = position + data.rfind(b"\n", 0, cut - 1) + 1, position + cut
            yield Block(position, last_start, end, [*data[: cut - 1].split(b"\n")])
            position = end
        tail = data[cut:]
        if len(tail) > MAX_MESSAGE_BYTES:
            kept, size, tail = _too_large(tail, read)
            yield Block(position, position, position + size, [kept])
            position += size
    if tail:
        lines: list[Line] = [*tail.removesuffix(b"\n").split(b"\n")]
        last_start = position + tail.rfind(b"\n", 0, len(tail) - 1) + 1
        yield Block(position, last_start, position + len(tail), lines)


def _too_large(beginning: bytes, read: Callable[[int], bytes]) -> tuple[Received, int, bytes]:
    """(what is kept of a line, how many bytes it took, what follows it), never holding the line whole."""
    digest, length = hashlib.sha256(beginning), len(beginning)
    following = b""
    terminator = 0
    while data := read(_BLOCK_BYTES):
        line, terminated, following = data.partition(b"\n")
        digest.update(line)
        length += len(line)
        terminator = len(terminated)
        if terminated:
            break
    kept = Received(beginning[:KEPT_OF_TOO_LARGE_BYTES], too_large=OversizedMessage(length, digest.hexdigest()))
    return kept, length + terminator, following


class Gunzip:
    """Reads a gzip file as far as it can be read; `problem` then says in one line what could not be."""

    def __init__(self, compressed: BinaryIO) -> None:
        self.problem = ""
        self._compressed = compressed
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self._pending = b""
        self._read_bytes = 0
        self._member_start = 0

    @property
    def position(self) -> int:
        """How much of the file, as it is stored, was decompressed."""
        return self._read_bytes - len(self._pending)

    def read(self, size: int) -> bytes:
        """At most `size` bytes of what the file holds, none at its end."""
        while not self.problem:
            if not self._pending:
                self._pending = self._compressed.read(_BLOCK_BYTES)
                self._read_bytes += len(self._pending)
                if not self._pending:
                    return self._end()
            if self._inflate.eof:
                self._pending = self._pending.lstrip(b"\0")
                if not self._pending:
                    continue
                self._inflate = zlib.decompressobj(_GZIP_WINDOW)
                self._member_start = self._read_bytes - len(self._pending)
            data = self._decompress(size)
            if data:
                return data
        return b""

    def _end(self) -> bytes:
        if self._inflate.eof:
            return b""
        self.problem = f"the gzip data end early, after {counted(self._read_bytes, 'byte')}; what followed is lost"
        return self._inflate.flush()

    def _decompress(self, size: int) -> bytes:
        before = self._inflate.copy()
        try:
            data = self._inflate.decompress(self._pending, size)
            self._pending = self._inflate.unconsumed_tail or self._inflate.unused_data
            return data
        except zlib.error as error:
            data, at = _salvage(before, self._pending)
            self.problem = self._damage(self._read_bytes - len(self._pending) + at, str(error))
            return data

    def _damage(self, offset: int, error: str) -> str:
        """What is wrong at an offset of the file: there, or where a checksum is wrong, somewhere before."""
        if offset < self._member_start + len(_GZIP_MAGIC):
            return f"what follows byte {self._member_start} is not gzip data, and is lost"
        place = "before" if _CHECKSUM.search(error) else "near"
        return f"the gzip data are damaged {place} byte {offset} ({error}); the rest is lost"


def _salvage(inflate: Any, compressed: bytes) -> tuple[bytes, int]:
    """What can be read of damaged data, byte by byte up to the damage, and its offset in them."""
    data = []
    for at in range(len(compressed)):
        try:
            data.append(inflate.decompress(compressed[at : at + 1]))
        except zlib.error:
            return b"".join(data), at
    return b"".join(data), len(compressed)


def _open(path: str) -> BinaryIO:
    opened: BinaryIO = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return opened


def is_gzip(opened: BinaryIO) -> bool:
    """By the first bytes of a file just opened, which stands there again: a name says little."""
    magic = opened.read(len(_GZIP_MAGIC))
    opened.seek(0)
    return magic == _GZIP_MAGIC


def _first_line(opened: BinaryIO, start: int) -> int:
    """Moves to the first line that begins at `start` or later, and returns where that is."""
    if start == 0:
        return 0
    opened.seek(start - 1)
    position = start - 1
    while data := opened.read(_BLOCK_BYTES):
        end = data.find(b"\n")
        if end >= 0:
            opened.seek(position + end + 1)
            return position + end + 1
        position += len(data)
    return position
