"""What SDKs ask for before they send."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from receiver.asgi import Request

_HOST: Final = re.compile(rb"[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_EVERY_TRACK: Final = {"track": {"__default": {"enabled": True, "integrations": {}}}}


def settings(request: Request, write_key: str, *, is_behind_proxy: bool) -> bytes:
    """The settings of a source: no destination but this receiver, at the address that was asked. analytics-next reads
    `protocol`; Kotlin and Swift always use https."""
    destination: dict[str, object] = {"apiKey": write_key, "unbundledIntegrations": [], "addBundledMetadata": False}
    host = request.headers.get(b"host", b"")
    if _HOST.fullmatch(host):
        destination["apiHost"] = f"{host.decode()}/v1"
        destination["protocol"] = _scheme(request, is_behind_proxy=is_behind_proxy)
    return msgspec.json.encode(
        {
            "integrations": {"Segment.io": destination},
            "plan": {**_EVERY_TRACK, "identify": {}, "group": {}},
            "edgeFunction": {},
            "middlewareSettings": {},
            "enabledMiddleware": {},
            "metrics": {"sampleRate": 0},
            "legacyVideoPluginsEnabled": False,
            "remotePlugins": [],
            "analyticsNextEnabled": True,
        }
    )


def _scheme(request: Request, *, is_behind_proxy: bool) -> str:
    forwarded = request.headers.get(b"x-forwarded-proto", b"").split(b",")[0].strip().lower()
    if is_behind_proxy and forwarded in (b"http", b"https"):
        return forwarded.decode()
    return request.scheme
