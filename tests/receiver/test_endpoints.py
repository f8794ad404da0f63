"""Which endpoint a path is."""

from __future__ import annotations

import pytest

from receiver.endpoints import METHODS, UNKNOWN, Endpoint, Kind, endpoint


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/batch/", Endpoint(kind=Kind.BATCH)),
        ("/v1/b", Endpoint(kind=Kind.BATCH, is_of_device=True)),
        ("/v1/identify", Endpoint(kind=Kind.CALL, call_type="identify")),
        ("/v1/a/", Endpoint(kind=Kind.CALL, call_type="alias", is_of_device=True)),
        ("/webhook/marketing-site/", Endpoint(kind=Kind.WEBHOOK, name="marketing-site")),
        ("/webhook/a/b", Endpoint(kind=Kind.WEBHOOK, name="a/b")),
        ("/v1/projects/key/settings", Endpoint(kind=Kind.SETTINGS, name="key")),
        ("/projects/a%3Ab/settings/", Endpoint(kind=Kind.SETTINGS, name="a:b")),
        ("/projects/a/b/settings", UNKNOWN),
        ("/projects/settings", UNKNOWN),
        ("/debugger", Endpoint(kind=Kind.DEBUGGER)),
        ("/debugger/x", Endpoint(kind=Kind.DEBUGGER)),
        ("/debuggers", UNKNOWN),
        ("", UNKNOWN),
        ("/", UNKNOWN),
        ("/v1", UNKNOWN),
        ("/v1/delete", UNKNOWN),
        ("/v1/pixel/screen", Endpoint(kind=Kind.PIXEL, call_type="screen")),
    ],
)
def test_a_path_is(path: str, expected: Endpoint) -> None:
    assert endpoint(path) == expected


def test_every_kind_has_its_methods() -> None:
    assert set(Kind) - set(METHODS) == {Kind.DEBUGGER, Kind.UNKNOWN}
