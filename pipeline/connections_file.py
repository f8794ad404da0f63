"""Reads the connections file: YAML to a frozen configuration, every mistake refused by its key and line."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterator, Mapping

import msgspec
import yaml
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline.errors import UsageError, choice, reason
from transforms.core.connections import IDENTIFY_TRAITS, AccountMapping, Connection, Connections

_MAX_BYTES = 1 << 20
_ROOT = "$"
_TEXT, _BOOL, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "null", "merge"))
_STRUCTS: Mapping[str, type[msgspec.Struct]] = {
    _ROOT: Connections,
    "connections": Connection,
    "account_mapping": AccountMapping,
}
_KINDS = {
    "array": ("a list", "write [a, b], or one item a line after a dash"),
    "bool": ("true or false", "write one of these, without quotes"),
    "object": ("a mapping", "write its keys below it, indented"),
    "str": ("text", "put text that YAML reads as something else in quotes"),
}


def load_connections(path: str) -> Connections:
    """Reads a connections file, local or in any file system that Beam reads.

    Numbers and dates are text as written, so that a project id of digits, even `0123`, is itself. Raises UsageError,
    naming the key and the line.
    """
    try:
        content = _read(path)
        return _Document(content.decode("utf-8-sig")).connections()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = _DocumentError("is not text in UTF-8", "save it as UTF-8", line=line)
    except _DocumentError as error:
        found = error
    raise UsageError(found.problem, found.remedy, option="--connections", value=path, where=found.where)


class _DocumentError(Exception):
    """What is wrong in a connections file, and where."""

    def __init__(self, problem: str, remedy: str, *, line: int | None = None, key: str = "") -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy
        self.where = ", ".join(part for part in ("" if line is None else f"line {line}", key) if part)


def _read(path: str) -> bytes:
    try:
        if FileSystems.get_scheme(path) is None:
            path = os.path.expanduser(path)
        elif not FileSystems.match([path])[0].metadata_list:
            raise FileNotFoundError
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            content: bytes = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _DocumentError("no such file", "give a YAML file, local or gs://") from None
    except IsADirectoryError:
        raise _DocumentError("is a folder", "give the YAML file in it") from None
    except OSError as error:
        raise _DocumentError(f"cannot be read: {reason(error)}", "give a file that you may read") from None
    except ValueError:
        raise _DocumentError("is in no file system known here", "give a local path or gs://BUCKET/FILE") from None
    if len(content) > _MAX_BYTES:
        raise _DocumentError("is larger than 1 MiB", "give the YAML file of the connections")
    return content


class _Loader(yaml.SafeLoader):
    """YAML whose only plain scalars that are not text are booleans and null."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (_BOOL, _NULL, _MERGE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Document:
    """A YAML text, and the line of every key and item, by its path as msgspec writes it (`$.connections[0].name`)."""

    def __init__(self, text: str) -> None:
        self._lines = {_ROOT: 1}
        try:
            loader = _Loader(text)
            root = loader.get_single_node()
            if root is None:
                raise _DocumentError("is empty", "list the connections, or leave the option out")
            if not isinstance(root, yaml.MappingNode):
                raise _DocumentError("is not a mapping of keys to values", "begin a line with `connections:`")
            self._index(root, _ROOT, set())
            self._content = loader.construct_document(root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = None if mark is None else mark.line + 1
            problem = f"is not YAML: {error.problem or error.context}"
            raise _DocumentError(problem, "check indentation and quotes there", line=line) from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise _DocumentError("holds a control character", "remove it", line=line) from None
        except RecursionError:
            raise _DocumentError("is nested too deeply", "give the YAML file of the connections") from None

    def connections(self) -> Connections:
        """The configuration; raises _DocumentError where it is none."""
        try:
            connections = msgspec.convert(self._content, Connections)
        except msgspec.ValidationError as error:
            raise self._invalid(str(error)) from None
        for path in self._useless_paths(connections):
            problem = f"means nothing unless the method is {IDENTIFY_TRAITS}"
            raise self._error_at(path, problem, "remove it, or change the method")
        for place, problem, remedy in connections.contradictions():
            parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
            raise self._error_at("".join([_ROOT, *parts]), problem, remedy)
        return connections

    def _index(self, node: yaml.Node, path: str, seen: set[int]) -> None:
        if id(node) in seen:  # an alias, perhaps of what holds it
            return
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.tag not in (_TEXT, _MERGE):
                    raise _DocumentError("has a key that is not text", "put the key in quotes", line=line, key=path[2:])
                place = f"{path}.{key.value}"
                if key.value in lines:
                    problem = f"is there already, on line {lines[key.value]}"
                    raise _DocumentError(problem, "keep one of them", line=line, key=place[2:])
                lines[key.value] = self._lines[place] = line
                self._index(value, place, seen)
        elif isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                place = f"{path}[{position}]"
                self._lines[place] = item.start_mark.line + 1
                self._index(item, place, seen)
        elif node.tag == _NULL:
            raise self._error_at(path, "is empty", "write something there, or leave the key out")
        elif node.tag != _TEXT and not (node.tag == _BOOL and node.value.lower() in yaml.SafeLoader.bool_values):
            raise self._error_at(path, f"has the YAML tag {node.tag!r}", "write the value without a tag")

    def _useless_paths(self, connections: Connections) -> Iterator[str]:
        for index, connection in enumerate(connections.connections):
            place = f"{_ROOT}.connections[{index}].account_mapping"
            if connection.account_mapping.method != IDENTIFY_TRAITS:
                yield from (path for field in ("id", "name") if (path := f"{place}.{field}") in self._lines)

    def _error_at(self, path: str, problem: str, remedy: str) -> _DocumentError:
        """The error at the path, on its line, or where an alias or a merge hides that, on that of what holds it."""
        place = path
        while place not in self._lines:
            place = place[: max(place.rfind("."), place.rfind("["))]
        return _DocumentError(problem, remedy, line=self._lines[place], key=path[2:])

    def _invalid(self, message: str) -> _DocumentError:
        """The error that msgspec words as `WHAT - at `PATH``, or at the top level as `WHAT` alone."""
        located = re.fullmatch(r"(.*) - at `(\$[\w.\[\]]*)`", message, re.DOTALL)
        what, path = located.groups() if located else (message, _ROOT)
        if unknown := re.fullmatch("Object contains unknown field `(.*)`", what, re.DOTALL):
            return self._error_at(f"{path}.{unknown[1]}", "unknown key", _known_keys(unknown[1], _fields(path)))
        if missing := re.fullmatch("Object missing required field `(.*)`", what):
            return self._error_at(path, f"has no {missing[1]}", f"add {missing[1]}: ...")
        if wrong := re.fullmatch("Invalid enum value '(.*)'", what, re.DOTALL):
            holder, _, field = path.rpartition(".")
            choices = typing.get_args(_fields(holder)[field])
            return self._error_at(path, f"{wrong[1]!r} is unknown", choice(wrong[1], choices))
        if mistyped := re.fullmatch(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`", what):
            expected, remedy = _KINDS[mistyped[1]]
            return self._error_at(path, f"is {_KINDS[mistyped[2]][0]} where {expected} is expected", remedy)
        return self._error_at(path, "is blank", "write something there, or leave the key out")


def _fields(path: str) -> dict[str, typing.Any]:
    """The fields of the struct at the path, and their types."""
    return typing.get_type_hints(_STRUCTS[re.sub(r"\[\d+\]$", "", path.rpartition(".")[2])])


def _known_keys(given: str, fields: Mapping[str, object]) -> str:
    for holder, struct in _STRUCTS.items():
        if given in struct.__struct_fields__:
            return "it belongs at the top level" if holder == _ROOT else f"it belongs under {holder}"
    return choice(given, fields)
