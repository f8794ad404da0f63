"""How what comes to a key is passed on to the next stage: arrivals where the key leads to now, departures elsewhere.

A version grows by one number at each stage: that of where the key leads to. A departure's ends with one that is below
all of them, so that it yields to the arrival by another way, whatever the versions along that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeVar

from transforms.core.identity.protocol import Newest

_GONE: Final = -1

P = TypeVar("P")


class Destination(NamedTuple):
    """A key of the next hop, or of the stage contact."""

    stage: Literal["hop", "contact"]
    key: str


Passed = tuple[Destination, str, tuple[int, ...], P | None]
"""(where to, about which id, the message's version, its payload)"""


def passed(
    ids: Iterable[str],
    before: Newest[P],
    now: Newest[P],
    led_to: Destination | None,
    leads_to: Destination | None,
    version: int,
) -> Iterator[Passed[P]]:
    """What is to be told about ids of which something has changed: they themselves, or where their key leads to, since
    `version`. A destination is None where nothing is passed on."""
    for id in ids:
        (own, payload), payload_before = now[id], before.get(id, (None, None))[1]
        if led_to is not None and payload_before is not None and (payload is None or led_to != leads_to):
            yield led_to, id, (*own, _GONE) if payload is None else (*own, version, _GONE), None
        if leads_to is not None and payload is not None:
            yield leads_to, id, (*own, version), payload
