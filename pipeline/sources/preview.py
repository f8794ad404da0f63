"""The first messages of an input, to look at: nothing is moved, acknowledged or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline.errors import shortened
from pipeline.sources.base import Source, SourceKind
from pipeline.sources.directory import Directory, DirectoryKind, received
from pipeline.sources.directory_reader import DirectoryReader
from pipeline.sources.files import Files, FilesKind, Gunzip, Line, blocks, is_gzip
from transforms.core.reader import Received

KINDS: Final[tuple[SourceKind, ...]] = (FilesKind(), DirectoryKind())
"""The sources that can be looked at. A message that is pulled from a subscription is no longer there for the job."""


class Previewed(NamedTuple):
    """A message, and the file and line that it stands in."""

    path: str
    line: int
    received: Received


class Preview:
    """The messages of a source that are there now, file by file. `files` are those that were opened so far, `problems`
    what could not be read of them, a line each."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.files: list[str] = []
        self.problems: list[str] = []

    def messages(self) -> Iterator[Previewed]:
        """Raises OSError, and what a file system of another machine raises, where a file cannot be read."""
        if isinstance(self._source, Files):
            for path, _ in sorted(self._source.listing):
                yield from self._of_file(path)
        elif isinstance(self._source, Directory):
            yield from self._of_directory(self._source)

    def _of_file(self, path: str) -> Iterator[Previewed]:
        self.files.append(path)
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as opened:
            gunzip = Gunzip(opened) if is_gzip(opened) else None
            read = opened.read if gunzip is None else gunzip.read
            count = 0
            for block in blocks(read, 0):
                for number, line in _numbered(block.unmarked(), count):
                    yield Previewed(path, number, line if isinstance(line, Received) else Received(line))
                count += len(block.lines)
            if gunzip is not None and gunzip.problem:
                self.problems.append(f"{shortened(path)}: {gunzip.problem}")

    def _of_directory(self, directory: Directory) -> Iterator[Previewed]:
        reader = DirectoryReader(directory.path, directory.connections)
        count = 0
        while (block := reader.next_block()) is not None:
            if self.files[-1:] != [block.path]:
                self.files.append(block.path)
                count = 0
            for number, line in _numbered(block.lines, count):
                yield Previewed(block.path, number, received(block, line))
            count += len(block.lines)
            if block.problem:
                self.problems.append(block.problem)


def _numbered(lines: Sequence[Line], before: int) -> Iterator[tuple[int, Line]]:
    """The lines that are not blank, each with its number, where so many stand before them."""
    for number, line in enumerate(lines, before + 1):
        if isinstance(line, Received) or (line and not line.isspace()):
            yield number, line
