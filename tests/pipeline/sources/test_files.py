"""Files as a source: each line once, whatever is wrong with the file around it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import itertools
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.io.filesystem import MatchResult
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.metrics.metric import MetricResults
from apache_beam.testing.util import assert_that, equal_to
from google.api_core.exceptions import Forbidden, NotFound

from pipeline import work_items
from pipeline.sources import files
from pipeline.sources.file_patterns import Listing, checked
from pipeline.sources.files import Gunzip, ReadFileBlocks, ReadFiles, blocks
from schemas.segment import MAX_MESSAGE_BYTES
from tests.work_items import run
from transforms import metrics
from transforms.core.reader import OversizedMessage, Received

LIMIT, KEPT = 40, 10
"""What the size limit, and what is kept of a longer line, is lowered to."""

CONTENTS = {
    "plain": b"one\ntwo\n\nfour\nfive\n",
    "no final line feed": b"one\ntwo",
    "one line": b"one",
    "only line feeds": b"\n\n\n",
    "CRLF": b"one\r\ntwo\r\n\r\nfour",
    "a byte order mark": b"\xef\xbb\xbfone\ntwo\n",
    "a byte order mark before a blank line": b"\xef\xbb\xbf\n\xef\xbb\xbftwo\n",
    "NUL, invalid UTF-8, other line breaks": b"a\x00b\n\xff\xfe\n\xc2\x85c\x0bd\r\xe2\x80\xa8e\n\x00\n",
    "a line over the limit": b"one\n" + b"x" * 100 + b"\nthree\n",
    "a line over the limit, first and last": b"y" * 73,
    "lines over the limit in a row": b"x" * 50 + b"\n" + b"y" * 90 + b"\n\n" + b"z" * 41 + b"\nend",
    "lines of just the limit": b"x" * 40 + b"\n" + b"y" * 39 + b"\n" + b"z" * 40,
    "nothing": b"",
}


@pytest.fixture(params=[1, 3, 7, 64], ids="blocks of {}".format)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads few bytes at a time, and has a low limit."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", request.param)
    monkeypatch.setattr(files, "MAX_MESSAGE_BYTES", LIMIT)
    monkeypatch.setattr(files, "KEPT_OF_TOO_LARGE_BYTES", KEPT)


def lines(content: bytes) -> list[bytes]:
    """What stands between line feeds, without the mark that may begin a file."""
    return content.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n") if content else []


def shown(line: bytes | Received) -> bytes | Received:
    """A line as it may come: those over the limit as a beginning, with the whole line's length and digest."""
    if isinstance(line, bytes) and len(line) > LIMIT:
        return Received(line[:KEPT], too_large=OversizedMessage(len(line), hashlib.sha256(line).hexdigest()))
    return line


def read(path: Path, tracker: OffsetRestrictionTracker) -> Iterator[list[bytes | Received]]:
    """The blocks of a piece of a file, as a runner asks for them."""
    yield from files._ReadBlocksFn().process((str(path), path.stat().st_size), tracker)
    tracker.check_done()


def read_pieces(path: Path, offsets: Sequence[int]) -> list[bytes | Received]:
    pieces = itertools.pairwise(offsets)
    return [
        shown(line)
        for start, end in pieces
        for block in read(path, OffsetRestrictionTracker(OffsetRange(start, end)))
        for line in block
    ]


# ---- plain files ----


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("what", CONTENTS)
def test_every_split_of_a_file_gives_each_line_once(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENTS[what])
    expected = [shown(line) for line in lines(CONTENTS[what])]
    size = len(CONTENTS[what])
    assert read_pieces(path, (0, max(size, 1))) == expected
    for at in range(1, size):
        assert read_pieces(path, (0, at, size)) == expected, f"split at {at}"
    assert read_pieces(path, range(size + 1)) == expected, "split at each"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("what", CONTENTS)
def test_a_piece_that_is_split_while_it_is_read_gives_each_line_once(
    what: str, fraction: float, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENTS[what])
    size = len(CONTENTS[what])
    for after in range(size + 1):
        found: list[bytes | Received] = []
        pieces = [OffsetRestrictionTracker(OffsetRange(0, max(size, 1)))]
        for tracker in pieces:
            reading = read(path, tracker)
            for number in itertools.count():
                if number == after and tracker is pieces[0] and (split := tracker.try_split(fraction)):
                    pieces.append(OffsetRestrictionTracker(split[1]))
                block = next(reading, None)
                if block is None:
                    break
                found += map(shown, block)
        assert found == [shown(line) for line in lines(CONTENTS[what])], f"split after {after} blocks"


