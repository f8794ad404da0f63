"""Random histories of Segment messages, for comparing a job with the replay.

Dense small alphabets, so that ties, chains, cycles, repeats, late edges and deletes meet often. `history` draws with a
`random.Random`; the strategies draw the same messages with Hypothesis, so that a failure shrinks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import Any, TypeAlias

from hypothesis import strategies as st

from judge import Config, ConnectionRules, MappingRules

Message: TypeAlias = dict[str, Any]

# ---- configurations ----

MAPPINGS = {
    "group": MappingRules("group"),
    "group + fallback": MappingRules("group", fallback="email_domain"),
    "identify_traits": MappingRules("identify_traits"),
    "identify_traits + fallback": MappingRules("identify_traits", fallback="email_domain"),
    "email_domain": MappingRules("email_domain"),
}


def _configs() -> dict[str, Config]:
    configs = {}
    for (name, mapping), registrable, personal in product(MAPPINGS.items(), (False, True), ("exclude", "keep")):
        connections = (ConnectionRules("web", ("s1",), mapping), ConnectionRules("other", None, mapping))
        title = f"{name}{', registrable' if registrable else ''}{', keep' if personal == 'keep' else ''}"
        configs[title] = Config(connections, personal, registrable)
    return configs


# One for each way to map accounts, by name; "mixed" has several of them side by side.
CONFIGS: dict[str, Config] = {
    **_configs(),
    "mixed": Config(
        (
            ConnectionRules("web", ("s1",), MAPPINGS["group + fallback"]),
            ConnectionRules("app", ("s2", "s3"), MAPPINGS["identify_traits + fallback"]),
            ConnectionRules("crm", None, MAPPINGS["email_domain"]),
        ),
        placeholder_ids=("server", "Test-User"),
    ),
}

# ---- messages ----


@dataclass(frozen=True)
class Alphabet:
    """What histories are made of. `edges` off: no alias, and no message carries two ids."""

    ids: Sequence[str] = ("p0", "p1", "p2", "p3", "p4", "p5@initech.com")
    edges: bool = True
    deletes: bool = True
    events: bool = True
    seconds: int = 8  # how many distinct timestamps
    redeliveries: float = 0.15  # the chance that a message is followed by an earlier one, unchanged
    shared_message_ids: float = 0.0  # the chance that a message has an earlier one's messageId, with other contents


WHOLE = Alphabet()
EDGELESS = Alphabet(edges=False)

PROJECTS: tuple[Any, ...] = ("s1", "s2", "s3", "s4", None)
ACCOUNTS: tuple[Any, ...] = ("acme", "initech.com", "Globex", 7, "8")
EMAILS = (
    "ann@acme.com",
    " Ann@ACME.com ",
    "bob@mail.corp.example.co.uk",
    "bob@example.co.uk",
    "eve@initech.com",
    "jo@gmail.com",
    "jo@yahoo.co.jp",
    "max@xn--mnchen-3ya.de",
    "max@münchen.de",
    "max@MÜNCHEN.de",
    "no address",
    "x@ab--cd.münchen.de",
    "x@\uff21cme\uff0ecom",
    "x@acme\u3002com",
    "x@ac\u00adme.com",
    "x@c.\u00ad",
    "x@\u039f\u0394\u039f\u03a3.gr",
    "root@192.0.2.1",
    "root@[192.0.2.1]",
    " ",
    "a@b@acme.com",
    "ann@localhost",
    "ann@-acme.com",
    "@acme.com",
    "",
)
VALUES: tuple[Any, ...] = ("red", "blue", 1, 2, 2.5, True, False, [], ["x", 1], {"a": 1}, {"b": None}, "é", "")
COMPUTATION_KEYS = (
    *("Big Spender", "big_spender", "Order Completed Last30Days", "LTVScore", ""),
    "\u039f\u0394\u039f\u03a3 \u0391",
)
COMPUTATION_CLASSES = ("audience", "journey_step", "trait", "computed_trait")


def _some(rng: Random, chance: float) -> bool:
    return rng.random() < chance


def _or_null(rng: Random, value: Any, chance: float = 0.15) -> Any:
    return None if _some(rng, chance) else value


def _trait_value(rng: Random) -> Any:
    return _or_null(rng, rng.choice(VALUES))


def _traits(rng: Random) -> Message:
    """Traits of a person: plain, promoted, of the right type or a wrong one, null, and those that name an account."""
    makers: dict[str, Callable[[], Any]] = {
        "color": lambda: _trait_value(rng),
        "size": lambda: _trait_value(rng),
        "email": lambda: _or_null(rng, rng.choice((*EMAILS, 5, {})), 0.1),
        "Email": lambda: _or_null(rng, rng.choice(EMAILS), 0.1),
        "EMAIL": lambda: _or_null(rng, rng.choice(EMAILS), 0.1),
        "First-Name": lambda: _or_null(rng, rng.choice(("Ann", "Cy", "", 5))),
        "LAST NAME": lambda: _or_null(rng, rng.choice(("Lee", " ", True))),
        "Name": lambda: _or_null(rng, rng.choice(("Ann L.", "", []))),
        "phone": lambda: _or_null(rng, rng.choice((4915112345678, "+49 151", "", 1.50, 10**20, False))),
        "created_at": lambda: _or_null(rng, rng.choice((1_577_836_800, "1577836800", "1577836800000", "", [], *TIMES))),
        "name": lambda: _or_null(rng, rng.choice(("Ann", "Bob", 5))),
        "firstName": lambda: _or_null(rng, rng.choice(("Ann", "Bob", ["Ann"]))),
        "first_name": lambda: _or_null(rng, rng.choice(("Ann", "Eve"))),
        "last_name": lambda: _or_null(rng, rng.choice(("Lee", "Doe", 1))),
        "createdAt": lambda: _or_null(
            rng, rng.choice(("2020-01-02", 1_577_836_800_000, "yesterday", True, "Thu, 02 Jan 2020 00:00:00 GMT"))
        ),
        "website": lambda: _or_null(rng, rng.choice(("https://ann.example", {}, " ", 7))),
        "company": lambda: _or_null(rng, _company(rng), 0.1),
        "company.id": lambda: _or_null(rng, rng.choice(ACCOUNTS)),
        "company.name": lambda: _or_null(rng, rng.choice(("Literal", ""))),
    }
    rare = ("company.id", "company.name", "Email", "EMAIL", "First-Name", "LAST NAME", "Name", "created_at")
    weights = {"email": 3, "company": 3, "color": 2, **dict.fromkeys(rare, 0.3)}
    keys = rng.choices(list(makers), [weights.get(key, 1) for key in makers], k=rng.randrange(4))
    return {key: makers[key]() for key in dict.fromkeys(keys)}


def _company(rng: Random) -> Any:
    """The object that `identify_traits` reads, or something else in its place."""
    if _some(rng, 0.1):
        return rng.choice(("acme", [], 5))
    ids = (*ACCOUNTS, *ACCOUNTS, "null", " ", None, [], 1.5, 9.0)
    company = {"id": rng.choice(ids), **_account_traits(rng)}
    if _some(rng, 0.1):
        del company["id"]
    return company


def _account_traits(rng: Random) -> Message:
    makers: dict[str, Callable[[], Any]] = {
        "name": lambda: rng.choice(("Acme", "Acme Inc.", "Globex", "", None, 3, " ")),
        "Name": lambda: rng.choice(("ACME", "", None)),
        "Plan": lambda: _or_null(rng, rng.choice(("gold", "", 2))),
        "number-of employees": lambda: 3,
        "Employees": lambda: _or_null(rng, rng.choice(("329", "51-200", "1,200", 4))),
        "plan": lambda: _or_null(rng, rng.choice(("free", "pro", 1))),
        "industry": lambda: _or_null(rng, "steel"),
        "employees": lambda: _or_null(rng, rng.choice((5, 6.0, 2.5, True, "7", "7.0", "٣", 2**63, str(2**63)))),
        "website": lambda: _or_null(rng, rng.choice(("https://www.Acme.com/about", "acme.com:80", "", 4))),
        "domain": lambda: _or_null(rng, rng.choice(("globex.com", ["globex.com"]))),
        "color": lambda: _trait_value(rng),
    }
    return {key: makers[key]() for key in rng.sample(list(makers), rng.randrange(4))}


def _engage_value(rng: Random, class_: str) -> Any:
    memberships = (True, True, False, "true", "false", None)
    others = (10, "gold", None, True, "true", {"a": 1})
    return rng.choice(memberships if class_ in ("audience", "journey_step") and _some(rng, 0.85) else others)


def _engage_context(rng: Random, class_: str, key: str | None) -> Message:
    personas: Message = {"computation_class": class_, "namespace": "spa_1"}
    if key is not None:
        personas["computation_key"] = key
    return {"personas": personas}


def _engage_identify(rng: Random) -> Message:
    class_, key = rng.choice(COMPUTATION_CLASSES), rng.choice(COMPUTATION_KEYS)
    traits = {key: _engage_value(rng, class_)}
    if _some(rng, 0.4):
        traits["email"] = rng.choice(EMAILS)
    if _some(rng, 0.1):
        traits["color"] = _trait_value(rng)
    named = rng.choices((key, "aud_123", None), (6, 2, 1))[0]
    if _some(rng, 0.15):
        del traits[key]
    return {"type": "identify", "traits": traits, "context": _engage_context(rng, class_, named)}


def _engage_group(rng: Random) -> Message:
    """An audience or a computed trait of accounts, which some person or nobody carries."""
    class_, key = rng.choice(COMPUTATION_CLASSES), rng.choice(COMPUTATION_KEYS)
    traits = {key: _engage_value(rng, class_)} if _some(rng, 0.9) else {}
    if _some(rng, 0.2):
        traits["name"] = "Acme"
    context = _engage_context(rng, class_, rng.choice((key, key, "aud_123", None)))
    return {"type": "group", "groupId": rng.choice(ACCOUNTS), "traits": traits, "context": context}


def _engage_track(rng: Random) -> Message:
    class_, key = rng.choice(COMPUTATION_CLASSES), rng.choice(COMPUTATION_KEYS)
    properties: Message = {key: _engage_value(rng, class_)}
    named: str | None = key
    if _some(rng, 0.4):
        properties[rng.choice(("audience_key", "trait_key"))] = key
        named = rng.choice((key, "aud_123", None))
    if _some(rng, 0.1):
        del properties[key]
    context = _engage_context(rng, class_, named)
    return {"type": "track", "event": "Audience Entered", "properties": properties, "context": context}


def _identify(rng: Random) -> Message:
    message: Message = {"type": "identify", "traits": _traits(rng)}
    if _some(rng, 0.25):
        message["context"] = {rng.choice(("groupId", "groupId", "group_id")): rng.choice((*ACCOUNTS, "guest", []))}
    if _some(rng, 0.1):
        message["groupId"] = rng.choice((*ACCOUNTS, "(null)", {}))
    if _some(rng, 0.1):
        message["context"] = {**message.get("context", {}), "traits": rng.choice((_traits(rng), "none", None))}
    if _some(rng, 0.1):
        message["traits"] = None
    return message


def _group(rng: Random) -> Message:
    if _some(rng, 0.15):
        return _engage_group(rng)
    return {"type": "group", "groupId": rng.choice(ACCOUNTS), "traits": _account_traits(rng)}


def _page(rng: Random) -> Message:
    message: Message = {"type": rng.choice(("page", "screen"))}
    if _some(rng, 0.5):
        message["name"] = rng.choice(("Home", "", None))
    if _some(rng, 0.5):
        message["properties"] = rng.choice(({"path": "/a", "n": 1}, {"name": "Pricing", "path": "/p"}, {}, None))
    if _some(rng, 0.3):
        message["context"] = {"page": {"path": "/from-context"}, "groupId": rng.choice(ACCOUNTS)}
    if _some(rng, 0.3):
        message["category"] = rng.choice(("Docs", None, 5))
    return message


def _track(rng: Random) -> Message:
    message: Message = {
        "type": "track",
        "event": rng.choice(("Signed Up", "Paid")),
        "properties": {"n": rng.randrange(3)},
    }
    if _some(rng, 0.3):
        message.update(
            rng.choice(({"_metadata": {"bundled": []}, "version": 2}, {"channel": "server"}, {"groupId": "acme"}))
        )
    if _some(rng, 0.2):
        message.update(
            rng.choice(
                (
                    {"writeKey": "k", "context": {"app": [{"Write Key": "k"}]}},
                    {"context_ip": "::1"},
                    {"name": "N", "traits": {"a": 1}},
                )
            )
        )
    return message


def _alias(rng: Random) -> Message:
    return {"type": "alias"}


def _delete(rng: Random) -> Message:
    return {"type": "delete", "context": None, "integrations": None}


def draw_message(rng: Random, alphabet: Alphabet = WHOLE) -> Message:
    """One valid message without a `messageId`, so that whoever gathers a history can number it."""
    kinds: dict[Callable[[Random], Message], float] = {
        _identify: 8,
        _engage_identify: 2,
        _engage_track: 2,
        _group: 3,
        _alias: 5 if alphabet.edges else 0,
        _delete: 0.7 if alphabet.deletes else 0,
        _page: 1 if alphabet.events else 0,
        _track: 1 if alphabet.events else 0,
    }
    message = rng.choices(list(kinds), list(kinds.values()))[0](rng)
    message.update(_ids(rng, alphabet, message["type"]))
    second = 1_700_000_000 + rng.randrange(alphabet.seconds)
    message["timestamp"] = rng.choice((second * 1000, f"2023-11-14T22:13:{second - 1_699_999_980:02}.000Z"))
    if _some(rng, 0.5):
        message["receivedAt"] = "2023-11-14T22:14:01Z"
    if _some(rng, 0.2):
        message["sentAt"] = f"2023-11-14T22:{rng.randrange(12, 15)}:0{rng.randrange(10)}Z"
    if _some(rng, 0.15):
        message["originalTimestamp"] = rng.choice((second + 1, second, "0001-01-01T00:00:00Z", "?"))
    project = rng.choice(PROJECTS)
    if project is not None:
        message["projectId"] = project
    return message


def _ids(rng: Random, alphabet: Alphabet, type_: str) -> Message:
    one, other = rng.choice(alphabet.ids), rng.choice(alphabet.ids)
    if type_ == "alias":
        return {rng.choice(("previousId", "anonymousId", "from")): one, rng.choice(("userId", "to")): other}
    if type_ == "group" and _some(rng, 0.15):
        return {}
    if alphabet.edges and _some(rng, 0.05):
        return {"userId": one, "anonymousId": rng.choice((*WRONG_IDS, "anonymousId", "{{id}}"))}
    if alphabet.edges and _some(rng, 0.35):
        return {"anonymousId": one, "userId": other}
    return {rng.choice(("userId", "userId", "anonymousId")): one}


def _numbered(messages: list[Message], rng: Random, alphabet: Alphabet) -> list[Message]:
    """The messages with a `messageId` each (a few without: their hash is it), in no order, and redeliveries."""
    numbers = list(range(len(messages)))
    rng.shuffle(numbers)
    history: list[Message] = []
    for number, message in zip(numbers, messages, strict=True):
        if history and _some(rng, alphabet.shared_message_ids):
            named = {"messageId": rng.choice(history).get("messageId")}
        else:
            named = {} if _some(rng, 0.05) else {"messageId": f"m{number:03}"}
        history.append({**message, **named})
        if _some(rng, alphabet.redeliveries):
            history.append(rng.choice(history))
    return history


def history(rng: Random, size: int, alphabet: Alphabet = WHOLE) -> list[Message]:
    """`size` messages in the order of their arrival, which has nothing to do with their times, and redeliveries."""
    return _numbered([draw_message(rng, alphabet) for _ in range(size)], rng, alphabet)


def histories(alphabet: Alphabet = WHOLE, max_size: int = 20) -> st.SearchStrategy[list[Message]]:
    """As `history`, of 0 to `max_size` messages."""
    message = st.builds(draw_message, _randoms(), st.just(alphabet))
    return st.builds(_numbered, st.lists(message, max_size=max_size), _randoms(), st.just(alphabet))


def configs() -> st.SearchStrategy[Config]:
    return st.sampled_from(list(CONFIGS.values()))


def _randoms() -> st.SearchStrategy[Random]:
    return st.randoms(note_method_calls=False, use_true_random=False)


def line(message: Any) -> bytes:
    """The message as a line of a file."""
    return json.dumps(message, ensure_ascii=False).encode("utf-8")


def deal(rng: Random, messages: Iterable[Message], parts: int, duplicates: float = 0.2) -> list[list[Message]]:
    """Deals each message to one of the parts, some to another (or the same) again, and shuffles each part.

    What the parts hold together is the same set of distinct messages.
    """
    dealt: list[list[Message]] = [[] for _ in range(parts)]
    for message in messages:
        rng.choice(dealt).append(message)
        while _some(rng, duplicates):
            rng.choice(dealt).append(message)
    for part in dealt:
        rng.shuffle(part)
    return dealt


# ---- rubbish: what real sources send ----

PLACEHOLDER_IDS: tuple[Any, ...] = (
    "",
    "  ",
    "null",
    "NULL",
    '"undefined"',
    "'None'",
    "nil",
    "NaN",
    "n/a",
    "Anonymous",
    "anonymous_id",
    "guest",
    "unknown",
    "user_id",
    "userId",
    "distinct_id",
    "id",
    "email",
    "true",
    "FALSE",
    "-1",
    -1,
    0,
    0.0,
    "[object Object]",
    "0",
    "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "0x0000",
    "-",
    "{}",
    "(null)",
    "not_authenticated",
    "Logged-Out",
    "{{userId}}",
    "${id}",
    "<%= id %>",
    "%7Bid%7D",
    "u-{{id}}",
    "Server",
    "test_USER",
)
ODD_IDS: tuple[Any, ...] = (
    7,
    7.0,
    " p1 ",
    "\tp2\n",
    "p\u0000x",
    "p\u200b",
    "Ünï",
    "0x1",
    "anonymous2",
    "none at all",
    2**63,
    "p" * 300,
    "ü" * 1024,
)
WRONG_IDS: tuple[Any, ...] = (True, False, 1.5, [], {}, ["p1"], {"id": "p1"}, "p" * 1025)
WRONG_OBJECTS: tuple[Any, ...] = ("text", 1, True, [1], [[]], 0.5)
EMPTY_OBJECTS: tuple[Any, ...] = (None, {}, [], "", 0, False, 0.0)

TIMES: tuple[Any, ...] = (
    "2023-11-14",
    "2023-11-14T22:13",
    "2023-11-14 22:13",
    "2023-11-14T22:13:20",
    "2023-11-14T22:13:20Z",
    "2023-11-14 22:13:20.5",
    "2023-11-14T22:13:20.123Z",
    "2023-11-14T22:13:20.123456789Z",
    "2023-11-14T22:13:20.9999999+00:00",
    "2023-11-14T23:13:20+01",
    "2023-11-14T23:13:20+0100",
    "2023-11-14T16:43:20.25-05:30",
    "2023-11-14T22:13Z",
    "2024-02-29T12:00:00Z",
    "2023-11-14 22:13:20.209808489 +0000 UTC m=+70366.298768264",
    "2023-11-14 22:13:20.209808489 +0000 UTC",
    "2023-11-14 22:13:20 +0000 UTC m=-0.000000001",
    "2023-11-14 22:13:20 UTC",
    "2023-11-14t22:13:20z",
    " 2023-11-14 ",
    "2023/11/14 22:13:20",
    "20231114T221320Z",
    "+002023-11-14T22:13:20.000Z",
    "2023-11-14T22:13:60Z",
    "2023-11-14T22:13:20,5 +01:00",
    "2023-11-14T22:13:20.1234567890Z",
    "2023-11-14 23:13:20 +0100 CET",
    "2023-11-14T23:13:20+01:00[Europe/Paris]",
    "2023-11-14T22:13:20Z[UTC]",
    "Tue, 14 Nov 2023 22:13:20 GMT",
    "14 Nov 2023 22:13:20 +0000",
    "Tue Nov 14 2023 23:13:20 GMT+0100 (Central European Standard Time)",
    "1700000000",
    "1700000000.25",
    "1700000000000",
    1_700_000_000_123_456,
    1_700_000_000_123_456_789,
    31_536_000,
    "1971-01-01",
    1_700_000_000_000,
    1_700_000_000_000.0,
    1_700_000_000_000.5,
    1_700_000_000,
    0,
    -1,
    "1969-12-31T23:59:59.999999999Z",
)
NO_TIMES: tuple[Any, ...] = (
    "",
    "yesterday",
    "1.7e9",
    "03/04/2024",
    "2023-11-14 22:13:20 CET",
    "1970-12-31T23:59:59.999Z",
    "2023-02-30",
    "2023-13-01",
    "2023-1-1",
    "0000-01-01",
    "2023-11-14T24:00:00Z",
    "2023-11-14T22:13:61Z",
    "2023-11-14T22:13:20.Z",
    "2023-11-14T22",
    "2023-11-14Z",
    "\uff12023-11-14",
    "20231114",
    "9999-12-31T23:59:59-01:00",
    "0001-01-01T00:00:00+01:00",
    True,
    [],
    {},
    10**21,
    -(10**18),
    1e300,
)
FAR_TIMES = (
    "0001-01-01",
    "1959-12-31T23:59:59.999999Z",
    "1960-01-01",
    "2159-12-31T23:59:59Z",
    "2160-01-01",
    "9999-12-31",
)

INTEGRATIONS: tuple[Any, ...] = (
    None,
    [],
    "All",
    {},
    {"All": True},
    {"All": False},
    {"all": False},
    {"All": "no", "all": False},
    {"Variance": True},
    {"Variance": False},
    {"Variance": {"key": "v"}, "All": False},
    {"Variance": None, "All": False},
    {"Variance Cloud": False, "Variance": True},
    {"variance": False},
)
# With it some of the messages are disabled.
INTEGRATION_CONFIG = replace(CONFIGS["mixed"], integration_names=("Variance Cloud", "Variance"))
# Without a connection for every source.
CLOSED_CONFIG = Config((ConnectionRules("web", ("s1",)), ConnectionRules("app", ("s2", "s3"))))

BROKEN = (
    b"{",
    b"}",
    b"[",
    b"nonsense",
    b"{'type': 'track'}",
    b'{"type": "track",}',
    b'{"type": "track"} {"type": "track"}',
    b'{"type": "track", "event": NaN}',
    b'{"type": "track", "event": -Infinity}',
    b'{"type": "track", "event": "\xff"}',
    b'{"type": "track", "event": "\xed\xa0\x80"}',
    b'{"type": "track", "event": "a\tb"}',
    b'{"type": "track", "event": "nul \x00"}',
    b'{"type": "track", "event": 01}',
    b"\x1f\x8b\x08\x00",
    b"[" * 100,
)


def _spell(rng: Random, name: str) -> str:
    """The field's name as some sender might write it."""
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    spaced = snake.replace("_", " ")
    return rng.choice((snake, spaced, spaced.title(), name.upper(), name.lower(), name[0].upper() + name[1:]))


