"""Why an id belongs where it does, rule by rule (docs/semantics.md, sections 3, 4, 6 and 7), and how that reads."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from judge import resolve
from pipeline.explain import Explanation, Fact, explain, main, render
from pipeline.options import parse
from pipeline.run import run
from tests.histories import Message, line
from tests.transforms.core.calls import START_MS, accepted
from transforms.core.connections import DEFAULT, Connections
from transforms.core.reader import Call

Pair = tuple[str, str]


def at(second: int, type_: str, /, **fields: Any) -> Message:
    """A call made that many seconds after the start; its `messageId` is `m` and the second unless told."""
    return {"messageId": f"m{second}", "type": type_, "timestamp": START_MS + second * 1000, **fields}


def alias(second: int, previous: str, user: str, **fields: Any) -> Message:
    return at(second, "alias", previousId=previous, userId=user, **fields)


def aliases(text: str) -> list[Message]:
    """`a→b, b→c` as alias calls, one a second: m1, m2 …"""
    pairs = [edge.split("→") for edge in text.split(", ")]
    return [alias(second, previous, user) for second, (previous, user) in enumerate(pairs, 1)]


def explained(id: str, messages: Iterable[Message], connections: Connections = DEFAULT) -> Explanation:
    found = explain(id, calls(messages, connections), connections)
    assert found is not None
    return found


def calls(messages: Iterable[Message], connections: Connections = DEFAULT) -> list[Call]:
    return [accepted(message, connections) for message in messages]


def steps(explanation: Explanation) -> list[str]:
    """Its edges with what they did, as `m1 merged a→b: the reason`."""
    return [
        f"{step.edge.stamp[1]} {step.outcome.value} {step.edge.previous}→{step.edge.user}: {step.reason}"
        for step in explanation.steps
    ]


# ---- section 3: what each edge does, and why ----

RULES = [
    # (the rule, the edges in order of time, the id, its contact's ids with the label first, what the edges did)
    (
        "rule 1: an id is itself already",
        "a→a",
        "a",
        "a",
        ["m1 ignored a→a: an id is itself already"],
    ),
    (
        "rule 2: what was absorbed before is not merged again, and the other contact is left alone",
        "a→b, a→d",
        "d",
        "d",
        ["m2 ignored a→d: a was absorbed before, by a → b (m1)"],
    ),
    (
        "rule 2: nor is it from the side of what was absorbed",
        "a→b, a→d",
        "a",
        "b a",
        ["m1 merged a→b: absorbed into the contact of b", "m2 ignored a→d: a was absorbed before, by a → b (m1)"],
    ),
    (
        "rule 2: a label that was given up takes nobody along either",
        "a→b, b→a, b→c",
        "c",
        "c",
        ["m3 ignored b→c: b was renamed before, by b → a (m2)"],
    ),
    (
        "rule 2: the last time that it was given up is told",
        "a→c, b→c, c→a, a→d, a→e",
        "e",
        "e",
        ["m5 ignored a→e: a was absorbed before, by a → d (m4)"],
    ),
    (
        "rule 3: two ids of one contact: it is relabelled",
        "a→b, b→a",
        "b",
        "a b",
        [
            "m1 merged a→b: absorbed into the contact of b",
            "m2 relabelled b→a: a is in the contact of b already, which now answers to a",
        ],
    ),
    (
        "rule 4: merged, the label of the user's contact stays",
        "a→b",
        "a",
        "b a",
        ["m1 merged a→b: absorbed into the contact of b"],
    ),
    (
        "rule 4: the user may have been absorbed itself",
        "a→b, c→a",
        "c",
        "b a c",
        [
            "m1 merged a→b: absorbed into the contact of b",
            "m2 merged c→a: absorbed into the contact of a, which answers to b",
        ],
    ),
    (
        "a chain: the label goes with its contact, whatever its length",
        "a→b, b→c, c→d",
        "b",
        "d a b c",
        [
            "m1 merged a→b: absorbed into the contact of b",
            "m2 merged b→c: absorbed into the contact of c",
            "m3 merged c→d: absorbed into the contact of d",
        ],
    ),
    (
        "a relabelled contact is merged by its new label",
        "a→b, b→a, a→c",
        "b",
        "c a b",
        [
            "m1 merged a→b: absorbed into the contact of b",
            "m2 relabelled b→a: a is in the contact of b already, which now answers to a",
            "m3 merged a→c: absorbed into the contact of c",
        ],
    ),
    (
        "what is not connected is not told",
        "a→b, x→y",
        "a",
        "b a",
        ["m1 merged a→b: absorbed into the contact of b"],
    ),
]


@pytest.mark.parametrize(("rule", "edges", "id", "ids", "expected"), RULES, ids=[rule for rule, *_ in RULES])
def test_each_rule_is_told(rule: str, edges: str, id: str, ids: str, expected: list[str]) -> None:
    messages = aliases(edges)
    for order in (messages, messages[::-1]):
        explanation = explained(id, order)
        assert [*explanation.facts] == ids.split()
        assert explanation.label == ids.split()[0]
        assert steps(explanation) == expected


def test_a_pair_counts_once_at_its_earliest() -> None:
    (step,) = explained("a", [alias(9, "a", "b"), alias(3, "a", "b"), alias(5, "a", "b")]).steps
    assert (step.edge.stamp[1], step.times) == ("m3", 3)


def test_a_late_edge_that_is_earlier_undoes_a_merge() -> None:
    messages = [alias(5, "a", "b"), at(6, "identify", userId="a")]
    assert explained("a", messages).label == "b"
    late = explained("a", [*messages, alias(1, "a", "d")])
    assert late.label == "d"
    assert steps(late) == [
        "m1 merged a→d: absorbed into the contact of d",
        "m5 ignored a→b: a was absorbed before, by a → d (m1)",
    ]


def test_an_identify_with_both_ids_is_an_edge_unless_that_is_turned_off() -> None:
    messages = [at(1, "identify", anonymousId="a", userId="b"), at(2, "identify", anonymousId="a", userId="a")]
    assert steps(explained("a", messages)) == [
        "m1 merged a→b: absorbed into the contact of b",
        "m2 ignored a→a: an id is itself already",
    ]
    off = explained("a", messages, Connections(link_anonymous_ids=False))
    assert (off.label, off.steps) == ("a", ())


IDS = st.sampled_from("abcdef")


@given(st.lists(st.tuples(IDS, IDS), max_size=12), IDS)
def test_the_label_and_the_ids_are_the_replays(pairs: list[Pair], id: str) -> None:
    messages = [alias(second, *pair) for second, pair in enumerate(pairs)]
    labels = resolve([((START_MS + second * 1000, ""), *pair) for second, pair in enumerate(pairs)])
    found = explain(id, calls(messages), DEFAULT)
    assert (found is not None) == (id in labels)
    if found is not None:
        assert found.label == labels[id]
        assert set(found.facts) == {each for each in labels if labels[each] == labels[id]}
        assert sum(step.outcome.value != "ignored" for step in found.steps) >= len(found.facts) - 1


# ---- what was said of each id ----


def facts(explanation: Explanation) -> dict[str, list[str]]:
    """Of each id that something was said of, as `m1 stands trait color: "red"`."""

    def shown(fact: Fact) -> str:
        return f"{fact.stamp[1]} {fact.status} {fact.text}"

    return {id: [shown(fact) for fact in said] for id, said in explanation.facts.items() if said}


def identify(second: int, id: str, traits: Message, **fields: Any) -> Message:
    return at(second, "identify", userId=id, traits=traits, **fields)


AUDIENCE = {"personas": {"computation_class": "audience", "computation_key": "vip"}}

FACTS = [
    # (what, the calls besides that which merges a into b, what is told of each id)
    (
        "the newest value of a trait stands, of whichever id it is",
        [identify(1, "a", {"color": "red", "size": 1}), identify(2, "b", {"color": "blue"})],
        {
            "a": [
                "m1 stands identify through default",
                'm1 replaced trait color: "red"',
                "m1 stands trait size: 1",
            ],
            "b": [
                "m2 stands identify through default",
                'm2 stands trait color: "blue"',
            ],
        },
    ),
    (
        "a null clears a trait, and takes out of an audience",
        [at(1, "track", event="E", userId="a", properties={"vip": None}, context=AUDIENCE)],
        {"a": ["m1 cleared audience vip: taken out", "m1 cleared trait vip: null"]},
    ),
    (
        "an audience",
        [at(1, "track", event="E", userId="a", properties={"vip": "true"}, context=AUDIENCE)],
        {"a": ["m1 stands audience vip: a member", "m1 stands trait vip: true"]},
    ),
    (
        "accounts: the contact's own is an explicit one before a fallback",
        [
            identify(1, "a", {"email": "ann@acme.com"}),
            at(2, "group", userId="b", groupId="globex"),
            at(3, "group", userId="b", groupId="globex"),
        ],
        {
            "a": [
                "m1 stands account acme.com, by email_domain as fallback",
                "m1 stands identify through default",
                'm1 stands trait email: "ann@acme.com"',
            ],
            "b": ["m2 stands account globex, by group: first", "m3 main account globex, by group: last"],
        },
    ),
    (
        "a delete of any of its ids forgets what was said of the person until then",
        [identify(1, "a", {"color": "red"}), at(2, "delete", userId="b"), identify(3, "a", {"size": 1})],
        {
            "a": [
                "m1 forgotten first identify",
                'm1 forgotten trait color: "red"',
                "m3 stands last identify through default",
                "m3 stands trait size: 1",
            ],
            "b": ["m2 forgets delete: what was said of the person until then"],
        },
    ),
]


@pytest.mark.parametrize(("what", "messages", "expected"), FACTS, ids=[what for what, *_ in FACTS])
def test_what_was_said_is_told_with_whether_it_stands(
    what: str, messages: list[Message], expected: dict[str, list[str]]
) -> None:
    assert facts(explained("a", [*messages, alias(9, "a", "b")])) == expected


# ---- how it reads ----

STORY = [
    identify(1, "phone", {"color": "red"}),
    at(2, "identify", anonymousId="phone", userId="ann", traits={"email": "ann@acme.com", "name": "Ann"}),
    alias(3, "phone", "bob"),
]
WHOLE = """\
phone belongs to the contact ann
Its row in contacts: name Ann, email ann@acme.com, account acme.com

