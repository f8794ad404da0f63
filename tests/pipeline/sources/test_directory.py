"""The reader of a directory: what is read, in which order, and when a file moves."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.sources import directory_reader
from pipeline.sources.directory_reader import DirectoryReader, ReadBlock


def put(path: Path, content: bytes, completed_at: float = 1_700_000_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (completed_at, completed_at))
    return path


def read_all(reader: DirectoryReader) -> list[ReadBlock]:
    return list(iter(reader.next_block, None))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[DirectoryReader]:
    yield DirectoryReader.of(str(tmp_path), ["Marketing site"])
    DirectoryReader.close(str(tmp_path))


def test_complete_files_are_read_oldest_first(tmp_path: Path, reader: DirectoryReader) -> None:
    put(tmp_path / "b.jsonl", b"2\n", 1_700_000_002)
    put(tmp_path / "c.jsonl.gz", gzip.compress(b"1\n"), 1_700_000_001)
    put(tmp_path / "marketing-site" / "a b\n.jsonl", b"3\n", 1_700_000_003)
    put(tmp_path / "nobody" / "a.jsonl", b"4\n", 1_700_000_004)
    for ignored in ("d.part", ".e.jsonl", "f.csv", "read/g.jsonl", ".h/i.jsonl"):
        put(tmp_path / ignored, b"0\n")
    blocks = read_all(reader)
    assert [line for block in blocks for line in block.lines] == [b"1", b"2", b"3", b"4"]
    assert [dict(block.attributes) for block in blocks] == [
        {},
        {},
        {"connection": "Marketing site"},
        {"connection": "nobody"},
    ]
    assert [block.completed_at for block in blocks] == [1_700_000_000_000_000 + n * 1_000_000 for n in (1, 2, 3, 4)]


def test_a_file_moves_when_all_of_its_blocks_are_durable(tmp_path: Path, reader: DirectoryReader) -> None:
    lines = [b"%d" % number + b"x" * 1_000 for number in range(20_000)]
    file = put(tmp_path / "marketing-site" / "large.jsonl", b"\n".join(lines))
    used = put(tmp_path / "read" / "marketing-site" / "large.jsonl", b"earlier\n")
    blocks = read_all(reader)
    assert len(blocks) > 1
    assert [line for block in blocks for line in block.lines] == lines
    reader.finalized(blocks[1:])
    assert file.exists()
    assert reader.watermark() == 1_700_000_000_000_000
    reader.finalized(blocks[:1])
    assert not file.exists()
    assert used.read_bytes() == b"earlier\n"
    assert used.with_name("2-large.jsonl").stat().st_size == len(b"\n".join(lines))
    assert reader.watermark() > (time.time() - 60) * 1_000_000


@pytest.mark.parametrize("change", ["another file under its name", "more lines in it"])
def test_a_file_that_has_changed_since_it_was_opened_is_read_again(
    change: str, tmp_path: Path, reader: DirectoryReader
) -> None:
    file = put(tmp_path / "a.jsonl", b"1\n")
    blocks = read_all(reader)
    if change == "more lines in it":
        with file.open("ab") as more:
            more.write(b"2\n")
    else:
        put(tmp_path / "a.part", b"2\n").rename(file)
    reader.finalized(blocks)
    assert file.exists()
    time.sleep(directory_reader._LISTED_S)
    again = read_all(reader)
    assert b"2" in [line for block in again for line in block.lines]
    reader.finalized(again)
    assert not file.exists()


def test_what_is_not_durable_is_read_again(tmp_path: Path, reader: DirectoryReader) -> None:
    put(tmp_path / "a.jsonl", b"1\n2\n")
    assert len(read_all(reader)) == 1
    assert DirectoryReader.close(str(tmp_path)) == 2
    again = read_all(DirectoryReader.of(str(tmp_path), []))
    assert [list(block.lines) for block in again] == [[b"1", b"2"]]


def test_a_stopped_reader_reads_no_more_and_waits_for_what_it_read(tmp_path: Path, reader: DirectoryReader) -> None:
    put(tmp_path / "a.jsonl", b"1\n", 1_700_000_001)
    later = put(tmp_path / "b.jsonl", b"2\n", 1_700_000_002)
    block = reader.next_block()
    assert block is not None
    DirectoryReader.stop(str(tmp_path))
    assert reader.next_block() is None
    assert not reader.is_done
    reader.finalized([block])
    assert reader.is_done
    assert later.exists()


def test_the_readable_part_of_a_damaged_file_is_read(tmp_path: Path, reader: DirectoryReader) -> None:
    content = gzip.compress(b"".join(b"%d\n" % number for number in range(1000)))
    file = put(tmp_path / "a.jsonl.gz", content[:-20])
    blocks = read_all(reader)
    assert next(iter(blocks[0].lines)) == b"0"
    assert "a.jsonl.gz" in blocks[-1].problem
    reader.finalized(blocks)
    assert not file.exists()


def test_a_time_in_the_future_does_not_stop_the_watermark(tmp_path: Path, reader: DirectoryReader) -> None:
    put(tmp_path / "a.jsonl", b"1\n", time.time() + 1_000_000)
    (block,) = read_all(reader)
    assert block.completed_at <= time.time_ns() // 1000
    assert reader.watermark() <= time.time_ns() // 1000