def _odd_spelling(rng: Random, message: Message) -> Message:
    return {_spell(rng, key) if _some(rng, 0.4) else key: value for key, value in message.items()}


def _odd_type(rng: Random, message: Message) -> Message:
    spellings = (message["type"].upper(), message["type"].title(), "trackk", "", None, 5, [message["type"]])
    return {**message, "type": rng.choice(spellings)}


def _odd_id(rng: Random, message: Message) -> Message:
    fields = {"alias": ("previousId", "userId", "anonymousId"), "group": ("groupId", "userId", "anonymousId")}
    field = rng.choice(fields.get(message["type"], ("userId", "anonymousId")))
    return {**message, field: rng.choice(rng.choice((PLACEHOLDER_IDS, ODD_IDS, WRONG_IDS)))}


def _odd_account(rng: Random, message: Message) -> Message:
    account: Any = rng.choice(rng.choice((PLACEHOLDER_IDS, ODD_IDS, WRONG_IDS)))
    company = {"id": account, "name": "Odd", "plan": "pro"}
    return {**message, "traits": {"company": company}, "context": {"groupId": account}}


def _odd_object(rng: Random, message: Message) -> Message:
    own = {"identify": "traits", "group": "traits"}.get(message["type"], "properties")
    return {**message, rng.choice((own, "context")): rng.choice(rng.choice((EMPTY_OBJECTS, WRONG_OBJECTS)))}


