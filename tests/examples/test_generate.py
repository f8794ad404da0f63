"""The generator of the examples: its output is repeatable, and everything that it promises to show is there."""

import io
import itertools
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from examples import generate
from examples.generate import RUBBISH, SOURCES, Deck, GeneratorSettings, Json, encoded, is_identity, main, stream

EXAMPLES = Path(generate.__file__).parent
CLEAN = GeneratorSettings(calls=6000, rubbish=0, late=0, duplicates=0)


def calls(settings: GeneratorSettings) -> list[Json]:
    return [json.loads(line) for line in stream(settings)]


@pytest.fixture(scope="module")
def clean() -> list[Json]:
    """A feed without rubbish, duplicates and lateness."""
    return calls(CLEAN)


def of_type(feed: list[Json], *types: str) -> Iterator[Json]:
    return (call for call in feed if call["type"] in types)


def milliseconds(text: str) -> int:
    return round(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").timestamp() * 1000)


# The output as a whole.


def test_the_sample_in_the_repository_is_what_the_generator_makes() -> None:
    made = b"".join(line + b"\n" for line in stream(GeneratorSettings()))
    if (EXAMPLES / "events.jsonl").read_bytes() != made:  # an assertion would print megabytes
        pytest.fail("not up to date; run: python -m examples.generate --output=examples/events.jsonl")


def test_the_seed_alone_makes_the_difference() -> None:
    first, again, other = (list(stream(GeneratorSettings(calls=300, seed=seed))) for seed in (1, 1, 2))
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_as_many_lines_as_asked_for(count: int) -> None:
    assert len(list(stream(GeneratorSettings(calls=count)))) == count


@pytest.mark.parametrize("seed", range(20))
def test_any_seed_makes_lines_without_line_breaks(seed: int) -> None:
    assert not any(b"\n" in line for line in stream(GeneratorSettings(calls=400, seed=seed)))


def test_lines_come_one_by_one() -> None:
    assert len(list(itertools.islice(stream(GeneratorSettings(calls=10**12)), 3))) == 3


@pytest.mark.parametrize("size", [1200, 1700, 4000])
def test_calls_have_the_size_aimed_at_in_the_mean(size: int) -> None:
    lengths = [len(line) for line in stream(GeneratorSettings(calls=4000, size=size))]
    assert sum(lengths) / len(lengths) == pytest.approx(size, rel=0.03)


@pytest.mark.parametrize("count", [3000, 12000])
def test_one_call_in_six_says_who_somebody_is(count: int) -> None:
    feed = calls(GeneratorSettings(calls=count, rubbish=0))
    assert sum(map(is_identity, feed)) / len(feed) == pytest.approx(1 / 6, abs=0.01)


# The calls.


def test_clean_calls_are_segments() -> None:
    envelope = {"channel", "context", "integrations", "messageId", "originalTimestamp", "projectId", "receivedAt"}
    own = {
        "alias": {"userId"},
        "delete": {"userId"},
        "group": {"groupId", "traits"},
        "identify": {"traits"},
        "page": {"name", "properties"},
        "screen": {"name", "properties"},
        "track": {"event", "properties"},
    }
    feed = calls(CLEAN)
    assert {call["type"] for call in feed} == set(own)
    for call in feed:
        assert envelope | own[call["type"]] | {"timestamp", "version"} <= set(call)
        assert call.get("userId") or call.get("anonymousId")
    assert len({call["messageId"] for call in feed}) == len(feed)
    assert {call["projectId"] for call in feed} == {source.project_id for source in SOURCES}


def test_calls_arrive_in_the_order_in_which_they_were_received(clean: list[Json]) -> None:
    received = [milliseconds(call["receivedAt"]) for call in clean]
    assert received == sorted(received)


def test_the_timestamp_makes_up_for_lateness_and_wrong_clocks() -> None:
    feed = [call for call in calls(GeneratorSettings(calls=2000, late=0.5, rubbish=0)) if call["type"] != "delete"]
    for call in feed:
        received, sent, original = (milliseconds(call[name]) for name in ("receivedAt", "sentAt", "originalTimestamp"))
        assert milliseconds(call["timestamp"]) == received - (sent - original)
    stamps = [call["timestamp"] for call in feed]
    assert sum(later < earlier for earlier, later in itertools.pairwise(stamps)) > len(feed) / 5


def test_a_duplicate_is_the_whole_line_again() -> None:
    lines = list(stream(GeneratorSettings(calls=2000, rubbish=0, duplicates=0.3)))
    copies = Counter(lines)
    assert len(copies) == len({json.loads(line)["messageId"] for line in lines})
    assert max(copies.values()) == 2
    assert sum(count == 2 for count in copies.values()) / len(copies) == pytest.approx(0.3, abs=0.05)


# The people.


def test_visitors_start_anonymous_and_become_known(clean: list[Json]) -> None:
    anonymous = {call["anonymousId"] for call in of_type(clean, "page", "screen") if call["userId"] is None}
    linked = {call.get("anonymousId") for call in of_type(clean, "identify") if call["userId"]}
    assert len(anonymous & linked) > 50
    assert len(anonymous - linked) > 100


def test_users_have_several_devices_and_share_some(clean: list[Json]) -> None:
    devices, users = defaultdict(set), defaultdict(set)
    for call in of_type(clean, "identify"):
        if "anonymousId" in call:
            devices[call["userId"]].add(call["anonymousId"])
            users[call["anonymousId"]].add(call["userId"])
    assert sum(len(ids) > 1 for ids in devices.values()) > 50
    assert sum(len(ids) > 1 for ids in users.values()) > 5


ACCOUNT_SHAPES: list[tuple[str, Callable[[Json], Any]]] = [
    ("a group call", lambda call: call["type"] == "group" and call["traits"]["name"]),
    ("an identify with context.groupId", lambda call: call["type"] == "identify" and call["context"].get("groupId")),
    ("a company object", lambda call: isinstance(call.get("traits", {}).get("company"), dict)),
    ("a company's name alone", lambda call: isinstance(call.get("traits", {}).get("company"), str)),
    ("a literal key", lambda call: call.get("traits", {}).get("company.id")),
    ("a company's e-mail domain", lambda call: (call.get("traits", {}).get("email") or "").endswith(".example")),
    ("a personal e-mail domain", lambda call: (call.get("traits", {}).get("email") or "").endswith("@gmail.com")),
    ("an internationalized domain", lambda call: "@xn--" in (call.get("traits", {}).get("email") or "")),
]


@pytest.mark.parametrize(("what", "shows"), ACCOUNT_SHAPES, ids=[what for what, _ in ACCOUNT_SHAPES])
def test_accounts_are_named_by(what: str, shows: Callable[[Json], Any], clean: list[Json]) -> None:
    assert any(map(shows, clean)), what


@pytest.mark.parametrize("call_type", ["identify", "track"])
@pytest.mark.parametrize("computation_class", ["audience", "trait", "computed_trait", "journey_step"])
def test_engage_sends_each_class_by_each_call(call_type: str, computation_class: str, clean: list[Json]) -> None:
    def is_it(call: Json) -> bool:
        return bool(call["context"].get("personas", {}).get("computation_class") == computation_class)

    assert any(map(is_it, of_type(clean, call_type)))


def test_engage_sends_its_property_with_and_without_its_key(clean: list[Json]) -> None:
    named = {
        call["context"]["personas"]["computation_key"] in call["traits"]
        for call in of_type(clean, "identify")
        if "personas" in call["context"]
    }
    assert named == {True, False}


def test_aliases_are_of_every_kind(clean: list[Json]) -> None:
    edges = [(call.get("previousId"), call["userId"]) for call in of_type(clean, "alias")]
    pairs = set(edges)
    anonymous = {call.get("anonymousId") for call in clean} - {None}
    targets = defaultdict(set)
    for previous, user in edges:
        targets[previous].add(user)
    identified = {call["userId"] for call in of_type(clean, "identify")}
    kinds = {
        "anonymous to user": any(previous in anonymous for previous, _ in edges),
        "previous id left out": any(previous is None for previous, _ in edges),
        "rename": any(p and p not in anonymous and p != u and u in identified for p, u in edges),
        "chain": any(user in targets and targets[user] - {previous, user} for previous, user in edges),
        "swap back": any((user, previous) in pairs for previous, user in edges if previous != user),
        "again": any(previous and len(users - {previous}) > 1 for previous, users in targets.items()),
        "self": any(previous == user for previous, user in edges),
    }
    assert [kind for kind, there in kinds.items() if not there] == []


def test_the_deleted_go_and_some_come_back(clean: list[Json]) -> None:
    deleted = {call["userId"]: call for call in of_type(clean, "delete")}
    back = {
        call["userId"]
        for call in of_type(clean, "identify")
        if call["userId"] in deleted and call["timestamp"] > deleted[call["userId"]]["timestamp"]
    }
    assert back
    assert set(deleted) - back
    for call in deleted.values():
        assert call["context"] is None
        assert call["integrations"] is None
        assert " +0000 UTC m=+" in call["originalTimestamp"]


# The rubbish.

CALL: Json = {
    "anonymousId": "5a4f5be0-3b0c-4e0b-9d8f-6f2d0c1a7e11",
    "channel": "client",
    "context": {"groupId": "1001"},
    "event": "Task Completed",
    "integrations": {},
    "messageId": "ajs-next-0c1a7e115a4f5be03b0c4e0b9d8f6f2d",
    "originalTimestamp": "2025-03-03T07:00:00.000Z",
    "projectId": SOURCES[0].project_id,
    "properties": {"overdue": False},
    "receivedAt": "2025-03-03T07:00:02.000Z",
    "sentAt": "2025-03-03T07:00:01.000Z",
    "timestamp": "2025-03-03T07:00:01.000Z",
    "type": "track",
    "userId": "usr_173d9c1724",
    "version": 2,
}

DAMAGE: dict[str, Callable[[Json], Any]] = {
    "placeholder for a user id": lambda call: call["userId"] in generate.PLACEHOLDERS,
    "placeholders for both ids": lambda call: call["anonymousId"] == "undefined" and call["userId"] != CALL["userId"],
    "placeholder for a group": lambda call: call["context"]["groupId"] in generate.PLACEHOLDERS,
    "no ids": lambda call: "userId" not in call and "anonymousId" not in call,
    "integer for an id": lambda call: type(call["userId"]) is int,
    "float for an id": lambda call: type(call["userId"]) is float and call["userId"].is_integer(),
    "object for an id": lambda call: isinstance(call["userId"], dict),
    "object beside an id": lambda call: isinstance(call["userId"], str) and not isinstance(call["anonymousId"], str),
    "an id longer than any": lambda call: len(call["userId"]) > 1024,
    "address for an id": lambda call: "@" in call["userId"] and not call["traits"]["email"],
    "group without a person": lambda call: call["groupId"] and not {"userId", "anonymousId"} & set(call),
    "an audience of accounts": lambda call: call["type"] == "group" and call["context"]["personas"],
    "a journey step without a value": lambda call: call["context"]["personas"] and not call["traits"],
    "the context's group in snake case": lambda call: call["context"]["group_id"],
    "a group beside the context": lambda call: call["type"] == "track" and call["groupId"],
    "traits in the context": lambda call: call["context"]["traits"]["email"] and "traits" not in call,
    "traits in other spellings": lambda call: call["traits"]["FIRST_NAME"] and call["traits"]["Last Name"],
    "category beside properties": lambda call: call["category"] and not call["properties"],
    "fields of its own": lambda call: call["context_ip"] and call["event_text"],
    "a write key": lambda call: call["writeKey"],
    "white space around an id": lambda call: call["userId"] != call["userId"].strip(),
    "snake case": lambda call: call["user_id"] == CALL["userId"] and call["message_id"] and "userId" not in call,
    "Pascal case": lambda call: call["UserID"] == CALL["userId"] and call["MessageID"] and "messageId" not in call,
    "names with spaces": lambda call: call["User ID"] == CALL["userId"] and call["Received At"] == CALL["receivedAt"],
    "alias with spaces": lambda call: call["type"] == "alias" and call["Previous ID"] and call["User ID"],
    "alias by from and to": lambda call: call["type"] == "alias" and call["from"] and call["to"],
    "alias of nobody": lambda call: call["type"] == "alias" and not {"previousId", "anonymousId"} & set(call),
    "group without its id": lambda call: call["type"] == "group" and "groupId" not in call,
    "track without a name": lambda call: not (isinstance(call["event"], str) and call["event"]),
    "list for traits": lambda call: isinstance(call["traits"], list) and call["traits"],
    "string for traits": lambda call: isinstance(call["traits"], str) and call["traits"],
    "list for properties": lambda call: call["properties"] == [],
    "null for context": lambda call: call["context"] is None,
    "string for context": lambda call: isinstance(call["context"], str),
    "traits of wrong types": lambda call: not isinstance(call["traits"]["email"], str),
    "malformed e-mail address": lambda call: call["traits"]["email"].count("@") == 2,
    "unknown type": lambda call: call["type"] not in ("page", "screen", "track", "identify", "group", "alias"),
    "no type": lambda call: "type" not in call,
    "type in capitals": lambda call: call["type"] == "TRACK",
    "no message id": lambda call: "messageId" not in call,
    "integer for a message id": lambda call: type(call["messageId"]) is int,
    "no project": lambda call: "projectId" not in call,
    "clock in the future": lambda call: call["timestamp"] > "2038",
    "epoch milliseconds": lambda call: 1e12 < call["timestamp"] < 1e13,
    "Go's time": lambda call: " +0000 UTC m=+" in call["timestamp"],
    "epoch seconds": lambda call: 1e9 < call["timestamp"] < 1e10,
    "BigQuery's time": lambda call: call["timestamp"].endswith(" UTC"),
    "a mail's time": lambda call: call["timestamp"].endswith(" GMT"),
    "JavaScript's text of a time": lambda call: " GMT+0100 (" in call["timestamp"],
    "a clock that was never set": lambda call: call["originalTimestamp"] < "1971",
    "not corrected for a wrong clock": lambda call: "timestamp" not in call and call["sentAt"] < call["receivedAt"],
    "raw, without a time of receipt": lambda call: not {"originalTimestamp", "receivedAt"} & set(call),
    "no such day": lambda call: call["timestamp"].startswith("2025-02-30"),
    "no times": lambda call: not set(generate.TIMES) & set(call),
    "NaN": lambda call: call["properties"]["score"] != call["properties"]["score"],
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_is_wrong_in_the_way_that_it_is_named(kind: str) -> None:
    before = encoded(CALL)
    damaged = RUBBISH[kind](Random(1), CALL)
    assert encoded(CALL) == before
    if isinstance(damaged, bytes):
        with pytest.raises(json.JSONDecodeError):
            json.loads(damaged)
    else:
        assert DAMAGE[kind](json.loads(encoded(damaged)))
        assert not _holds(DAMAGE[kind], CALL)


def _holds(rule: Callable[[Json], Any], call: Json) -> bool:
    try:
        return bool(rule(call))
    except (AttributeError, KeyError, TypeError):
        return False


def test_a_deck_deals_everything_before_anything_comes_again() -> None:
    deck = Deck(Random(1), "abcdefgh")
    rounds = ["".join(deck.deal() for _ in range(8)) for _ in range(3)]
    assert {"".join(sorted(dealt)) for dealt in rounds} == {"abcdefgh"}
    assert len(set(rounds)) > 1


def test_the_sample_holds_every_kind_of_rubbish(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()

    def counting(kind: str) -> Callable[[Random, Json], object]:
        damage = RUBBISH[kind]

        def count_and_damage(rng: Random, call: Json) -> object:
            seen[kind] += 1
            return damage(rng, call)

        return count_and_damage

    monkeypatch.setattr(generate, "RUBBISH", {kind: counting(kind) for kind in RUBBISH})
    sample = list(stream(GeneratorSettings()))
    assert set(seen) == set(RUBBISH)
    assert seen.total() / len(sample) == pytest.approx(0.03, abs=0.008)


def test_several_calls_come_as_one_message() -> None:
    lines = [line for line in stream(GeneratorSettings()) if line.startswith((b"[", b'{"batch"'))]
    messages = [json.loads(line) for line in lines]
    arrays = [message for message in messages if isinstance(message, list)]
    batches = [message for message in messages if isinstance(message, dict)]
    assert {None in message for message in arrays} == {True, False}
    assert all(len(message) > 1 for message in arrays)
    assert batches
    for message in batches:
        assert {"batch", "context", "integrations", "sentAt", "receivedAt"} == set(message)
        assert len(message["batch"]) > 1
        assert not any("receivedAt" in item for item in message["batch"])


# The command line.


def test_output_goes_to_the_file(tmp_path: Path) -> None:
    output = tmp_path / "calls.jsonl"
    main(["--calls=50", "--seed=3", "--size=900", f"--output={output}"])
    assert output.read_bytes().splitlines() == list(stream(GeneratorSettings(calls=50, seed=3, size=900)))


def test_output_goes_to_standard_output_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stdout)
    main(["--calls=20"])
    assert stdout.buffer.getvalue().splitlines() == list(stream(GeneratorSettings(calls=20)))


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "examples.generate", "--calls=5000"]
    with subprocess.Popen(command, cwd=EXAMPLES.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().endswith(b"}\n")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--calls=-1", "argument --calls: '-1' is not a whole number, 0 or more"),
        ("--size=1.5", "argument --size: '1.5' is not a whole number, 0 or more"),
        ("--rubbish=2", "argument --rubbish: '2' is not a share from 0 to 1"),
        ("--late=nan", "argument --late: 'nan' is not a share from 0 to 1"),
        ("--duplicates=few", "argument --duplicates: 'few' is not a share from 0 to 1"),
        ("--output=/no/such/folder/x", "argument --output: cannot write /no/such/folder/x: No such file or directory"),
        ("--call=3", "unrecognized arguments: --call=3"),
    ],
)
def test_a_wrong_option_ends_with_status_2_and_what_is_wrong(
    option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main([option])
    assert error.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"python -m examples.generate: error: {message}"


# The configuration beside the sample.


def test_the_connections_are_those_of_the_sources_by_all_three_methods() -> None:
    connections = yaml.safe_load((EXAMPLES / "connections.yaml").read_text(encoding="utf-8"))["connections"]
    assert [connection["name"] for connection in connections] == [source.name for source in SOURCES]
    assert [connection.get("project_ids") for connection in connections] == [
        [generate.WEB_APP.project_id],
        [generate.MARKETING_SITE.project_id],
        None,
    ]
    methods = {connection["account_mapping"]["method"] for connection in connections}
    assert methods == {"group", "identify_traits", "email_domain"}