Ids
  ann    the label
  phone

Edges, as they are replayed
  2023-11-14T22:13:22.000Z  m2  identify  merged   phone → ann  absorbed into the contact of ann
  2023-11-14T22:13:23.000Z  m3  alias     ignored  phone → bob  phone was absorbed before, by phone → ann (m2)

Facts of ann
  2023-11-14T22:13:22.000Z  m2  identify  main    account acme.com, by email_domain as fallback
  2023-11-14T22:13:22.000Z  m2  identify  stands  identify through default
  2023-11-14T22:13:22.000Z  m2  identify  stands  trait email: "ann@acme.com"
  2023-11-14T22:13:22.000Z  m2  identify  stands  trait name: "Ann"

Facts of phone
  2023-11-14T22:13:21.000Z  m1  identify  stands  identify through default
  2023-11-14T22:13:21.000Z  m1  identify  stands  trait color: "red"
"""
ALONE = """\
bob is a contact of its own
It has no row in contacts: no identify of its ids is left

Ids
  bob  the label, no facts

Edges, as they are replayed
  2023-11-14T22:13:23.000Z  m3  alias  ignored  phone → bob  phone was absorbed before, by phone → ann (m2)
"""


def piped(explanation: Explanation, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding, newline="")
    render(explanation, Console(file=file, width=40, _environ={}))
    file.seek(0)
    return file.read()


@pytest.mark.parametrize(("id", "expected"), [("phone", WHOLE), ("bob", ALONE)])
def test_an_explanation_reads(id: str, expected: str) -> None:
    assert piped(explained(id, STORY)) == expected


def test_it_can_be_printed_in_ascii_and_holds_no_control_character() -> None:
    text = piped(explained("a\nb", [alias(1, "a\nb", "\x1b[1mé")]), "ascii")
    assert r"a\nb belongs to the contact \x1b[1m\xe9" in text.splitlines()
    assert text.isascii()
    assert "\x1b" not in text


def test_a_terminal_gets_colour_and_the_same_words() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="standard", width=200, _environ={})
    render(explained("phone", STORY), console)
    assert "\x1b[32mmerged\x1b[0m" in file.getvalue()


def test_square_brackets_are_no_markup() -> None:
    assert "[bold]a[/bold] belongs to the contact b" in piped(
        explained("[bold]a[/bold]", [alias(1, "[bold]a[/bold]", "b")])
    )


# ---- the command ----


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a warehouse that a job has written from the story, and from a stranger's."""
    folder = tmp_path_factory.mktemp("explain")
    messages = [*STORY, identify(4, "stranger", {}), alias(5, "strange", "stranger")]
    (folder / "calls.jsonl").write_bytes(b"".join(line(message) + b"\n" for message in messages))
    url = f"duckdb:///{folder}/warehouse.duckdb"
    run(*parse([f"--input={folder}/calls.jsonl", f"--warehouse={url}"]), "")
    return url


