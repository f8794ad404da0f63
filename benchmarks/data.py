"""The generated calls that the benchmarks read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from examples.generate import GeneratorSettings, stream

FOLDER: Final = Path(__file__).parent / "data"
CALLS: Final = 200_000
CALL_BYTES: Final = 1_700

_MESSAGE: Final = (b'"messageId":"',)
_PEOPLE: Final = (b'"userId":"', b'"anonymousId":"', b'"previousId":"')
_TIME: Final = b'"timestamp":"%d-'
_YEAR: Final = 2025
"""That of nearly all generated calls; none is of a day that other years lack."""


def calls() -> Path:
    """A file of 200,000 lines of about 1.7 kB, a sixth of them identity calls; made once."""
    path = FOLDER / f"calls-{CALLS}-{CALL_BYTES}.jsonl"
    if not path.exists():
        _write(path, GeneratorSettings(calls=CALLS, size=CALL_BYTES))
    return path


def _write(path: Path, settings: GeneratorSettings) -> None:
    FOLDER.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.writelines(line + b"\n" for line in stream(settings))
    unfinished.rename(path)


def renewed(lines: Iterable[bytes], again: int, fields: Iterable[bytes]) -> Iterator[bytes]:
    """The same calls, with the number of the repetition before what stands in some fields."""
    marks = [(field, field + b"%d-" % again) for field in fields]
    for line in lines:
        for field, marked in marks:
            line = line.replace(field, marked)
        yield line


def endless(*, new_people: bool) -> Iterator[bytes]:
    """The calls again and again, each time under new message ids: of other people, or a year later of the same."""
    lines = calls().read_bytes().splitlines()
    for again in itertools.count():
        if new_people:
            yield from renewed(lines, again, (*_MESSAGE, *_PEOPLE))
        else:
            year, later = _TIME % _YEAR, _TIME % (_YEAR + again)
            yield from (line.replace(year, later) for line in renewed(lines, again, _MESSAGE))
