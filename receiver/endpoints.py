"""Which endpoint a path is (`docs/receiver.md`)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from schemas.segment import ALIAS, GROUP, IDENTIFY, PAGE, SCREEN, TRACK


class Kind(str, enum.Enum):
    """What an endpoint does; its value is the label of its metrics."""

    WEBHOOK = "webhook"
    CALL = "call"
    """One call, whose type is that of the path where it has none itself."""
    BATCH = "batch"
    PIXEL = "pixel"
    SETTINGS = "settings"
    MEASUREMENTS = "measurements"
    """What SDKs measure of themselves; dropped."""
    LIVE = "live"
    READY = "ready"
    METRICS = "metrics"
    DEBUGGER = "debugger"
    UNKNOWN = "unknown"


_POST: Final = ("POST",)
_GET: Final = ("GET", "HEAD")
METHODS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.WEBHOOK: ("POST", "PUT", "PATCH"),
    Kind.CALL: _POST,
    Kind.BATCH: _POST,
    Kind.PIXEL: _GET,
    Kind.SETTINGS: _GET,
    Kind.MEASUREMENTS: _POST,
    Kind.LIVE: _GET,
    Kind.READY: _GET,
    Kind.METRICS: _GET,
}
"""The methods of each kind, besides `OPTIONS`. The debugger has its own."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An endpoint. `call_type` is that of a call without one; `name` what the path names: a connection's folded name,
    or a write key. `is_of_device` where only browsers and phones use the path."""

    kind: Kind
    call_type: str | None = None
    name: str = ""
    is_of_device: bool = False


UNKNOWN: Final = Endpoint(kind=Kind.UNKNOWN)

_TYPES: Final = (IDENTIFY, TRACK, PAGE, SCREEN, GROUP, ALIAS)
_PATHS: Final[Mapping[str, Endpoint]] = {
    "/live": Endpoint(kind=Kind.LIVE),
    "/ready": Endpoint(kind=Kind.READY),
    "/metrics": Endpoint(kind=Kind.METRICS),
    "/v1/m": Endpoint(kind=Kind.MEASUREMENTS),
    "/v1/batch": Endpoint(kind=Kind.BATCH),
    "/v1/import": Endpoint(kind=Kind.BATCH),
    "/v1/b": Endpoint(kind=Kind.BATCH, is_of_device=True),
    **{f"/v1/{name}": Endpoint(kind=Kind.CALL, call_type=name) for name in _TYPES},
    **{f"/v1/{name[0]}": Endpoint(kind=Kind.CALL, call_type=name, is_of_device=True) for name in _TYPES},
    **{f"/v1/pixel/{name}": Endpoint(kind=Kind.PIXEL, call_type=name) for name in _TYPES},
    **{f"/api/s/{name}": Endpoint(kind=Kind.CALL, call_type=name) for name in _TYPES},
    **{f"/api/s/s2s/{name}": Endpoint(kind=Kind.CALL, call_type=name) for name in _TYPES},
}
_WEBHOOK: Final = "/webhook/"
_SETTINGS: Final = ("/v1/projects/", "/projects/")
_SETTINGS_END: Final = "/settings"
_DEBUGGER: Final = "/debugger"


def endpoint(path: str) -> Endpoint:
    """The endpoint of a path, as it was written, with or without a final `/`; `UNKNOWN` where it is none."""
    path = path.removesuffix("/")
    if (known := _PATHS.get(path)) is not None:
        return known
    if path.startswith(_WEBHOOK):
        return Endpoint(kind=Kind.WEBHOOK, name=path.removeprefix(_WEBHOOK))
    if path == _DEBUGGER or path.startswith(f"{_DEBUGGER}/"):
        return Endpoint(kind=Kind.DEBUGGER)
    for start in _SETTINGS:
        key = path.removeprefix(start).removesuffix(_SETTINGS_END)
        if path == f"{start}{key}{_SETTINGS_END}" and key and "/" not in key:
            return Endpoint(kind=Kind.SETTINGS, name=unquote(key, errors="replace"))
    return UNKNOWN
