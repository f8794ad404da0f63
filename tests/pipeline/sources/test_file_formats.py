"""What a file looks like that is not one JSON object a line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pipeline.sources.file_formats import likely_mistake

CALL = {"type": "page", "userId": "Zoë", "properties": {"a": [1, 2]}}
LINE = json.dumps(CALL)
PRETTY = json.dumps(CALL, indent=2)

LOOKS = [
    ("one object a line", f"{LINE}\n{LINE}\n".encode(), ""),
    ("one object", LINE.encode(), ""),
    ("a byte order mark", f"\ufeff{LINE}\n".encode(), ""),
    ("an array on one line", f"[{LINE}]".encode(), ""),
    ("a line longer than is looked at", f'{{"a": "{"x" * 100_000}"}}'.encode(), ""),
    ("nothing", b"", ""),
    ("blank lines", b"\n \n", ""),
    ("CSV", b"type,userId\npage,ann\n", "CSV"),
    ("CSV in quotes", b'"type","userId"\n"page","ann"\n', "CSV"),
    ("CSV of other countries", b"type;userId\npage;ann\n", "CSV"),
    ("tabs", b"type\tuserId\npage\tann\n", "tab-separated values"),
    ("pretty-printed JSON", PRETTY.encode(), "JSON over several lines: jq -c puts each object on one"),
    ("a pretty-printed array", f"[\n{PRETTY}\n]".encode(), "JSON over several lines: jq -c puts each object on one"),
    ("packed pretty-printed JSON", gzip.compress(PRETTY.encode()), "JSON over several lines: jq -c puts each object"),
    ("objects with commas", f"{LINE},\n{LINE}\n".encode(), "JSON objects with commas between them"),
    ("Python's notation", f"{CALL}\n".encode(), "a program's own notation, with single quotes"),
    ("JSON with mistakes", b'{"a": 1 "b": 2}\n', "JSON with mistakes in it"),
    ("Latin-1", json.dumps(CALL, ensure_ascii=False).encode("latin-1"), "text in another encoding"),
    ("UTF-16", f"{LINE}\n".encode("utf-16"), "UTF-16: save it as UTF-8"),
    ("UTF-16 without a mark", f"{LINE}\n".encode("utf-16-be"), "UTF-16: save it as UTF-8"),
    ("UTF-32", f"{LINE}\n".encode("utf-32"), "UTF-32: save it as UTF-8"),
    ("a page of the web", b"<!doctype html>\n<p>Not found</p>", "HTML or XML"),
    ("a log", b"started\nstopped\n", "plain text"),
    ("Parquet", b"PAR1\x15\x00", "Parquet: unpack or export it first"),
    ("zip", b"PK\x03\x04\x00", "a zip archive: unpack or export it first"),
    ("zstd", b"\x28\xb5\x2f\xfd\x00", "zstd: unpack or export it first"),
    ("gzip twice", gzip.compress(gzip.compress(b"{}")), "gzip in gzip: unpack or export it first"),
    ("other bytes", bytes(range(200)), "binary data"),
]


@pytest.mark.parametrize(("what", "content", "looks"), LOOKS, ids=[case[0] for case in LOOKS])
def test_a_file_looks_like(what: str, content: bytes, looks: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    mistake = likely_mistake([str(path)])
    assert mistake.startswith(f"{path} looks like {looks}") if looks else mistake == ""


def test_the_first_file_that_looks_wrong_is_named(tmp_path: Path) -> None:
    for name, content in (("a", f"{LINE}\n"), ("b", "x,y\n1,2\n"), ("c", "<p>")):
        (tmp_path / name).write_text(content)
    paths = [str(tmp_path / name) for name in ("gone", "a", "b", "c")]
    assert likely_mistake(paths) == f"{tmp_path}/b looks like CSV"
