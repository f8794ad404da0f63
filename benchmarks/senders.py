"""What a sender's way of writing costs: `python -m benchmarks.senders`, or with `--input=FILE` on your own calls.

Each call is changed in one way in which a sender may write it, and all calls are measured once more: message bytes to
row, over `orjson.loads` + `orjson.dumps` of the same bytes, for events and for identity calls (a minute).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from benchmarks import message_path, shapes

_SHAPE: Final = "uuids"
_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")

Call = dict[str, Any]
Change = Callable[[Call], Call | Raw]
"""What a call becomes: other fields, or the same as bytes that are written otherwise."""


def _with(**fields: Any) -> Change:
    return lambda call: {**call, **fields}


def _without(*names: str) -> Change:
    return lambda call: {name: value for name, value in call.items() if name not in names}


def _as_python_writes(call: Call) -> Raw:
    return Raw(json.dumps(call).encode())


def _times(write: Callable[[str], Any]) -> Change:
    """Writes the times otherwise, of which each is given up to its seconds."""
    return lambda call: {**call, **{name: write(call[name][:19]) for name in _TIMES if call.get(name)}}


CHANGES: Final[Mapping[str, Change]] = {
    "as it is": _with(),
    "times with an offset and microseconds (Python)": _times("{}.123456+00:00".format),
    "times with nanoseconds (Go)": _times("{}.123456789Z".format),
    "times without a fraction": _times("{}Z".format),
    "a time in milliseconds": _with(timestamp=1_782_345_678_000),
    "fields that the spec does not have (RudderStack)": _with(rudderId="r", request_ip="203.0.113.9", sessionId=7),
    "a write key that the receiver removed (browsers)": _with(writeKey=None),
    "a write key": _with(writeKey="a-secret"),
    "an id that is a number": _with(userId=12_345),
    "an anonymous id that is empty": _with(userId="user-1", anonymousId=""),
    "a group of its own": _with(groupId="group-1"),
    "properties that are null": _with(properties=None),
    "traits": _with(traits={"plan": "pro"}),
    "a category": _with(category="Docs"),
    "no message id": _without("messageId"),
    "no time of receipt": _without("receivedAt"),
    "blanks, and escapes for what is not ASCII (Python)": _as_python_writes,
}


def ratios(messages: list[bytes], path: Callable[[Sequence[bytes]], object]) -> dict[str, float]:
    """Of each change: what the calls cost, over `loads` + `dumps`."""
    calls = [msgspec.json.decode(message, type=Call) for message in messages]
    return {
        name: message_path.ratio(path, [msgspec.json.encode(change(call)) for call in calls])
        for name, change in CHANGES.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.senders", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own = shapes.parsed_with_own_file(parser).input
    for kind, path, source in (
        ("An event", message_path.events_to_columns, own or shapes.files()[_SHAPE]),
        ("An identity call", message_path.identity_calls_to_rows, own or shapes.identifies()),
    ):
        messages = message_path.messages(source, of_events=path is message_path.events_to_columns)
        if messages:
            print(f"{kind} from its bytes to its row, over loads + dumps, where its sender writes")
            for name, ratio in ratios(messages, path).items():
                print(f"  {name:52} {ratio:5.2f}", flush=True)


if __name__ == "__main__":
    main()
