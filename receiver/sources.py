"""Who may send: the connections that have a `receive` in the connections file, with their secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from receiver.asgi import Headers
from receiver.authentication import API_KEY_HEADERS, WRITE_KEY_HEADERS, Keyring
from transforms.core.connection_paths import folded_name, names_by_path
from transforms.core.connections import Connection, Connections, Receive
from transforms.core.connections_yaml import MAX_BYTES, ConnectionsError, read_connections
from transforms.core.usage_errors import UsageError

_OPTION = "--connections"
_RECEIVE = "add to one: receive: {write_keys: [${NAME_OF_A_VARIABLE}]}, or an api_key or a shared_secret"
_LONGEST_SECRET = 4096


@dataclass(frozen=True, kw_only=True)
class ReceivingConnection:
    """A connection and what its senders prove themselves by. `path` is its name as the webhook's path has it."""

    name: str
    path: str
    api_key: str | None = field(default=None, repr=False)
    shared_secret: str | None = field(default=None, repr=False)
    write_keys: tuple[str, ...] = field(default=(), repr=False)
    origins: frozenset[str] = frozenset()
    calls_per_second: int | None = None

    @property
    def has_webhook(self) -> bool:
        """Whether its webhook has anything to prove a sender by."""
        return self.api_key is not None or self.shared_secret is not None

    def allows(self, origin: str) -> bool:
        """Whether browsers on that site may send to it."""
        return origin in self.origins or "*" in self.origins


class Sources:
    """The connections that receive, by the path of their webhook and by their write keys.

    Raises ValueError, without the key, where two have one key."""

    def __init__(self, connections: Iterable[ReceivingConnection]) -> None:
        self.connections = tuple(connections)
        self._by_path = {connection.path: connection for connection in self.connections}
        self._write_keys = Keyring(
            (key, connection) for connection in self.connections for key in connection.write_keys
        )
        self._api_keys = {
            connection.name: Keyring([(connection.api_key, connection)])
            for connection in self.connections
            if connection.api_key is not None
        }
        _check_keys(self.connections)

    def webhook(self, path: str) -> ReceivingConnection | None:
        """The connection whose webhook has that path, where it has one."""
        connection = self._by_path.get(path)
        return connection if connection is not None and connection.has_webhook else None

    def by_write_key(self, candidates: Iterable[bytes]) -> ReceivingConnection | None:
        """The connection that has one of the keys."""
        return self._write_keys.find(candidates)

    def by_headers(self, headers: Headers) -> ReceivingConnection | None:
        """The connection whose write key stands in the headers."""
        return self._write_keys.find_in(headers, WRITE_KEY_HEADERS)

    def has_api_key(self, connection: ReceivingConnection, headers: Headers) -> bool:
        """Whether the connection's API key stands in the headers."""
        keyring = self._api_keys.get(connection.name)
        return keyring is not None and keyring.find_in(headers, API_KEY_HEADERS) is not None

    def allow(self, origin: str) -> bool:
        """Whether any connection takes calls from browsers on that site."""
        return any(connection.allows(origin) for connection in self.connections)


def _check_keys(connections: Iterable[ReceivingConnection]) -> None:
    owners: dict[str, str] = {}
    for connection in connections:
        for key in (*connection.write_keys, *filter(None, (connection.api_key,))):
            owner = owners.setdefault(key, connection.name)
            if owner != connection.name:
                raise ValueError(owner, connection.name)


def load_sources(path: str, environment: Mapping[str, str] = os.environ) -> Sources:
    """Reads a local connections file, and the secrets that it names. Raises UsageError."""
    connections = load_connections(path)
    try:
        names_by_path(connection.name for connection in connections.connections)
    except ValueError as error:
        first, second = error.args
        problem = f"the connections {first!r} and {second!r} are both {folded_name(first)!r} in a path"
        raise _error(path, problem, "rename one of them") from None
    receiving = []
    for index, connection in enumerate(connections.connections):
        if connection.receive is not None:
            where = f"connections[{index}].receive"
            receiving.append(_receiving(connection, connection.receive, _Secrets(path, where, environment)))
    if not receiving:
        raise _error(path, "no connection has a `receive`", _RECEIVE)
    try:
        return Sources(receiving)
    except ValueError as error:
        first, second = error.args
        problem = f"the connections {first!r} and {second!r} have one key"
        raise _error(path, problem, "give each a key of its own") from None