def _odd_message_id(rng: Random, message: Message) -> Message:
    """A usual or an unusual `messageId`, or none; never the same for two contents."""
    digest = hashlib.sha256(line(message)).hexdigest()
    usable = (f"odd-{digest}", f" {digest} ", int(digest[:15], 16), digest * 8)
    unusable: tuple[Any, ...] = ("", None, [], True, 2.5, {})
    kind, spelling = rng.choice((usable, unusable, None)), _spell(rng, "messageId") if _some(rng, 0.3) else "messageId"
    return message if kind is None else {**message, spelling: rng.choice(kind)}


def _odd_time(rng: Random, message: Message) -> Message:
    fields = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
    times: Message = {}
    for field in rng.sample(fields, rng.randrange(5)):
        times[field] = rng.choice(rng.choices((TIMES, NO_TIMES, FAR_TIMES, (None,)), (5, 3, 1, 1))[0])
    return {**{key: value for key, value in message.items() if key not in fields}, **times}


def _wrong_clock(rng: Random, message: Message) -> Message:
    received = "2023-11-13T22:13:20Z"
    ahead = ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20.000001Z", "2030-01-01", "2023-11-13")
    return {**message, "receivedAt": received, "timestamp": rng.choice(ahead)}


def _odd_integrations(rng: Random, message: Message) -> Message:
    return {**message, "integrations": rng.choice(INTEGRATIONS)}


