"""Shapes of calls that differ in what costs time: each a kind of sender, none of them ours.

A figure is measured on every shape; its worst counts. A user's own file is a shape, too.
"""

from __future__ import annotations

import argparse
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.data import calls

FOLDER: Final = Path(__file__).parent / "data"
CALLS: Final = 30_000
LEAST_BYTES: Final = 35_000_000
"""So many calls has each shape at least, and of short ones so many bytes: a job of less time cannot be told from the
start of its process."""
_SEED: Final = 8
"""Another one whenever a shape changes: files are kept."""
_START: Final = datetime(2026, 3, 1, tzinfo=timezone.utc)
_WORDS: Final = (
    *(
        "Größe",
        "prêt-à-porter",
        "日本語のページ",
        "Привет мир",
        "مرحبا",
        "한국어",
        "ελληνικά",
        "עברית",
        "ไทย",
        "😀 emoji",
    ),
)

Call = dict[str, Any]


def _uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _track(rng: Random, number: int, **fields: Any) -> Call:
    """A track call with the times that Segment adds, of a person who makes some fifty calls."""
    moment = _START + timedelta(milliseconds=number * 37)
    person = rng.randrange(CALLS // 50)
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": _uuid(rng),
        "userId": f"user-{person}",
        "anonymousId": f"{person:032x}",
        "originalTimestamp": _time(moment),
        "sentAt": _time(moment + timedelta(milliseconds=rng.randrange(900))),
        "receivedAt": _time(moment + timedelta(milliseconds=1_000)),
        "timestamp": _time(moment + timedelta(milliseconds=rng.randrange(900))),
        **fields,
    }


def _uuids(rng: Random, number: int) -> Call:
    ids = {name: _uuid(rng) for name in ("session_id", "page_view_id", "request_id", "experiment_id", "cart_id")}
    context = {"ids": {name: _uuid(rng) for name in ("a", "b", "c", "d", "e", "f")}, "ip": "203.0.113.9"}
    return _track(rng, number, userId=_uuid(rng), anonymousId=_uuid(rng), properties=ids, context=context)


def _digests(rng: Random, number: int) -> Call:
    """By Segment's library for Python, which writes microseconds and an offset."""
    digests = {f"{name}_sha256": rng.randbytes(32).hex() for name in ("email", "phone", "address", "device")}
    call = _track(rng, number, userId=rng.randbytes(20).hex(), properties=digests, context={"etag": digests})
    happened = _START + timedelta(milliseconds=number * 37, microseconds=1 + rng.randrange(999))
    return {**call, "timestamp": happened.isoformat(), "originalTimestamp": happened.isoformat()}


def _emails(rng: Random, number: int) -> Call:
    name = rng.choice(("anna.smith", "kim", "o.hara", "jean-luc", "maria_lopez")) + "." + rng.choice("abcdefghij")
    page = {"url": "https://example.com/pricing", "path": "/pricing", "title": "Pricing", "referrer": ""}
    fields = {"userId": f"{name}@example.com", "properties": page, "context": {"page": page, "locale": "en-US"}}
    return {**_track(rng, number, **fields), "type": "page", "event": None, "name": None, "category": None}


def _mobile(rng: Random, number: int) -> Call:
    context = {
        "app": {"build": "4218", "name": "Shop", "namespace": "com.example.shop", "version": "8.14.2"},
        "device": {"adTrackingEnabled": False, "advertisingId": _uuid(rng), "id": _uuid(rng), "model": "iPhone14,2"},
        "library": {"name": "analytics-ios", "version": "4.1.8"},
        "network": {"bluetooth": False, "carrier": "Example", "cellular": True, "wifi": False},
        "os": {"name": "iOS", "version": "17.4.1"},
        "screen": {"density": 3, "height": 2532, "width": 1170},
        "traits": {f"trait_{index}": rng.choice(("yes", "no", 17, 2.5, None)) for index in range(60)},
        "flags": [f"experiment-{index}-variant-{rng.randrange(3)}" for index in range(45)],
    }
    return {**_track(rng, number, context=context), "type": "screen", "event": None, "name": "Cart"}


def _server(rng: Random, number: int) -> Call:
    call = _track(rng, number, event="Invoice Paid", properties={"amount": number % 977})
    return {name: call[name] for name in ("type", "event", "messageId", "userId", "timestamp", "properties")}


