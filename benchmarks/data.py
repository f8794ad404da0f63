"""The generated calls that the benchmarks read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from examples.generate import Settings, stream

FOLDER: Final = Path(__file__).parent / "data"
CALLS: Final = 200_000
CALL_BYTES: Final = 1_700


def calls() -> Path:
    """A file of 200,000 lines of about 1.7 kB, a sixth of them identity calls; made once."""
    path = FOLDER / f"calls-{CALLS}-{CALL_BYTES}.jsonl"
    if not path.exists():
        _write(path, Settings(calls=CALLS, size=CALL_BYTES))
    return path


def _write(path: Path, settings: Settings) -> None:
    FOLDER.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.writelines(line + b"\n" for line in stream(settings))
    unfinished.rename(path)


def more_events(times: int) -> Path:
    """The same calls, followed `times` times by their page, screen and track calls under new message ids: more events
    of the same ids."""
    path = FOLDER / f"calls-{CALLS}-{CALL_BYTES}-and-{times}.jsonl"
    if path.exists():
        return path
    original = calls()
    unfinished = path.with_suffix(".part")
    with original.open("rb") as source, unfinished.open("wb") as file:
        file.writelines(source)
        for again in range(times):
            source.seek(0)
            marked = b'"messageId":"again-%d-' % again
            file.writelines(
                line.replace(b'"messageId":"', marked)
                for line in source
                if any(kind in line for kind in (b'"type":"page"', b'"type":"screen"', b'"type":"track"'))
            )
    unfinished.rename(path)
    return path


_IDS: Final = (b'"messageId":"', b'"userId":"', b'"anonymousId":"', b'"previousId":"')


def endless() -> Iterator[bytes]:
    """The calls again and again, each time under new message ids and of other people."""
    lines = calls().read_bytes().splitlines()
    for again in itertools.count():
        marks = [(name, name + b"%d-" % again) for name in _IDS]
        for line in lines:
            for name, marked in marks:
                line = line.replace(name, marked)
            yield line
