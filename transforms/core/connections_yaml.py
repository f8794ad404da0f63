"""The text of a connections file: YAML to a frozen configuration, every mistake refused by its key and line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import msgspec
import yaml
from msgspec import inspect

from transforms.core.connections import (
    COUNT_PATTERN,
    IDENTIFY_TRAITS,
    ORIGIN_PATTERN,
    REFERENCE_PATTERN,
    Connections,
)
from transforms.core.usage_errors import choice, is_encodable, shortened

MAX_BYTES: Final = 1 << 20
"""What a connections file may have."""
_MOST_VALUES = MAX_BYTES
"""So many values fit into a file without aliases."""
_TEXT, _BOOL, _NULL, _MERGE, _MAPPING, _LIST = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "null", "merge", "map", "seq")
)
_NAMES = {list: "a list", bool: "true or false", dict: "a mapping", str: "text"}
_REMEDIES = {
    list: "write [a, b], or one item a line after a dash",
    bool: "write one of these, without quotes",
    dict: "write its keys below it, indented",
    str: "put text that YAML reads as something else in quotes",
}
_HALF = ("holds half of a surrogate pair", "write the whole character")
_FILL = "write something there, or leave the key out"
_BLANK = ("is blank", _FILL)
_UNLIKE = {
    REFERENCE_PATTERN: ("is a secret that is written out", "write ${NAME} of an environment variable, or file:PATH"),
    ORIGIN_PATTERN: ("is not an origin", "write https://HOST as browsers send it, without a path, or *"),
    COUNT_PATTERN: ("is not a whole number from 1", "write digits, such as 1000"),
}
"""What is wrong with text that is unlike a pattern, and what to do. The text is not shown: it may be a secret."""

_VARIABLE = re.compile(r"\$\{\w+\}(?=[ \t\r\n]*[,\]}])")
"""What stands for an environment variable, as an item of a list in brackets."""

KeyPath = tuple[str | int, ...]
"""Keys and indexes from the top level of the file: `("connections", 0, "name")`."""


def read_connections(content: bytes) -> Connections:
    """The configuration that a connections file's bytes are.

    Numbers and dates are text as written, so that a project id of digits, even `0123`, is itself. Raises
    ConnectionsError, naming the key and the line.
    """
    if len(content) > MAX_BYTES:
        raise ConnectionsError("is larger than 1 MiB", "give the YAML file of the connections")
    try:
        return _Document(content.decode("utf-8-sig")).connections()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConnectionsError("is not text in UTF-8", "save it as UTF-8", line=line) from None


class ConnectionsError(Exception):
    """What is wrong in a connections file, and where."""

    def __init__(self, problem: str, remedy: str, *, line: int | None = None, path: KeyPath = ()) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy
        self.where = ", ".join(part for part in ("" if line is None else f"line {line}", _written(path)) if part)


def _written(path: KeyPath) -> str:
    """`connections[0].name`"""
    return shortened("".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix("."))


class _Loader(yaml.SafeLoader):
    """YAML whose only plain scalars that are not text are booleans and null, and in whose lists `${NAME}` needs no
    quotes."""

    def scan_plain(self) -> yaml.ScalarToken:
        reference = _VARIABLE.match(self.buffer, self.pointer) if self.flow_level else None
        if reference is None:
            return super().scan_plain()
        start = self.get_mark()
        self.forward(len(reference[0]))
        self.allow_simple_key = False
        return yaml.ScalarToken(reference[0], True, start, self.get_mark())


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (_BOOL, _NULL, _MERGE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Document:
    """The values of a YAML text, and the line of every key and item by its path."""

    def __init__(self, text: str) -> None:
        self._lines: dict[KeyPath, int] = {(): 1}
        try:
            loader = _Loader(text)
            root = loader.get_single_node()
            if root is None:
                raise ConnectionsError("is empty", "list the connections, or leave the option out")
            if not isinstance(root, yaml.MappingNode):
                raise ConnectionsError("is not a mapping of keys to values", "begin a line with `connections:`")
            self._index(root, (), set())
            if _values(root, {}) > _MOST_VALUES:
                raise ConnectionsError("repeats itself too often by aliases", "write what they stand for")
            self._content = loader.construct_document(root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = None if mark is None else mark.line + 1
            problem = f"is not YAML: {error.problem or error.context}"
            raise ConnectionsError(problem, "check indentation and quotes there", line=line) from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise ConnectionsError("holds a control character", "remove it", line=line) from None
        except RecursionError:
            raise ConnectionsError("is nested too deeply", "give the YAML file of the connections") from None
        except (ValueError, OverflowError):  # of "\\U00110000", which it does not check
            line = loader.line + 1
            raise ConnectionsError(
                "has an escape sequence for no character", "write the character", line=line
            ) from None

    def connections(self) -> Connections:
        """The configuration; raises ConnectionsError where it is none."""
        self._check(self._content, inspect.type_info(Connections), ())
        connections = msgspec.convert(self._content, Connections)
        for path in self._useless_paths(connections):
            problem = f"means nothing unless the method is {IDENTIFY_TRAITS}"
            self._refuse(path, problem, "remove it, or change the method")
        for path, problem, remedy in connections.contradictions():
            self._refuse(path, problem, remedy)
        return connections

    def _index(self, node: yaml.Node, path: KeyPath, visited: set[int]) -> None:
        """Notes the lines of a node's keys and items, and refuses what no configuration may hold, whatever its keys."""
        if id(node) in visited:  # an alias, perhaps of what holds it
            return
        visited.add(id(node))
        if isinstance(node, yaml.ScalarNode) and not is_encodable(node.value):
            self._refuse(path, *_HALF)
        if node.tag not in (_TEXT, _BOOL, _NULL, _MAPPING, _LIST):
            self._refuse(path, f"has the YAML tag {shortened(repr(node.tag))}", "write the value without a tag")
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.tag not in (_TEXT, _MERGE):
                    raise ConnectionsError("has a key that is not text", "put the key in quotes", line=line, path=path)
                if not is_encodable(key.value):
                    raise ConnectionsError(*_HALF, line=line, path=path)
                place = (*path, key.value)
                if key.value in lines:
                    problem = f"is there already, on line {lines[key.value]}"
                    raise ConnectionsError(problem, "keep one of them", line=line, path=place)
                lines[key.value] = self._lines[place] = line
                self._index(value, place, visited)
        elif isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                place = (*path, position)
                self._lines[place] = item.start_mark.line + 1
                self._index(item, place, visited)
        elif node.tag == _NULL:
            self._refuse(path, "is empty", _FILL)
        elif node.tag == _BOOL and node.value.lower() not in yaml.SafeLoader.bool_values:
            self._refuse(path, f"has the YAML tag {shortened(repr(node.tag))}", "write the value without a tag")

    def _check(self, value: Any, expected: inspect.Type, path: KeyPath) -> None:
        """Refuses the first value that is not of the expected type, so that what is left can be converted."""
        if isinstance(expected, inspect.UnionType):  # of a type and None; nothing in a document is null
            (expected,) = (member for member in expected.types if not isinstance(member, inspect.NoneType))
        if isinstance(expected, inspect.StructType):
            self._check_kind(value, dict, path)
            self._check_fields(value, expected, path)
        elif isinstance(expected, inspect.VarTupleType):
            self._check_kind(value, list, path)
            for position, item in enumerate(value):
                self._check(item, expected.item_type, (*path, position))
        elif isinstance(expected, inspect.BoolType):
            self._check_kind(value, bool, path)
        else:
            self._check_kind(value, str, path)
            if isinstance(expected, inspect.LiteralType) and value not in expected.values:
                self._refuse(path, f"{shortened(repr(value))} is unknown", choice(value, map(str, expected.values)))
            if isinstance(expected, inspect.StrType) and expected.pattern and not re.search(expected.pattern, value):
                self._refuse(path, *_UNLIKE.get(expected.pattern, _BLANK))

    def _check_fields(self, value: dict[str, Any], struct: inspect.StructType, path: KeyPath) -> None:
        fields = {field.name: field for field in struct.fields}
        for key, item in value.items():
            if key not in fields:
                self._refuse((*path, key), "unknown key", _known_keys(key, struct))
            self._check(item, fields[key].type, (*path, key))
        for field in struct.fields:
            if field.required and field.name not in value:
                self._refuse(path, f"has no {field.name}", f"add {field.name}: ...")

    def _check_kind(self, value: object, expected: type, path: KeyPath) -> None:
        if type(value) is not expected:
            problem = f"is {_NAMES[type(value)]} where {_NAMES[expected]} is expected"
            self._refuse(path, problem, _REMEDIES[expected])

    def _useless_paths(self, connections: Connections) -> Iterator[KeyPath]:
        for index, connection in enumerate(connections.connections):
            if connection.account_mapping.method != IDENTIFY_TRAITS:
                place = ("connections", index, "account_mapping")
                yield from (path for field in ("id", "name") if (path := (*place, field)) in self._lines)

    def _refuse(self, path: KeyPath, problem: str, remedy: str) -> NoReturn:
        """Raises the error with its line, or where an alias or a merge hides that, with the line of what holds it."""
        place = path
        while place not in self._lines:
            place = place[:-1]
        raise ConnectionsError(problem, remedy, line=self._lines[place], path=path)


