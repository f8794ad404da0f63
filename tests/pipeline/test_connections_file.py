"""The connections file: what it means, and the one line that each mistake in it gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.io.filesystem import BeamIOError, MatchResult
from apache_beam.io.filesystems import FileSystems

from pipeline.connections_file import load_connections
from pipeline.errors import UsageError
from transforms.core.connections import DEFAULT, DEFAULT_MAPPING, AccountMapping, Connection, Connections

WHOLE = """\
personal_email_domains: keep
registrable_domain: true
link_anonymous_ids: false
integration_names: [Variance]
placeholder_ids: [server, test-user]
connections:
  - name: Marketing site
    project_ids: [vZgEq4Q3mDkBy4HWm8CqiR]
    account_mapping:
      method: identify_traits
      id: org.id
      name: org.title
      fallback: email_domain
  - name: Everything else
    account_mapping: {method: email_domain}
"""


@pytest.mark.parametrize(
    ("what", "text", "expected"),
    [
        (
            "every key",
            WHOLE,
            Connections(
                "keep",
                True,
                False,
                ("Variance",),
                ("server", "test-user"),
                (
                    Connection(
                        "Marketing site",
                        ("vZgEq4Q3mDkBy4HWm8CqiR",),
                        AccountMapping("identify_traits", "org.id", "org.title", "email_domain"),
                    ),
                    Connection("Everything else", None, AccountMapping("email_domain")),
                ),
            ),
        ),
        ("no connections: the default one", "registrable_domain: true", Connections(registrable_domain=True)),
        (
            "no account_mapping: the default's",
            "connections: [{name: a}]",
            Connections(connections=(Connection("a", None, DEFAULT_MAPPING),)),
        ),
        (
            "numbers and dates are text as written",
            "connections: [{name: 007, project_ids: [0123, 1_000, 1e5, 12.50, 0x1F, 2024-01-01, 1:30]}]",
            Connections(
                connections=(Connection("007", ("0123", "1_000", "1e5", "12.50", "0x1F", "2024-01-01", "1:30")),)
            ),
        ),
        (
            "no source by its project id",
            "connections: [{name: a, project_ids: []}]",
            Connections(connections=(Connection("a", ()),)),
        ),
        (
            "what YAML calls true, in quotes",
            "connections: [{name: 'no'}]",
            Connections(connections=(Connection("no"),)),
        ),
        ("a byte order mark", "\ufeffregistrable_domain: no", DEFAULT),
        (
            "an alias, and a merge that is overridden",
            "connections:\n- &a {name: a, project_ids: [x], account_mapping: &m {method: group}}\n"
            "- {<<: *a, name: b, project_ids: []}\n- {name: c, account_mapping: *m}",
            Connections(
                connections=(
                    Connection("a", ("x",), AccountMapping("group")),
                    Connection("b", (), AccountMapping("group")),
                    Connection("c", None, AccountMapping("group")),
                )
            ),
        ),
    ],
)
def test_a_file_means(what: str, text: str, expected: Connections, tmp_path: Path) -> None:
    path = tmp_path / "connections.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_connections(str(path)) == expected


MAPPING = "connections:\n  - name: a\n    account_mapping:\n      "
TOP_KEYS = (
    "personal_email_domains, registrable_domain, link_anonymous_ids, integration_names, placeholder_ids, connections"
)
LIST = "write [a, b], or one item a line after a dash"
QUOTE = "put text that YAML reads as something else in quotes"
FILL = "is empty; write something there, or leave the key out"
SYNTAX = "check indentation and quotes there"


REPEATED = ": repeats itself too often by aliases; write what they stand for"
NO_CHARACTER = "has an escape sequence for no character; write the character"
HALF = "holds half of a surrogate pair; write the whole character"


def doubled(twice: str) -> str:
    """Lines each of which holds the one before twice: the last stands for a billion values."""
    return "\n".join(f"a{number}: &a{number} {twice.format(f'*a{number - 1}')}" for number in range(1, 31))


@pytest.mark.parametrize(
    ("what", "text", "line"),
    [
        ("empty", "", ": is empty; list the connections, or leave the option out"),
        ("comments only", "# nothing\n", ": is empty; list the connections, or leave the option out"),
        ("a list", "- a", ": is not a mapping of keys to values; begin a line with `connections:`"),
        ("text", "connections", ": is not a mapping of keys to values; begin a line with `connections:`"),
        ("an unknown key", "x:\n  - y", f", line 1, x: unknown key; choose from {TOP_KEYS}"),
        ("a misspelt key", "# x\nconections: []", ", line 2, conections: unknown key; did you mean connections?"),
        (
            "a misspelt key of a connection",
            "connections:\n  - name: a\n    project_id: [x]",
            ", line 3, connections[0].project_id: unknown key; did you mean project_ids?",
        ),
        (
            "a key in capitals",
            "connections:\n  - Name: a",
            ", line 2, connections[0].Name: unknown key; did you mean name?",
        ),
        (
            "a key a level too high",
            "connections:\n  - name: a\n    method: group",
            ", line 3, connections[0].method: unknown key; it belongs under account_mapping",
        ),
        (
            "a key two levels too high",
            "account_mapping: {method: group}",
            ", line 1, account_mapping: unknown key; it belongs under connections",
        ),
        (
            "a key a level too low",
            "connections:\n  - name: a\n    registrable_domain: true",
            ", line 3, connections[0].registrable_domain: unknown key; it belongs at the top level",
        ),
        (
            "a number as a key",
            "1: x",
            f", line 1, 1: unknown key; choose from {TOP_KEYS}",
        ),
        ("a key twice", "a: 1\nb: 2\na: 3", ", line 3, a: is there already, on line 1; keep one of them"),
        (
            "a key of a connection twice",
            "connections:\n  - name: a\n    name: b",
            ", line 3, connections[0].name: is there already, on line 2; keep one of them",
        ),
        ("a key that is no text", "true: 1", ", line 1: has a key that is not text; put the key in quotes"),
        ("a list as a key", "? [a]\n: b", ", line 1: has a key that is not text; put the key in quotes"),
        ("no name", "connections:\n  - project_ids: [a]", ", line 2, connections[0]: has no name; add name: ..."),
        (
            "no method",
            f"{MAPPING[:-1]}{{}}",
            ", line 3, connections[0].account_mapping: has no method; add method: ...",
        ),
        (
            "an unknown method",
            f"{MAPPING}method: grupo",
            ", line 4, connections[0].account_mapping.method: 'grupo' is unknown; did you mean group?",
        ),
        (
            "a method unlike any",
            f"{MAPPING}method: 3",
            ", line 4, connections[0].account_mapping.method: '3' is unknown; "
            "choose from email_domain, group, identify_traits",
        ),
        (
            "an unknown fallback",
            f"{MAPPING}method: group\n      fallback: group",
            ", line 5, connections[0].account_mapping.fallback: 'group' is unknown; choose from email_domain, none",
        ),
        (
            "an unknown way with personal mail",
            "personal_email_domains: include",
            ", line 1, personal_email_domains: 'include' is unknown; did you mean exclude?",
        ),
        (
            "a path that is of no use",
            f"{MAPPING}method: group\n      id: company.id",
            ", line 5, connections[0].account_mapping.id: means nothing unless the method is identify_traits; "
            "remove it, or change the method",
        ),
        (
            "a name path that is of no use",
            f"{MAPPING}method: email_domain\n      name: x",
            ", line 5, connections[0].account_mapping.name: means nothing unless the method is identify_traits; "
            "remove it, or change the method",
        ),
        (
            "text for a list",
            "connections:\n  - name: a\n    project_ids: x",
            f", line 3, connections[0].project_ids: is text where a list is expected; {LIST}",
        ),
        (
            "a mapping for a list",
            "connections: {name: a}",
            f", line 1, connections: is a mapping where a list is expected; {LIST}",
        ),
        (
            "text for a mapping",
            f"{MAPPING[:-7]} group",
            ", line 3, connections[0].account_mapping: is text where a mapping is expected; "
            "write its keys below it, indented",
        ),
        (
            "a list for a mapping",
            "connections: [[]]",
            ", line 1, connections[0]: is a list where a mapping is expected; write its keys below it, indented",
        ),
        (
            "text for a switch",
            "registrable_domain: 'true'",
            ", line 1, registrable_domain: is text where true or false is expected; write one of these, without quotes",
        ),
        (
            "what YAML calls false",
            "connections:\n  - name: no",
            f", line 2, connections[0].name: is true or false where text is expected; {QUOTE}",
        ),
        ("no value", "connections:", f", line 1, connections: {FILL}"),
        ("null", "personal_email_domains: null", f", line 1, personal_email_domains: {FILL}"),
        (
            "project_ids without any, which could be taken for all",
            "connections:\n  - name: a\n    project_ids:",
            f", line 3, connections[0].project_ids: {FILL}",
        ),
        (
            "a blank name",
            "connections:\n  - name: ' '",
            ", line 2, connections[0].name: is blank; write something there, or leave the key out",
        ),
        (
            "a blank project id",
            "connections:\n  - name: a\n    project_ids:\n      - b\n      - ''",
            ", line 5, connections[0].project_ids[1]: is blank; write something there, or leave the key out",
        ),
        (
            "a list of nothing",
            "connections: []",
            ", line 1, connections: lists no connection; list at least one, or leave the key out for one named default",
        ),
        (
            "a name twice",
            "connections:\n  - name: a\n    project_ids: [x]\n  - name: a",
            ", line 4, connections[1].name: 'a' is the name of an earlier connection; "
            "give each connection a name of its own",
        ),
        (
            "two for the rest",
            "connections:\n  - name: a\n  - name: b",
            ", line 3, connections[1]: 'b' has no project_ids, and neither has 'a'; "
            "give project_ids to all connections but one",
        ),
        (
            "a project id in two",
            "connections:\n- name: a\n  project_ids: [x, y]\n- name: b\n  project_ids:\n  - z\n  - y",
            ", line 7, connections[1].project_ids[1]: 'y' already belongs to the connection 'a'; "
            "take it out of one of them",
        ),
        (
            "a project id in two, by a merge",
            "connections:\n- &a\n  name: a\n  project_ids: [x]\n- <<: *a\n  name: b",
            ", line 5, connections[1].project_ids[0]: 'x' already belongs to the connection 'a'; "
            "take it out of one of them",
        ),
        (
            "an alias of what holds it",
            "connections: &a [*a]",
            REPEATED,
        ),
        ("a merge of what holds it", "connections:\n- &a {<<: *a, name: x}", REPEATED),
        ("a list that doubles by aliases", "a0: &a0 [x]\n" + doubled("[{0}, {0}]"), REPEATED),
        ("a mapping that doubles by merges", "a0: &a0 {k: v}\n" + doubled("{{<<: [{0}, {0}]}}"), REPEATED),
        (
            "many long lists",
            f"connections:\n- &a {{name: n, project_ids: [{'x, ' * 2000}]}}\n" + "- *a\n" * 2000,
            REPEATED,
        ),
        ("an escape beyond Unicode", 'a: 1\nb: "\\U00110000"', f", line 2: {NO_CHARACTER}"),
        ("a greater one", 'a: "\\UFFFFFFFF"', f", line 1: {NO_CHARACTER}"),
        ("half a surrogate for a name", 'connections: [{name: "\\ud800"}]', f", line 1, connections[0].name: {HALF}"),
        ("half a surrogate in a key", 'connections:\n- "na\\udc00me": x', f", line 2, connections[0]: {HALF}"),
        ("half a surrogate in a list", 'integration_names: ["\\udfff"]', f", line 1, integration_names[0]: {HALF}"),
        (
            "a long value",
            f"connections: [{{name: a, account_mapping: {{method: {'m' * 50_000}}}}}]",
            f", line 1, connections[0].account_mapping.method: '{'m' * 97}...{'m' * 97}' is unknown; choose from "
            "email_domain, group, identify_traits",
        ),
        ("no YAML", "a: b: c", f", line 1: is not YAML: mapping values are not allowed here; {SYNTAX}"),
        (
            "a tab",
            "a:\n\t- b",
            f", line 2: is not YAML: found character '\\t' that cannot start any token; {SYNTAX}",
        ),
        ("an unknown alias", "a: 1\nb: *c", f", line 2: is not YAML: found undefined alias 'c'; {SYNTAX}"),
        ("two documents", "a: 1\n---\nb: 1", f", line 2: is not YAML: but found another document; {SYNTAX}"),
        (
            "JSON lines",
            '{"type": "page"}\n{"type": "page"}',
            f", line 2: is not YAML: expected '<document start>', but found '{{'; {SYNTAX}",
        ),
        (
            "a merge of no mapping",
            "<<: 3",
            ", line 1: is not YAML: expected a mapping or list of mappings for merging, but found scalar; " + SYNTAX,
        ),
        (
            "a tag",
            "registrable_domain: !!bool maybe",
            ", line 1, registrable_domain: has the YAML tag 'tag:yaml.org,2002:bool'; write the value without a tag",
        ),
        (
            "a tag that would run code",
            "a:\n  - !!python/object/apply:os.getcwd []",
            ", line 2, a[0]: has the YAML tag 'tag:yaml.org,2002:python/object/apply:os.getcwd'; "
            "write the value without a tag",
        ),
        (
            "a tag that makes pairs of a list",
            "connections: !!omap [name: a]",
            ", line 1, connections: has the YAML tag 'tag:yaml.org,2002:omap'; write the value without a tag",
        ),
        ("a control character", "a: 1\nb: \x07", ", line 2: holds a control character; remove it"),
        ("nothing but depth", "[" * 1000, ": is nested too deeply; give the YAML file of the connections"),
        ("too large", "a: b\n" * 300_000, ": is larger than 1 MiB; give the YAML file of the connections"),
        ("Latin-1", b"a: 1\nb: caf\xe9", ", line 2: is not text in UTF-8; save it as UTF-8"),
        ("UTF-16", "a: 1".encode("utf-16"), ", line 1: is not text in UTF-8; save it as UTF-8"),
        ("binary", b"\x00\x01\x02", ", line 1: holds a control character; remove it"),
    ],
)
def test_a_mistake_is_refused_by_key_and_line(what: str, text: str | bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as refused:
        load_connections(str(path))
    assert str(refused.value) == f"--connections={path}{line}"


@pytest.mark.parametrize(
    ("what", "path", "line"),
    [
        ("missing", "nope.yaml", "no such file; give a YAML file, local or gs://"),
        ("a folder", ".", "is a folder; give the YAML file in it"),
        ("below a file", "file/c.yaml", "cannot be read: Not a directory; give a file that you may read"),
        ("an unknown scheme", "ftp://host/c", "is in no file system known here; give a local path or gs://BUCKET/FILE"),
        ("nothing there", "gs://bucket/none.yaml", "no such file; give a YAML file, local or gs://"),
        ("no permission", "gs://bucket/c.yaml", "cannot be read: 403 Forbidden; give a file that you may read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    what: str, path: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FileSystems, "match", bucket)
    monkeypatch.setattr(FileSystems, "exists", lambda path: True)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as refused:
        load_connections(path)
    assert str(refused.value) == f"--connections={path}: {line}"


def bucket(patterns: list[str]) -> list[MatchResult]:
    """A bucket in which there is one file, `c.yaml`, that may not be read."""
    if patterns == ["ftp://host/c"]:
        raise ValueError("Unable to get filesystem from specified path")
    if patterns == ["gs://bucket/c.yaml"]:
        raise BeamIOError("Match operation failed", {patterns[0]: PermissionError("403 Forbidden")})
    return [MatchResult(patterns[0], [])]


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("registrable_domain: true")
    assert load_connections("~/c.yaml").registrable_domain