def _odd_event(rng: Random, message: Message) -> Message:
    return {**message, "event": rng.choice(("", None, 5, [], "x" * 2000, " "))}


def _missing(rng: Random, message: Message) -> Message:
    gone = rng.choice(("userId", "anonymousId", "previousId", "groupId", "event", "type", "timestamp"))
    return {key: value for key, value in message.items() if key != gone}


def _deep(rng: Random, message: Message) -> Message:
    value: Any = "end"
    for _ in range(rng.choice((10, 400, 600))):
        value = {"deeper": value} if _some(rng, 0.5) else [value]
    own = {"identify": "traits", "group": "traits"}.get(message["type"], "properties")
    return {**message, own: {"deep": value}}


ODDITIES: tuple[Callable[[Random, Message], Message], ...] = (
    _odd_spelling,
    _odd_type,
    _odd_id,
    _odd_account,
    _odd_object,
    _odd_time,
    _wrong_clock,
    _odd_integrations,
    _odd_event,
    _missing,
    _deep,
)


def odd_message(rng: Random, alphabet: Alphabet = WHOLE, **fields: Any) -> Message:
    """A message with one or two things that are wrong or unusual, and those fields."""
    message = {**draw_message(rng, alphabet), **fields}
    for oddity in rng.sample(ODDITIES, rng.choice((1, 1, 2))):
        message = oddity(rng, message) if isinstance(message.get("type"), str) else message
    return _odd_message_id(rng, message)


