"""What the job reads of a directory that a sink has filled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.sources.directory_reader import DirectoryReader
from receiver.sink import Message
from transforms.core.reader import Received

CONNECTIONS = ("Web", "Mobile app")


def read_by_the_job(directory: Path, connections: Iterable[str] = CONNECTIONS) -> list[Message]:
    """The messages of all complete files, in the order in which the job reads them."""
    return list(_messages(DirectoryReader(str(directory), connections)))


def _messages(reader: DirectoryReader) -> Iterator[Message]:
    while block := reader.next_block():
        assert not block.problem
        for line in block.lines:
            assert not isinstance(line, Received), "the line is too large for the job"
            yield Message(connection=block.attributes["connection"], payload=line)


def parts(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.part"))


def web(*payloads: bytes) -> list[Message]:
    return [Message(connection="Web", payload=payload) for payload in payloads]
