"""Who may send: the `receive` of connections, and the one line that each mistake in it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.connections_file import load_connections
from receiver.sources import ReceivingConnection, load_sources
from transforms.core.usage_errors import UsageError

WHOLE = """\
connections:
  - name: Marketing site
    project_ids: [p]
    receive:
      api_key: ${SITE_API_KEY}
      shared_secret: file:FOLDER/secret
      write_keys: [${SITE_WRITE_KEY}, "${OTHER_KEY}"]
      origins: [https://www.example.com, "http://127.0.0.1:8000"]
      calls_per_second: 1000
  - name: The rest
"""
ENVIRONMENT = {"SITE_API_KEY": " the-api-key\n", "SITE_WRITE_KEY": "key-1", "OTHER_KEY": "key-2", "EMPTY": " "}


def test_a_connection_receives(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret\n")
    path = tmp_path / "c.yaml"
    path.write_text(WHOLE.replace("FOLDER", str(tmp_path)))
    sources = load_sources(str(path), ENVIRONMENT)
    (connection,) = sources.connections
    assert connection == ReceivingConnection(
        name="Marketing site",
        path="marketing-site",
        api_key="the-api-key",
        shared_secret="the secret",
        write_keys=("key-1", "key-2"),
        origins=frozenset({"https://www.example.com", "http://127.0.0.1:8000"}),
        calls_per_second=1000,
    )
    assert sources.webhook("marketing-site") is connection
    assert sources.by_write_key([b"key-2"]) is connection
    assert load_connections(str(path)).connections[0].receive is None


RECEIVE = "connections:\n  - name: a\n    receive: "
TWO = "connections:\n- name: a\n  project_ids: []\n  receive: {{{}}}\n- name: b\n  receive: {{{}}}\n"
REFERENCE = "is a secret that is written out; write ${NAME} of an environment variable, or file:PATH"
FIRST = "connections[0].receive"


@pytest.mark.parametrize(
    ("what", "text", "line"),
    [
        ("a key written out", f"{RECEIVE}{{api_key: hunter2}}", f", line 3, {FIRST}.api_key: {REFERENCE}"),
        (
            "a list of one",
            f"{RECEIVE}\n      write_keys:\n        - hunter2",
            f", line 5, {FIRST}.write_keys[0]: {REFERENCE}",
        ),
        ("more than a variable", f'{RECEIVE}{{api_key: "${{A}}hunter2"}}', f", line 3, {FIRST}.api_key: {REFERENCE}"),
        ("a key in two lines", f'{RECEIVE}{{api_key: "${{A}}\\n"}}', f", line 3, {FIRST}.api_key: {REFERENCE}"),
        (
            "an unknown key",
            f"{RECEIVE}{{api_keys: x}}",
            f", line 3, {FIRST}.api_keys: unknown key; did you mean api_key?",
        ),
        (
            "a key a level too high",
            "connections:\n  - name: a\n    write_keys: [x]",
            ", line 3, connections[0].write_keys: unknown key; it belongs under receive",
        ),
        (
            "a path for an origin",
            f'{RECEIVE}{{origins: ["https://a/b"]}}',
            f", line 3, {FIRST}.origins[0]: is not an origin; "
            "write https://HOST as browsers send it, without a path, or *",
        ),
        (
            "no number",
            f"{RECEIVE}{{calls_per_second: many}}",
            f", line 3, {FIRST}.calls_per_second: is not a whole number from 1; write digits, such as 1000",
        ),
        (
            "none a second",
            f"{RECEIVE}{{calls_per_second: 0}}",
            f", line 3, {FIRST}.calls_per_second: is not a whole number from 1; write digits, such as 1000",
        ),
        (
            "a variable that is not set",
            f"{RECEIVE}{{api_key: '${{NONE}}'}}",
            f", {FIRST}.api_key: the environment variable NONE is not set; set it, and start the receiver again",
        ),
        (
            "an empty one",
            f"{RECEIVE}{{api_key: '${{EMPTY}}'}}",
            f", {FIRST}.api_key: EMPTY is empty; put the secret there",
        ),
        (
            "a file that is not there",
            f"{RECEIVE}{{write_keys: [file:/none]}}",
            f", {FIRST}.write_keys[0]: the file /none cannot be read: No such file or directory; "
            "give a file that holds the secret, and nothing else",
        ),
        (
            "nothing",
            f"{RECEIVE}{{}}",
            f", {FIRST}: has no api_key, shared_secret or write_keys; add one: nobody could send",
        ),
        (
            "no connection that receives",
            "connections:\n  - name: a",
            ": no connection has a `receive`; add to one: receive: {write_keys: [${NAME_OF_A_VARIABLE}]}, or an "
            "api_key or a shared_secret",
        ),
        (
            "one write key for two",
            TWO.format("write_keys: [${OTHER_KEY}]", "write_keys: [${OTHER_KEY}]"),
            ": the connections 'a' and 'b' have one key; give each a key of its own",
        ),
        (
            "one key for two, for webhooks and for SDKs",
            TWO.format("api_key: '${OTHER_KEY}'", "write_keys: [${SITE_WRITE_KEY}, ${OTHER_KEY}]"),
            ": the connections 'a' and 'b' have one key; give each a key of its own",
        ),
        (
            "two names for one path",
            "connections:\n- name: My site\n  project_ids: []\n- name: my-site\n  receive: {api_key: '${OTHER_KEY}'}",
            ": the connections 'My site' and 'my-site' are both 'my-site' in a path; rename one of them",
        ),
        (
            "a name for no path",
            "connections:\n- name: ЖЖ\n  receive: {api_key: '${OTHER_KEY}'}",
            f", {FIRST}: the name 'ЖЖ' has no letter a-z and no digit, so that its webhook has no path; "
            "give it a name with one",
        ),
        ("empty", "", ": is empty; list the connections, or leave the option out"),
    ],
)
def test_a_mistake_is_told_in_a_line_without_the_secret(what: str, text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        load_sources(str(path), ENVIRONMENT)
    assert str(refused.value) == f"--connections={path}{line}"
    assert "hunter2" not in str(refused.value)
    assert "key-2" not in str(refused.value)


def test_a_file_of_more_than_a_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{RECEIVE}{{api_key: file:{tmp_path}/secret}}")
    for content in ("a\nhunter2", "hunter2" * 1000, "\x00hunter2"):
        (tmp_path / "secret").write_text(content)
        with pytest.raises(UsageError, match="holds several lines, or more than 4096 characters") as refused:
            load_sources(str(path), ENVIRONMENT)
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("none.yaml", "no such file; give a local YAML file"),
        (".", "is a folder; give the YAML file in it"),
        ("gs://bucket/c.yaml", "no such file; give a local YAML file"),
    ],
)
def test_a_file_that_cannot_be_read(path: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        load_sources(path)
    assert str(refused.value) == f"--connections={path}: {line}"


def test_a_variable_in_a_list_needs_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for written in ("[${OTHER_KEY}]", "[ ${OTHER_KEY} , '${SITE_WRITE_KEY}' ]", "[\n  ${OTHER_KEY}\n  ]"):
        path.write_text(f"connections: [{{name: a, receive: {{api_key: ${{SITE_API_KEY}}, write_keys: {written}}}}}]")
        (connection,) = load_sources(str(path), ENVIRONMENT).connections
        assert connection.write_keys[0] == "key-2"
        assert connection.api_key == "the-api-key"
