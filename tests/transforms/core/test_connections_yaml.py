"""References to secrets in a connections file, which YAML alone would have quoted within brackets."""

from __future__ import annotations

import pytest

from transforms.core.connections_yaml import ConnectionsError, read_connections


def receive(text: str) -> tuple[str | None, tuple[str, ...]]:
    """The API key and the write keys of a connection whose `receive` is the text."""
    connections = read_connections(f"connections:\n  - name: Site\n    receive: {text}\n".encode())
    (connection,) = connections.connections
    assert connection.receive is not None
    return connection.receive.api_key, connection.receive.write_keys


@pytest.mark.parametrize(
    ("text", "api_key", "write_keys"),
    [
        ("{write_keys: [${A}]}", None, ("${A}",)),
        ("{write_keys: [${A}, ${B_1} , 'file:key']}", None, ("${A}", "${B_1}", "file:key")),
        ('{write_keys: ["${A}"]}', None, ("${A}",)),
        ("{api_key: ${A}}", "${A}", ()),
        (
            "\n      api_key: ${A}\n      write_keys: [ ${B} # the newer\n        , ${C}\n      ]",
            "${A}",
            ("${B}", "${C}"),
        ),
        ("\n      api_key: ${A} # of Segment\n      write_keys:\n        - ${B}", "${A}", ("${B}",)),
    ],
)
def test_a_reference_needs_no_quotes(text: str, api_key: str | None, write_keys: tuple[str, ...]) -> None:
    assert receive(text) == (api_key, write_keys)


@pytest.mark.parametrize("text", ["{write_keys: [${A}x]}", "{write_keys: [x${A}]}", "{write_keys: [${A b}]}", "[${A]"])
def test_what_is_none_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConnectionsError) as refused:
        receive(text)
    assert "line 3" in refused.value.where