def _shop(rng: Random, number: int) -> Call:
    """By a browser through the receiver, which removes its key; ids are numbers."""
    products = [
        {"product_id": f"p-{rng.randrange(900)}", "sku": f"G-{index}", "name": "Monopoly", "price": 19.5, "quantity": 1}
        for index in range(rng.randrange(4, 16))
    ]
    order = {"order_id": f"o-{number}", "total": 27.5, "products": products}
    return _track(rng, number, userId=rng.randrange(1, CALLS // 50), properties=order, writeKey=None)


def _languages(rng: Random, number: int) -> Call:
    """By RudderStack's library, which writes fields that Segment's specification does not have."""
    texts = {f"field_{index}": " ".join(rng.choices(_WORDS, k=6)) for index in range(8)}
    call = _track(rng, number, properties=texts, context={"page": {"title": rng.choice(_WORDS)}})
    return {**call, "rudderId": call["anonymousId"], "request_ip": "203.0.113.9", "sessionId": number // 9}


def _escapes(rng: Random, number: int) -> Call:
    texts = {f"html_{index}": f'<a href="/x?{index}">\t"Ü\\{rng.random()}"</a>\n' for index in range(12)}
    return _track(rng, number, properties=texts, context={"userAgent": 'Mozilla/5.0 \\ "quoted"'})


def _identify(rng: Random, number: int) -> Call:
    person = rng.randrange(CALLS // 5)
    traits = {"email": f"user-{person}@company-{person % 900}.example", "name": "Ann Lee", "plan": rng.choice("ab")}
    fields = {"userId": f"user-{person}", "anonymousId": f"anonymous-{person}", "traits": traits}
    call = {**_track(rng, number, **fields), "type": "identify", "context": {"ip": "203.0.113.9"}}
    return {name: value for name, value in call.items() if name != "event"}


GENERATORS: Final[Mapping[str, Callable[[Random, int], Call]]] = {
    "uuids": _uuids,
    "digests": _digests,
    "e-mail ids": _emails,
    "mobile": _mobile,
    "server": _server,
    "shop": _shop,
    "languages": _languages,
    "escapes": _escapes,
}
IDENTIFIES: Final = "identify calls"
"""The shape of identity calls, of which there are figures of their own."""
GENERATED: Final = "a company"
"""The shape of `examples.generate`: a sixth are identity calls, and some are wrong."""


def parsed_with_own_file(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command that also measures a user's own file: that is `input`, None where there is none."""
    parser.add_argument("--input", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.input is not None and not options.input.is_file():
        parser.error(f"--input={options.input}: there is no such file")
    return options


def lines(name: str, calls: int = CALLS, size: int = 0) -> Iterator[bytes]:
    """The calls of a shape, the same each time: at least so many, and so many bytes."""
    rng = Random(_SEED)
    make = _identify if name == IDENTIFIES else GENERATORS[name]
    number = 0
    while number < calls or size > 0:
        call = {field: value for field, value in make(rng, number).items() if field != "event" or value is not None}
        line = json.dumps(call, ensure_ascii=name == "escapes", separators=(",", ":")).encode()
        yield line
        number += 1
        size -= len(line)


def files(own: Path | None = None) -> dict[str, Path]:
    """A file of each shape of events, made once; of a user's own file alone, where there is one."""
    if own is not None:
        return {own.name: own}
    made = {name: _file(name, CALLS, LEAST_BYTES) for name in GENERATORS}
    return {**made, GENERATED: _beginning(calls(), GENERATED, CALLS)}


def identifies() -> Path:
    """The file of identity calls."""
    return _file(IDENTIFIES, CALLS)


def small_events(number: int) -> tuple[Path, Path]:
    """A file of so many small events, and one of twice as many, of which it is the beginning."""
    many = _file("server", 2 * number)
    return _beginning(many, "server", number), many


def _file(name: str, calls: int, size: int = 0) -> Path:
    path = FOLDER / f"{name.replace(' ', '-')}-{calls}-{size}-{_SEED}.jsonl"
    if not path.exists():
        _write(path, lines(name, calls, size))
    return path


def _beginning(whole: Path, name: str, calls: int) -> Path:
    path = FOLDER / f"{name.replace(' ', '-')}-{calls}.jsonl"
    if not path.exists():
        with whole.open("rb") as file:
            _write(path, (line.rstrip(b"\n") for line in islice(file, calls)))
    return path


def _write(path: Path, content: Iterator[bytes]) -> None:
    FOLDER.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.writelines(line + b"\n" for line in content)
    unfinished.rename(path)