def _odd_items(rng: Random, alphabet: Alphabet, **fields: Any) -> list[Any]:
    """Up to three odd messages, among them now and then something that is no message."""
    no_messages: tuple[Any, ...] = (5, None, "x", [], {})
    return [
        odd_message(rng, alphabet, **fields) if _some(rng, 0.8) else rng.choice(no_messages)
        for _ in range(rng.randrange(4))
    ]


def _odd_batch(rng: Random, alphabet: Alphabet) -> Message:
    own: Message = {}
    if _some(rng, 0.6):
        own["context"] = {"ip": "1.2.3.4", "groupId": rng.choice(ACCOUNTS), "page": {"path": "/batch"}}
    if _some(rng, 0.4):
        own["integrations"] = rng.choice(INTEGRATIONS)
    for name in ("sentAt", "receivedAt"):
        if _some(rng, 0.4):
            own[name] = rng.choice((*TIMES, *NO_TIMES))
    # The defaults mark the items: one `message_id` must not stand for what is read differently elsewhere.
    items = _odd_items(rng, alphabet, _defaults=hashlib.sha256(line(own)).hexdigest())
    if _some(rng, 0.3):
        own = _odd_spelling(rng, own)
    return {**own, "batch": items} if _some(rng, 0.5) else {"batch": items, **own}


def odd_line(rng: Random, alphabet: Alphabet = WHOLE) -> bytes:
    """A line that a file might hold: an odd message, an array or a batch of them and of what is none, or no JSON."""
    kind = rng.choices(("message", "spaced", "array", "batch", "broken"), (6, 1, 1, 2, 1))[0]
    if kind == "broken":
        return rng.choice(BROKEN)
    if kind == "array":
        return line(_odd_items(rng, alphabet))
    if kind == "batch":
        return line(_odd_batch(rng, alphabet))
    message = odd_message(rng, alphabet)
    return line(message) if kind == "message" else json.dumps(message, indent="\t").replace("\n", "\r").encode()


def odd_lines(alphabet: Alphabet = WHOLE, max_size: int = 10) -> st.SearchStrategy[list[bytes]]:
    """Up to `max_size` lines of `odd_line`."""
    return st.lists(st.builds(odd_line, _randoms(), st.just(alphabet)), max_size=max_size)