@pytest.mark.usefixtures("small")
def test_blocks_know_where_their_lines_begin() -> None:
    content = CONTENTS["plain"] + CONTENTS["lines over the limit in a row"]
    for block in blocks(io.BytesIO(content).read, 0):
        for line, offset in ((block.lines[0], block.start), (block.lines[-1], block.last_start)):
            beginning = line.payload if isinstance(line, Received) else line
            assert content[offset:].startswith(beginning)
            assert offset == 0 or content[offset - 1 : offset] == b"\n"
        assert block.before(block.last_start + 1).lines == block.lines
        assert block.before(block.last_start).lines == block.lines[:-1]


def test_a_line_over_the_limit_is_never_held_whole() -> None:
    length = 200 << 20

    tracemalloc.start()
    with open("/dev/zero", "rb") as zeros:
        pieces = [1 << 20] * 200
        (block,) = blocks(lambda _: zeros.read(pieces.pop() if pieces else 0), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (line,) = block.lines
    assert isinstance(line, Received)
    assert line.too_large == OversizedMessage(length, hashlib.sha256(bytes(length)).hexdigest())
    assert len(line.payload) == 1_000_000
    assert peak < 40_000_000


# ---- gzip files ----


def gunzip(compressed: bytes, size: int = 1 << 20) -> tuple[bytes, str]:
    reader = Gunzip(io.BytesIO(compressed))
    read = b"".join(iter(lambda: reader.read(size), b""))
    return read, reader.problem


NOISE = random.Random(1).randbytes(3000)
TEXT = b"".join(b'{"type": "track", "event": "%d"}\n' % number for number in range(300))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("size", [1, 10, 100_000])
@pytest.mark.parametrize(
    ("what", "compressed", "expected"),
    [
        ("one member", gzip.compress(TEXT), TEXT),
        ("what does not compress", gzip.compress(NOISE), NOISE),
        ("several members", gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(NOISE), TEXT + NOISE),
        ("trailing zeros", gzip.compress(TEXT) + bytes(512), TEXT),
        ("zeros between members", gzip.compress(TEXT) + bytes(512) + gzip.compress(NOISE), TEXT + NOISE),
        ("nothing in it", gzip.compress(b"", mtime=0), b""),
    ],
)
def test_gzip_is_read_whole(what: str, compressed: bytes, expected: bytes, size: int) -> None:
    assert gunzip(compressed, size) == (expected, "")


@pytest.mark.usefixtures("small")
def test_truncated_gzip_is_read_as_far_as_it_goes() -> None:
    first = gzip.compress(TEXT)
    compressed = first + gzip.compress(NOISE[:200])
    for length in range(2, len(compressed)):
        read, problem = gunzip(compressed[:length])
        known = zlib.decompressobj(31).decompress(compressed[: min(length, len(first))])
        if length > len(first):
            known += zlib.decompressobj(31).decompress(compressed[len(first) : length])
        assert read == known, f"{length} bytes"
        if length == len(first):
            assert problem == ""
        else:
            assert problem == f"the gzip data end early, after {length} bytes; what followed is lost"


@pytest.mark.usefixtures("small")
def test_damaged_gzip_is_read_up_to_the_damage() -> None:
    compressed = gzip.compress(NOISE, 0)  # stored as it is, in one block
    start = compressed.index(NOISE[:100])
    for damage in (compressed[:start] + b"x" + compressed[start + 1 :], compressed[:-8] + bytes(8)):
        read, problem = gunzip(damage)
        assert len(read) == len(NOISE)
        assert read[1:] == NOISE[1:]
        assert problem.startswith(f"the gzip data are damaged before byte {len(compressed) - 5} (")
    two = gzip.compress(TEXT) + b"\x1f\x8b\x08\x00garbage"
    read, problem = gunzip(two)
    assert (read, "damaged" in problem or "end early" in problem) == (TEXT, True)


@pytest.mark.parametrize("garbage", [b"garbage", b"{}\n", TEXT])
def test_garbage_behind_gzip_is_said(garbage: bytes) -> None:
    compressed = gzip.compress(TEXT)
    read, problem = gunzip(compressed + garbage)
    assert read == TEXT
    assert problem == f"what follows byte {len(compressed)} is not gzip data, and is lost"


def refused_at(compressed: bytes) -> tuple[int, str]:
    """The offset of the byte that zlib refuses when it gets one after the other, and how the damage lies to it: a
    checksum stands behind what it is wrong about."""
    inflate = zlib.decompressobj(31)
    for at in range(len(compressed)):
        try:
            inflate.decompress(compressed[at : at + 1])
        except zlib.error as error:
            return at, "before" if "incorrect data check" in str(error) else "near"
    raise AssertionError("nothing is refused")


@pytest.mark.parametrize("size", [1000, 1 << 20])
@pytest.mark.parametrize("at", [30, 1000, (1 << 20) - 1, 1 << 20, (1 << 20) + 70_000])
def test_damage_is_placed_in_the_compressed_file(at: int, size: int) -> None:
    noise = random.Random(2).randbytes(1_400_000).hex().encode()  # more than is read at a time
    compressed = gzip.compress(noise, 1)
    damaged = compressed[:at] + b"\xff" * 40 + compressed[at + 40 :]
    offset, place = refused_at(damaged)
    assert offset >= at
    read, problem = gunzip(damaged, size)
    assert problem.startswith(f"the gzip data are damaged {place} byte {offset} (")
    assert noise.startswith(read[: at - 30])


def test_any_damage_at_all_costs_no_more_than_the_rest() -> None:
    compressed = gzip.compress(TEXT)
    for at in range(2, len(compressed)):
        read, problem = gunzip(compressed[:at] + bytes([compressed[at] ^ 0xFF]) + compressed[at + 1 :])
        assert problem or read == TEXT  # a few bytes of the header mean nothing


# ---- work items ----


@pytest.fixture(params=["kept", "not kept"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a gzip file goes on in the process that has read its beginning; no other test's readings are kept."""
    monkeypatch.setattr(files, "_kept", files._KeptReadings())
    if request.param == "not kept":
        monkeypatch.setattr(files, "_MOST_KEPT", 0)


def read_work_items(
    content: bytes, path: Path, stop_after: int | None = None, *, in_one_bundle: bool = False
) -> list[list[bytes | Received]]:
    """The lines that each work item gives of a file."""
    path.write_bytes(content)
    reading = files._ReadBlocksFn(in_one_bundle=in_one_bundle)
    blocks_of_work_items = run(reading.process, (str(path), len(content)), files._Pieces(), stop_after=stop_after)
    return [[shown(line) for block in blocks for line in block] for blocks in blocks_of_work_items]


@pytest.mark.usefixtures("small", "kept")
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("what", CONTENTS)
def test_work_items_give_each_line_of_a_file_once(
    what: str, compress: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [shown(line) for line in lines(CONTENTS[what])]
    for most in (1, 10, 50, 1_000):
        monkeypatch.setattr(work_items, "BYTES", most)
        for stop_after in (None, 1, 2):
            found = read_work_items(compress(CONTENTS[what]), tmp_path / "a", stop_after)
            assert [line for work_item in found for line in work_item] == expected, (most, stop_after)
    assert files._kept._readings == {}


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_work_item_of_a_file_is_bounded(
    compress: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(work_items, "BYTES", 1_000)
    found = read_work_items(compress(TEXT), tmp_path / "a")
    sizes = [sum(len(line) + 1 for line in work_item if isinstance(line, bytes)) for work_item in found]
    assert sum(sizes) == len(TEXT)
    assert max(sizes) < 1_000 + 2 * 100
    assert len(sizes) >= len(TEXT) // 1_200


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_that_is_read_in_one_bundle_is_one_work_item(
    compress: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(work_items, "BYTES", 1_000)
    (found,) = read_work_items(compress(TEXT), tmp_path / "a", in_one_bundle=True)
    assert found == [shown(line) for line in lines(TEXT)]


@pytest.mark.parametrize("most_kept", [0, 1])
def test_a_process_goes_on_where_it_has_read_a_gzip_file(
    most_kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened once for its first bytes, and then once, or once for each work item."""
    opened: list[str] = []

    def open_file(path: str) -> object:
        opened.append(path)
        return open_before(path)

    open_before = files._open
    monkeypatch.setattr(files, "_open", open_file)
    monkeypatch.setattr(files, "_MOST_KEPT", most_kept)
    monkeypatch.setattr(files, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(work_items, "BYTES", 1_000)
    found = read_work_items(gzip.compress(TEXT), tmp_path / "a")
    assert len(opened) == 1 + (1 if most_kept else len(found))


@pytest.mark.usefixtures("kept")
def test_what_is_wrong_with_a_file_of_many_work_items_is_noted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(work_items, "BYTES", 1_000)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(TEXT)[:-8])
    results = read_source([path], TEXT.splitlines())
    line = f"{path}: the gzip data end early, after {path.stat().st_size} bytes; what followed is lost"
    assert metrics.noted(results, metrics.UNREADABLE_PARTS) == (line,)
    assert metrics.counts(results)[metrics.UNREADABLE.name] == 1


@pytest.mark.parametrize("stop_after", [None, 3])
def test_work_items_list_each_of_very_many_files_once(
    stop_after: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(tmp_path / f"{number:03}") for number in range(20)]
    for path in paths:
        Path(path).write_text(path)
    monkeypatch.setattr(work_items, "BYTES", 4 * len(paths[0]))
    matching = files._MatchFn((f"{tmp_path}/*", f"{tmp_path}/01*"), ())
    found = run(matching.process, b"", files._Unread(), stop_after=stop_after)
    assert [file for work_item in found for file in work_item] == [(path, len(path)) for path in paths]
    assert max(map(len, found)) <= 4


def test_a_gzip_file_cannot_be_split_but_where_it_is_read() -> None:
    tracker = files._Pieces().create_tracker(OffsetRange(0, files._GZIP_END))
    tracker.try_claim(9)
    assert tracker.try_split(0.5) is None
    assert tracker.try_split(0) == (OffsetRange(0, 10), OffsetRange(10, files._GZIP_END))


# ---- the whole source ----


def read_source(patterns: Sequence[Path], expected: Sequence[bytes], listing: Listing = ()) -> MetricResults:
    """The source gives just these payloads, in any order; returns what it reported."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    received = pipeline | ReadFiles(tuple(map(str, patterns)), listing)
    assert_that(received | beam.Map(lambda each: each.payload), equal_to(expected))
    result = pipeline.run()
    result.wait_until_finish()
    return result.metrics()


def check_source(patterns: Sequence[Path], expected: Sequence[bytes]) -> dict[str, int]:
    """The source gives just these payloads, in any order; returns what it counted."""
    return metrics.counts(read_source(patterns, expected))


@pytest.mark.parametrize("ending", [b"\n", b""])
def test_the_bytes_that_were_read_come_to_those_of_the_files(
    ending: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", 300)
    monkeypatch.setattr(files, "_SPLIT_BYTES", 1000)
    monkeypatch.setattr(work_items, "BYTES", 700)
    text = b"\n".join(b"%d" % index * (index % 7) for index in range(400)) + ending
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "b.gz").write_bytes(gzip.compress(text))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(text)[:-40])
    for name in ("a.jsonl", "b.gz", "cut.gz"):
        path = tmp_path / name
        results = (beam.Pipeline(runner="FnApiRunner") | ReadFiles((str(path),))).pipeline.run().metrics()
        size = path.stat().st_size
        assert size <= metrics.counts(results)[metrics.READ_BYTES.name] <= size + 1


def test_overlapping_patterns_read_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("a.jsonl", "b.jsonl", "c.txt"):
        (folder / name).write_text(f"{name}\n")
    patterns = [Path("a.jsonl"), folder / "a.jsonl", folder / "*.jsonl", folder / "*", Path("../*/b.jsonl")]
    check_source([*patterns, Path("a.jsonl")], [b"a.jsonl", b"b.jsonl", b"c.txt"])


def test_names_do_not_say_what_is_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"plain 1\nplain 2\n")
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(b"\xef\xbb\xbfpacked 1\npacked 2"))
    (tmp_path / "c.gz").write_bytes(b"")
    (tmp_path / "d").write_bytes(gzip.compress(b""))
    (tmp_path / "e").write_bytes(b"\x1f")
    counts = check_source([tmp_path / "*"], [b"plain 1", b"plain 2", b"packed 1", b"packed 2", b"\x1f"])
    assert metrics.UNREADABLE.name not in counts


def test_a_large_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SPLIT_BYTES", 100)
    (tmp_path / "a").write_bytes(TEXT)
    tracker = files._Pieces()
    restriction = tracker.initial_restriction((str(tmp_path / "a"), len(TEXT)))
    assert len(list(tracker.split((str(tmp_path / "a"), len(TEXT)), restriction))) == len(TEXT) // 100 + 1
    check_source([tmp_path / "a"], TEXT.splitlines())


@pytest.mark.parametrize(
    ("block_bytes", "most_blocks"),
    [
        (1 << 20, 60 * 30 // files._MANY + 2),
        (1_000, 60 * 30 * 30 // 1_000 + 2),
    ],
)
def test_short_files_go_on_together(
    block_bytes: int, most_blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(files, "_MANY_BYTES", block_bytes)
    expected = []
    for number in range(60):
        some = [b"line %02d of file %02d, 30 bytes.." % (line, number) for line in range(30)]
        (tmp_path / f"{number:02}.jsonl").write_bytes(b"\n".join([*some, b"", b""]))
        expected.append(some)
    (tmp_path / "long.jsonl").write_bytes(b"x" * (MAX_MESSAGE_BYTES + 1))
    pipeline = beam.Pipeline(runner="FnApiRunner")
    read = pipeline | ReadFileBlocks((f"{tmp_path}/*.jsonl",)) | beam.Map(msgspec.json.encode)

    def check(encoded: list[bytes]) -> None:
        read_blocks = [msgspec.json.decode(block, type=list[Any]) for block in encoded]
        assert len(read_blocks) <= most_blocks + 1
        lines = [line for block in read_blocks for line in block]
        assert sum(isinstance(line, dict) for line in lines) == 1
        texts = [base64.b64decode(line) for line in lines if isinstance(line, str)]
        assert sorted(texts) == sorted(itertools.chain.from_iterable(expected))
        for some in expected:
            assert [text for text in texts if text in some] == some, "the lines of a file are not in their order"

    assert_that(read, check)
    pipeline.run()


def test_blank_lines_are_counted_and_give_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\n\n \t\r\ntwo\r\n\r\n")
    counts = check_source([tmp_path / "a"], [b"one", b"two\r"])
    assert counts[metrics.BLANK.name] == 3


def test_what_cannot_be_read_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(TEXT)[:-8])
    counts = check_source([path], TEXT.splitlines())
    line = f"{path}: the gzip data end early, after {path.stat().st_size} bytes; what followed is lost"
    assert counts[metrics.UNREADABLE.name] == 1
    assert [record.getMessage() for record in caplog.records if record.name == files.__name__] == [line]


def remove(path: Path) -> None:
    path.unlink()


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4])


@pytest.mark.parametrize(
    ("what", "pattern", "vanish", "expected", "problem"),
    [
        ("one of several", "*", remove, [b"two"], "No such file or directory"),
        ("the only one", "a*", remove, [], "No such file or directory"),
        ("one by its name", "a.jsonl", remove, [], "No such file or directory"),
        ("a folder in its place", "*", make_folder, [b"two"], "Is a directory"),
        ("one that was emptied", "*", empty, [b"two"], "has 0 bytes left of 8"),
        ("one that was cut", "*", cut, [b"one", b"two"], "has 4 bytes left of 8"),
    ],
)
def test_a_file_that_vanishes_is_noted_and_the_others_are_read(
    what: str, pattern: str, vanish: Callable[[Path], None], expected: list[bytes], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\none\n")
    (tmp_path / "b.jsonl").write_bytes(b"two\n")
    patterns, listing = checked([str(tmp_path / pattern)])
    vanish(path)
    results = read_source([Path(pattern) for pattern in patterns], expected, listing)
    assert metrics.noted(results, metrics.LOST_FILES) == (f"{path}: {problem}",)
    assert metrics.counts(results)[metrics.LOST.name] == 1


def test_a_file_that_vanishes_is_noted_without_a_listing_where_a_pattern_names_it(tmp_path: Path) -> None:
    results = read_source([tmp_path / "a.jsonl"], [])
    assert metrics.noted(results, metrics.LOST_FILES) == (f"{tmp_path}/a.jsonl: No such file or directory",)


def test_a_file_that_comes_or_grows_after_the_check_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\n")
    _, listing = checked([f"{tmp_path}/*"])
    (tmp_path / "a").write_bytes(b"one\nmore\n")
    (tmp_path / "b").write_bytes(b"two\n")
    results = read_source([tmp_path / "*"], [b"one", b"more", b"two"], listing)
    assert metrics.noted(results, metrics.LOST_FILES) == ()


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [(NotFound("gone"), True), (Forbidden("closed"), True), (FileNotFoundError(), True), (ConnectionError(), False)],
    ids=lambda each: type(each).__name__,
)
def test_a_service_that_is_away_loses_no_file(
    error: Exception, is_lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(FileSystems, "match", lambda patterns: [MatchResult(patterns[0], [])])
    monkeypatch.setattr(FileSystems, "open", fail)
    if is_lost:
        results = read_source([Path("gs:/b/a.jsonl")], [])
        assert len(metrics.noted(results, metrics.LOST_FILES)) == 1
    else:
        with pytest.raises(type(error)):
            files._Pieces().initial_restriction(("gs://b/a.jsonl", 1))
