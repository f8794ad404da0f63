"""Connections: named sets of Segment sources, each with its way of naming accounts (`docs/semantics.md`, section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
"""A string that is not blank."""
REFERENCE_PATTERN: Final = r"^(?:\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:.*\S.*)\Z"
Reference = Annotated[str, msgspec.Meta(pattern=REFERENCE_PATTERN)]
"""Where a secret is: `${ENVIRONMENT_VARIABLE}` or `file:PATH`. Never the secret itself."""
ORIGIN_PATTERN: Final = r"^(?:https?://[^\s/?#@\"\\]+|\*)\Z"
Origin = Annotated[str, msgspec.Meta(pattern=ORIGIN_PATTERN)]
"""What a browser sends as `Origin`, or `*` for any."""
COUNT_PATTERN: Final = r"^[1-9][0-9]{0,8}\Z"
Count = Annotated[str, msgspec.Meta(pattern=COUNT_PATTERN)]
"""A whole number from 1, as it is written."""

GROUP: Literal["group"] = "group"
IDENTIFY_TRAITS: Literal["identify_traits"] = "identify_traits"
EMAIL_DOMAIN: Literal["email_domain"] = "email_domain"


class AccountMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the messages of a connection name accounts.

    `id` and `name` are paths in an identify's traits, and mean something for `identify_traits` only. `fallback` is the
    method for an identify that by itself names no account.
    """

    method: Literal["group", "identify_traits", "email_domain"]
    id: Text = "company.id"
    name: Text = "company.name"
    fallback: Literal["email_domain", "none"] = "none"


DEFAULT_MAPPING = AccountMapping(GROUP, fallback=EMAIL_DOMAIN)
"""What holds without an `account_mapping`: group calls, else the domain of the e-mail address."""


class Receive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the receiver takes for a connection; the job does not look at it.

    `api_key` and `shared_secret` are for its webhook, `write_keys` for SDKs; `origins` are the sites whose browsers may
    send. Above `calls_per_second` senders are told to wait.
    """

    api_key: Reference | None = None
    shared_secret: Reference | None = None
    write_keys: tuple[Reference, ...] = ()
    origins: tuple[Origin, ...] = ()
    calls_per_second: Count | None = None


class Connection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named set of Segment sources.

    `project_ids` are the `projectId`s of its messages: None takes every message that no other connection claims, an
    empty tuple only those that are given to it by name. Without an `account_mapping` it has `DEFAULT_MAPPING`; an
    `account_mapping` that gives only a method has no fallback.
    """

    name: Text
    project_ids: tuple[Text, ...] | None = None
    account_mapping: AccountMapping = DEFAULT_MAPPING
    receive: Receive | None = None


class Contradiction(NamedTuple):
    """A configuration's fault: the path of keys and indexes to it, what is wrong, and what to do."""

    place: tuple[str | int, ...]
    problem: str
    remedy: str


class Connections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration: the connections, and the rules that they share.

    `integration_names` are the names by which this project is known in a message's `integrations`; where there are
    none, no message is dropped for them. `placeholder_ids` are constants of a company's own that name nobody.
    """

    personal_email_domains: Literal["exclude", "keep"] = "exclude"
    registrable_domain: bool = False
    link_anonymous_ids: bool = True
    integration_names: tuple[Text, ...] = ()
    placeholder_ids: tuple[Text, ...] = ()
    connections: tuple[Connection, ...] = (Connection("default"),)

    def contradictions(self) -> Iterator[Contradiction]:
        """What cannot hold for a message to belong to one connection; the place is that of the later of two."""
        if not self.connections:
            remedy = "list at least one, or leave the key out for one named default"
            yield Contradiction(("connections",), "lists no connection", remedy)
        names: set[str] = set()
        catch_all: str | None = None
        owners: dict[str, str] = {}
        for index, connection in enumerate(self.connections):
            place = ("connections", index)
            if connection.name in names:
                problem = f"{connection.name!r} is the name of an earlier connection"
                yield Contradiction((*place, "name"), problem, "give each connection a name of its own")
            names.add(connection.name)
            if connection.project_ids is None:
                if catch_all is not None:
                    problem = f"{connection.name!r} has no project_ids, and neither has {catch_all!r}"
                    yield Contradiction(place, problem, "give project_ids to all connections but one")
                catch_all = connection.name
            for position, project_id in enumerate(connection.project_ids or ()):
                owner = owners.setdefault(project_id, connection.name)
                if owner != connection.name:
                    problem = f"{project_id!r} already belongs to the connection {owner!r}"
                    yield Contradiction((*place, "project_ids", position), problem, "take it out of one of them")


DEFAULT = Connections()
"""The configuration where none is given: one connection, named `default`."""


class Recorded(NamedTuple):
    """The connection of a message in the log, and whether the configuration still has it."""

    connection: Connection
    configured: bool


def account_mappings(connections: Connections) -> bytes:
    """How a configuration maps accounts, as JSON for whoever reads the log: the mapping of each connection by its name,
    and that of every other. A path is given as it is, and by its keys one by one."""
    router = Router(connections)
    mapped = {connection.name: _described(connection.account_mapping) for connection in connections.connections}
    return msgspec.json.encode({"connections": mapped, "others": _described(router.mapping_of_others)})


def _described(mapping: AccountMapping) -> dict[str, str]:
    if mapping.method != IDENTIFY_TRAITS:
        return {"method": mapping.method}
    keys = {f"key_{number}": key for number, key in enumerate(mapping.id.split("."), 1)}
    return {"method": mapping.method, "id": mapping.id, **keys}


class Router:
    """Finds the connection of each message, in constant time.

    `override` is the name of the connection that everything belongs to, whatever the messages say. Raises KeyError
    where there is no such connection.
    """

    def __init__(self, connections: Connections, override: str | None = None) -> None:
        self._by_name = {connection.name: connection for connection in connections.connections}
        self._by_project_id = {
            project_id: connection
            for connection in connections.connections
            for project_id in connection.project_ids or ()
        }
        self._catch_all = next(
            (connection for connection in connections.connections if connection.project_ids is None), None
        )
        self._override = None if override is None else self._by_name[override]
        self._no_longer_configured: dict[str, Recorded] = {}

    def route(self, project_id: str | None, attribute: str | None = None) -> Connection | None:
        """The connection of a message with that `projectId` and that Pub/Sub attribute `connection`; None if none is.

        The first that applies: the override, the connection that the attribute names, the one that has the project id,
        the one without project ids.
        """
        if self._override is not None:
            return self._override
        if attribute is not None and (connection := self._by_name.get(attribute)) is not None:
            return connection
        if project_id is not None and (owner := self._by_project_id.get(project_id)) is not None:
            return owner
        return self._catch_all

    @property
    def mapping_of_others(self) -> AccountMapping:
        """That of connections that are no longer configured."""
        return DEFAULT_MAPPING if self._catch_all is None else self._catch_all.account_mapping

    def named(self, name: str) -> Recorded:
        """The connection that a message of the log was recorded with.

        One that is no longer configured keeps its name and is mapped like the connection without project ids, else
        like the default.
        """
        if (connection := self._by_name.get(name)) is not None:
            return Recorded(connection, configured=True)
        if (recorded := self._no_longer_configured.get(name)) is None:
            recorded = Recorded(Connection(name, account_mapping=self.mapping_of_others), configured=False)
            self._no_longer_configured[name] = recorded
        return recorded
