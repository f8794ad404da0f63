"""What a table that exists lacks of what this version writes, in the words of any warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from schemas.tables import Column, Table


class IncompatibleSchemaError(Exception):
    """What stands in the way of an upgrade: a line for each table or column."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class SchemaDifference(NamedTuple):
    """How a table that exists differs: the columns to add, and in one line each what cannot be changed."""

    added: tuple[Column, ...]
    incompatible: tuple[str, ...]


def difference(table: Table, existing: Mapping[str, str], spelled: Callable[[Column], str]) -> SchemaDifference:
    """What it takes to make `existing` (column name to type, in the words of `spelled`) hold `table`.

    A column is added as NULLABLE. A type is never changed, a key column never added, a column never dropped.
    """
    types = {name.lower(): type_ for name, type_ in existing.items()}
    missing = [column for column in table.columns if column.name not in types]
    return SchemaDifference(
        tuple(column for column in missing if column.name not in table.key),
        tuple(_incompatible(table, types, spelled)),
    )


def _incompatible(table: Table, types: Mapping[str, str], spelled: Callable[[Column], str]) -> Iterator[str]:
    for column in table.columns:
        type_ = types.get(column.name)
        if type_ is None:
            if column.name in table.key:
                yield f"table {table.name}, column {column.name}: is missing, and a key column cannot be added"
        elif _folded(type_) != _folded(spelled(column)):
            yield f"table {table.name}, column {column.name}: is {type_}, which cannot become {spelled(column)}"


def _folded(type_: str) -> str:
    """A type without what a warehouse may write in another way: quotes around names, case and spaces."""
    return type_.replace('"', "").replace("`", "").replace(" ", "").upper()