def load_connections(path: str) -> Connections:
    """Reads a local connections file. Raises UsageError."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return read_connections(file.read(MAX_BYTES + 1))
    except ConnectionsError as error:
        raise UsageError(str(error), error.remedy, option=_OPTION, value=path, where=error.where) from None
    except FileNotFoundError:
        raise _error(path, "no such file", "give a local YAML file") from None
    except IsADirectoryError:
        raise _error(path, "is a folder", "give the YAML file in it") from None
    except (OSError, ValueError) as error:  # ValueError: of a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise _error(path, f"cannot be read: {reason}", "give a file that you may read") from None


def _receiving(connection: Connection, receive: Receive, secrets: _Secrets) -> ReceivingConnection:
    receiving = ReceivingConnection(
        name=connection.name,
        path=folded_name(connection.name),
        api_key=secrets.optional("api_key", receive.api_key),
        shared_secret=secrets.optional("shared_secret", receive.shared_secret),
        write_keys=tuple(
            secrets.value(f"write_keys[{position}]", reference) for position, reference in enumerate(receive.write_keys)
        ),
        origins=frozenset(origin.rstrip("/").lower() for origin in receive.origins),
        calls_per_second=None if receive.calls_per_second is None else int(receive.calls_per_second),
    )
    if not receiving.has_webhook and not receiving.write_keys:
        raise secrets.error("", "has no api_key, shared_secret or write_keys", "add one: nobody could send")
    if receiving.has_webhook and not receiving.path:
        problem = f"the name {connection.name!r} has no letter a-z and no digit, so that its webhook has no path"
        raise secrets.error("", problem, "give it a name with one")
    return receiving


class _Secrets:
    """Reads what the references of one connection stand for; its errors name the reference, and never the secret."""

    def __init__(self, path: str, where: str, environment: Mapping[str, str]) -> None:
        self._path = path
        self._where = where
        self._environment = environment

    def optional(self, key: str, reference: str | None) -> str | None:
        return None if reference is None else self.value(key, reference)

    def value(self, key: str, reference: str) -> str:
        if reference.startswith("file:"):
            source = reference.removeprefix("file:").strip()
            secret = self._content(key, source)
        else:
            source = reference[2:-1]
            if source not in self._environment:
                problem = f"the environment variable {source} is not set"
                raise self.error(key, problem, "set it, and start the receiver again")
            secret = self._environment[source]
        secret = secret.strip()
        if not secret:
            raise self.error(key, f"{source} is empty", "put the secret there")
        if len(secret) > _LONGEST_SECRET or not secret.isprintable():
            problem = f"{source} holds several lines, or more than {_LONGEST_SECRET} characters"
            raise self.error(key, problem, "put one secret there, and nothing else")
        return secret

    def _content(self, key: str, file: str) -> str:
        remedy = "give a file that holds the secret, and nothing else"
        try:
            with Path(file).expanduser().open("rb") as opened:
                return opened.read(_LONGEST_SECRET + 2).decode()
        except UnicodeDecodeError:
            raise self.error(key, f"the file {file} is not text in UTF-8", remedy) from None
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: of a home folder that is not known
            reason = getattr(error, "strerror", None) or str(error)
            raise self.error(key, f"the file {file} cannot be read: {reason}", remedy) from None

    def error(self, key: str, problem: str, remedy: str) -> UsageError:
        where = f"{self._where}.{key}" if key else self._where
        return UsageError(problem, remedy, option=_OPTION, value=self._path, where=where)


def _error(path: str, problem: str, remedy: str) -> UsageError:
    return UsageError(problem, remedy, option=_OPTION, value=path)