def _values(node: yaml.Node, counted: dict[int, float]) -> float:
    """How many values a node stands for once each alias in it is written out; infinite where it holds itself. `counted`
    are those of the nodes that are known, so that each is looked at once."""
    if id(node) not in counted:
        counted[id(node)] = math.inf  # until it is known: an alias of it within it never ends
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        counted[id(node)] = 1 + sum(_values(part, counted) for part in parts)
    return counted[id(node)]


def _known_keys(key: str, struct: inspect.StructType) -> str:
    """Where an unknown key belongs, else what it may be a misspelling of."""
    for holder, other in _structs(inspect.type_info(Connections), ""):
        if any(field.name == key for field in other.fields):
            return f"it belongs under {holder}" if holder else "it belongs at the top level"
    return choice(key, (field.name for field in struct.fields))


def _structs(expected: inspect.Type, key: str) -> Iterator[tuple[str, inspect.StructType]]:
    """(key that holds it, struct) of the configuration, the outer one first; the top level has the key ""."""
    if isinstance(expected, inspect.StructType):
        yield key, expected
        for field in expected.fields:
            yield from _structs(field.type, field.name)
    elif isinstance(expected, inspect.VarTupleType):
        yield from _structs(expected.item_type, key)
    elif isinstance(expected, inspect.UnionType):
        for member in expected.types:
            yield from _structs(member, key)
