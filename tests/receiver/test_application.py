"""Every endpoint: what it takes, what it stores of it, and what it answers."""

from __future__ import annotations

import pytest

from tests.receiver.asgi_client import RECEIVED_AT, Client

CALL = {"type": "track", "userId": "u", "event": "E"}
TRACKING = [
    *("/v1/identify", "/v1/track", "/v1/page", "/v1/screen", "/v1/group", "/v1/alias"),
    *("/v1/i", "/v1/t", "/v1/p", "/v1/s", "/v1/g", "/v1/a"),
    *("/v1/batch", "/v1/import", "/v1/b", "/api/s/track", "/api/s/s2s/track"),
]


@pytest.mark.parametrize("path", TRACKING)
@pytest.mark.parametrize("end", ["", "/"])
def test_a_call_is_stored_in_an_envelope(path: str, end: str) -> None:
    client = Client()
    answered = client.post(f"{path}{end}", CALL)
    assert (answered.status, answered.body) == (200, b'{"success":true}')
    assert answered.headers["content-length"] == "16"
    assert client.stored[0].connection == "Marketing site"
    assert client.envelope["batch"] == [CALL]
    assert client.envelope["receivedAt"] == RECEIVED_AT
