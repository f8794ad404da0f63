"""Which connection a message belongs to, and what a configuration cannot be."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from transforms.core.connections import (
    DEFAULT,
    AccountMapping,
    Connection,
    Connections,
    Router,
    account_mappings,
)

SITE = Connection("site", ("p1", "p2"), AccountMapping("identify_traits"))
APP = Connection("app", ("p3",), AccountMapping("email_domain"))
NAMED_ONLY = Connection("named only", ())
REST = Connection("rest", None, AccountMapping("group"))


def connections(*configured: Connection) -> Connections:
    return Connections(connections=configured)


@pytest.mark.parametrize(
    ("what", "configured", "override", "project_id", "attribute", "expected"),
    [
        ("the project id", [SITE, APP, REST], None, "p3", None, APP),
        ("another project id of the same connection", [SITE, APP, REST], None, "p2", None, SITE),
        ("an unknown project id is the rest's", [SITE, APP, REST], None, "p9", None, REST),
        ("no project id is the rest's", [SITE, APP, REST], None, None, None, REST),
        ("the rest may come first", [REST, SITE], None, "p1", None, SITE),
        ("the attribute goes before the project id", [SITE, APP, REST], None, "p1", "app", APP),
        ("an attribute that names none is not looked at", [SITE, APP, REST], None, "p1", "apps", SITE),
        ("an attribute that names none, else the rest", [SITE, APP, REST], None, None, "", REST),
        ("the override goes before everything", [SITE, APP, REST], "site", "p3", "app", SITE),
        ("without project ids by name only", [NAMED_ONLY], None, "p1", "named only", NAMED_ONLY),
        ("without project ids by name only, so not by id", [NAMED_ONLY], None, "p1", None, None),
        ("nobody's", [SITE, APP], None, "p9", None, None),
        ("nobody's, as it has no id", [SITE, APP], None, None, None, None),
        ("the default takes everything", [*DEFAULT.connections], None, "p1", None, DEFAULT.connections[0]),
    ],
)
def test_a_message_belongs_to_the_first_that_applies(
    what: str,
    configured: list[Connection],
    override: str | None,
    project_id: str | None,
    attribute: str | None,
    expected: Connection | None,
) -> None:
    assert Router(connections(*configured), override).route(project_id, attribute) is expected


def test_an_override_must_be_configured() -> None:
    with pytest.raises(KeyError):
        Router(connections(SITE), "app")


@pytest.mark.parametrize(
    ("what", "configured", "name", "expected", "is_configured"),
    [
        ("as configured", [SITE, REST], "site", SITE, True),
        ("the rest by its name", [SITE, REST], "rest", REST, True),
        ("gone: mapped like the rest", [SITE, REST], "old", Connection("old", None, REST.account_mapping), False),
        ("gone, and no rest: mapped like the default", [SITE], "old", Connection("old"), False),
    ],
)
def test_a_recorded_connection_keeps_its_name(
    what: str, configured: list[Connection], name: str, expected: Connection, is_configured: bool
) -> None:
    router = Router(connections(*configured), override="site")
    assert router.named(name) == (expected, is_configured)
    assert router.named(name).connection is router.named(name).connection


@pytest.mark.parametrize(
    ("what", "configured", "expected"),
    [
        ("nothing wrong", [SITE, APP, NAMED_ONLY, REST], []),
        ("one project id twice in one connection", [Connection("a", ("p", "p"))], []),
        ("no connection", [], [(("connections",), "lists no connection")]),
        (
            "one name twice",
            [SITE, Connection("site", ())],
            [(("connections", 1, "name"), "'site' is the name of an earlier connection")],
        ),
        (
            "two without project ids",
            [REST, SITE, Connection("more")],
            [(("connections", 2), "'more' has no project_ids, and neither has 'rest'")],
        ),
        (
            "one project id in two",
            [SITE, Connection("b", ("p8", "p2"))],
            [(("connections", 1, "project_ids", 1), "'p2' already belongs to the connection 'site'")],
        ),
    ],
)
def test_contradictions(
    what: str, configured: list[Connection], expected: list[tuple[tuple[str | int, ...], str]]
) -> None:
    contradictions = list(connections(*configured).contradictions())
    assert [(place, problem) for place, problem, _ in contradictions] == expected
    assert all(remedy for _, _, remedy in contradictions)


def test_the_default_is_one_connection_of_group_calls_else_email_domains() -> None:
    assert msgspec.json.decode(msgspec.json.encode(DEFAULT)) == {
        "personal_email_domains": "exclude",
        "registrable_domain": False,
        "link_anonymous_ids": True,
        "integration_names": [],
        "placeholder_ids": [],
        "connections": [
            {
                "name": "default",
                "project_ids": None,
                "account_mapping": {
                    "method": "group",
                    "id": "company.id",
                    "name": "company.name",
                    "fallback": "email_domain",
                },
                "receive": None,
            }
        ],
    }


def test_a_named_method_has_no_fallback_unless_it_is_asked_for() -> None:
    assert AccountMapping("group").fallback == "none"


def test_configurations_travel_to_workers_and_are_values() -> None:
    configured = connections(SITE, APP, REST)
    assert pickle.loads(pickle.dumps(configured)) == configured
    assert hash(connections(SITE, APP, REST)) == hash(configured)
    assert pickle.loads(pickle.dumps(Router(configured))).route("p3") == APP


def test_how_accounts_are_mapped_is_told_by_the_connections_names() -> None:
    site = msgspec.structs.replace(SITE, account_mapping=AccountMapping("identify_traits", id="org.unit.id"))
    site_keys = {"id": "org.unit.id", "key_1": "org", "key_2": "unit", "key_3": "id"}
    told = msgspec.json.decode(account_mappings(Connections(connections=(site,))))
    assert told["connections"] == {SITE.name: {"method": "identify_traits", **site_keys}}
    assert told["others"] == {"method": "group"}
    rest = msgspec.structs.replace(REST, account_mapping=AccountMapping("email_domain"))
    told = msgspec.json.decode(account_mappings(Connections(connections=(site, rest))))
    assert told["connections"][REST.name] == told["others"] == {"method": "email_domain"}