def test_the_command_explains_from_the_log(warehouse: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--warehouse={warehouse}", "--id= phone "]) == 0
    assert capsys.readouterr().out == WHOLE


def test_an_unknown_id_is_said_in_a_line(warehouse: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--warehouse={warehouse}", "--id=nobody"]) == 1
    assert capsys.readouterr().out == (
        "No call of the table identity_calls names nobody: its events, if any, stand for nobody.\n"
    )


def test_the_connections_file_is_the_one_that_is_given(
    warehouse: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("link_anonymous_ids: false")
    assert main([f"--warehouse={warehouse}", f"--connections={tmp_path}/c.yaml", "--id=ann"]) == 0
    out = capsys.readouterr().out
    assert "ann is a contact of its own" in out
    assert "phone" not in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--warehouse=duckdb:///{folder}/none.duckdb", "--id=a"], "there is no such file; name the"),
        (["--warehouse=duckdb:///{folder}", "--id=a"], "is a folder; name a file in it"),
        (["--warehouse=duckdb:///{folder}/text", "--id=a"], "is not a DuckDB file; name another file"),
        (["--warehouse=mysql:///x", "--id=a"], "is not a warehouse's URL; give duckdb:///FILE or bigquery"),
        (["--warehouse=duckdb:///{folder}/none.duckdb"], "the following arguments are required: --id; python -m"),
        (["--id=a", "--warehouse=x", "--ids=b"], "--ids: unknown option; did you mean --id?"),
        (["--id=a", "--warehouse=x", "--connections=none.yaml"], "--connections=none.yaml: no such file; give a YAML"),
        (["--id=", "--warehouse=x"], "--id='': is blank; give a userId or an anonymousId"),
        (["--id", " \t", "--warehouse=x"], "--id=' \\t': is blank; give a userId or an anonymousId"),
        (["--id=\udcff", "--warehouse=x"], "--id='\\udcff': is not text in UTF-8; write it in UTF-8"),
        (["--id", "\udcff", "--warehouse=x"], "--id='\\udcff': is not text in UTF-8; write it in UTF-8"),
        (["--id=a", "--warehouse=x", "--id=b"], "--id: is given more than once; give it once"),
        (["--id=a", "--warehouse=x", "--warehouse=x"], "--warehouse: is given more than once; give it once"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_is_said_in_a_line(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("no database")
    assert main([argument.format(folder=tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (said,) = printed.err.splitlines()
    assert said.startswith("python -m pipeline.explain: ")
    assert expected.format(folder=tmp_path) in said
