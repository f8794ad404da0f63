"""What a file looks like that is not one JSON object a line, told from its beginning."""

from __future__ import annotations

import codecs
import contextlib
import re
import zlib
from collections.abc import Iterable
from typing import Final

import msgspec
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline import remote_files
from pipeline.errors import printable, shortened

_BEGINNING_BYTES: Final = 64 << 10
_MOST_FILES: Final = 100
"""So many files are looked at."""
_MAGIC: Final = {
    b"PAR1": "Parquet",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x1f\x8b": "gzip in gzip",
    b"SQLite format 3": "a SQLite database",
    b"%PDF": "a PDF",
}
_MARKS: Final = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_DELIMITERS: Final = {b",": "CSV", b"\t": "tab-separated values", b";": "CSV", b"|": "CSV"}


def likely_mistake(paths: Iterable[str]) -> str:
    """What the first of these files looks like that is not one JSON object a line, in words for the user; empty where
    all look right or cannot be read."""
    for path, _ in zip(paths, range(_MOST_FILES), strict=False):
        if looks := look(beginning(path)):
            return printable(f"{shortened(path)} looks like {looks}")
    return ""


def beginning(path: str) -> bytes:
    """The first bytes of a file, decompressed where it is gzip; none where it cannot be read."""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            data: bytes = file.read(_BEGINNING_BYTES)
    except remote_files.unreadable():
        return b""
    if data.startswith(b"\x1f\x8b"):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(31).decompress(data, _BEGINNING_BYTES)
    return data


def look(data: bytes) -> str:
    """What the beginning of a file looks like; empty where it may be JSON, one object a line, or there is nothing."""
    for names in (_MAGIC, _MARKS):
        for mark, name in names.items():
            if data.startswith(mark):
                return f"{name}: save it as UTF-8" if names is _MARKS else f"{name}: unpack or export it first"
    if _CONTROL.search(data):
        halves = data[::2].count(0), data[1::2].count(0)
        return "UTF-16: save it as UTF-8" if max(halves) > len(data) // 4 else "binary data"
    lines = [line for line in data.removeprefix(codecs.BOM_UTF8).splitlines() if line.strip()]
    if len(data) == _BEGINNING_BYTES and len(lines) == 1:
        return ""  # its end is not known
    return _look_of_text(lines) if lines else ""


def _look_of_text(lines: list[bytes]) -> str:
    first = lines[0].strip()
    if first.startswith((b"{", b"[")):
        return _look_of_json(first, len(lines))
    if first.startswith(b"<"):
        return "HTML or XML"
    for delimiter, name in _DELIMITERS.items():
        if all(delimiter in line for line in lines[:2]):
            return name
    return "plain text"


def _look_of_json(first: bytes, lines: int) -> str:
    """What text looks like that begins as JSON does, by its first line; empty where that is JSON by itself."""
    try:
        first.decode()
        msgspec.json.decode(first)
    except UnicodeDecodeError:
        return "text in another encoding: save it as UTF-8"
    except msgspec.DecodeError as error:
        problem = str(error)
    else:
        return ""
    if re.match(rb"[{\[]+\s*'", first):
        return "a program's own notation, with single quotes: write it as JSON"
    if first.endswith(b"},"):
        return "JSON objects with commas between them: leave one object a line"
    if "truncated" in problem and lines > 1:
        return "JSON over several lines: jq -c puts each object on one"
    return "JSON with mistakes in it"
