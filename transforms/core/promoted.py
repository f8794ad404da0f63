"""Traits as columns: by one rule for tables and views (`docs/semantics.md`, sections 4 and 5)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from schemas.tables import INT64, Timestamp
from transforms.core import emails, raw_json, times
from transforms.core.raw_json import NULL, peek
from transforms.core.stamps import Stamp, Value

_COLUMNS: Final = {
    **{name: name for name in ("email", "name", "phone", "title", "username", "website")},
    **{name: name for name in ("industry", "plan", "employees", "domain")},
    "first_name": "firstName",
    "last_name": "lastName",
    "created_at": "createdAt",
}
"""The trait of each promoted column, and of an account's domain, as Segment's spec spells it."""
_DIGITS: Final = re.compile(r"\s*0*([0-9]{1,19})\s*")
_NO_STAMP: Final = (0, "")
_encode: Final = msgspec.json.Encoder().encode


class PersonColumns(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The columns of a contact that its traits give."""

    email: str | None = None
    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    title: str | None = None
    username: str | None = None
    website: str | None = None
    created_at: Timestamp | None = None

    def document(self) -> Raw | None:
        """Those that are not NULL as JSON, the time as RFC 3339; None where all are."""
        if self.created_at is None:
            return _document(self)
        created_at: Any = times.iso(self.created_at)
        return _document(replace(self, created_at=created_at))


class CompanyColumns(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The columns of an account that its traits give."""

    name: str | None = None
    website: str | None = None
    industry: str | None = None
    plan: str | None = None
    employees: int | None = None

    def document(self) -> Raw | None:
        """Those that are not NULL as JSON; None where all are."""
        return _document(self)


class _UsualTraits(msgspec.Struct, gc=False):
    """The traits of a person as nearly all are sent: spelled as in Segment's spec, and texts."""

    email: str | None = None
    name: str | None = None
    firstName: str | None = None  # noqa: N815
    lastName: str | None = None  # noqa: N815
    phone: str | None = None
    title: str | None = None
    username: str | None = None
    website: str | None = None
    createdAt: str | int | float | None = None  # noqa: N815


_read_usual: Final = msgspec.json.Decoder(_UsualTraits).decode


class PromotedTraits:
    """The traits of a person or a company that a promoted column may come from, in any spelling.

    A column takes the first value that it can hold: that of the trait as the spec spells it, else in snake case, else
    the newest of those whose names differ in case, `_`, `-` and spaces alone.
    """

    def __init__(self, values: Mapping[str, Sequence[Raw | bytes]]) -> None:
        """`values` are the JSON values of each column that has some, the first first."""
        self._values = values

    @classmethod
    def of_values(cls, traits: Mapping[str, Value]) -> PromotedTraits:
        """Those of a person or a company, each with the stamp that set it."""
        spellings: dict[str, list[str]] = {}
        for name in traits:
            column = _column(name)
            if column is not None:
                spellings.setdefault(column, []).append(name)
        values: dict[str, Sequence[bytes]] = {}
        for column, names in spellings.items():
            ranked = sorted(names, key=functools.partial(_rank, column, traits), reverse=True) if names[1:] else names
            values[column] = [traits[name][1] for name in ranked]
        return cls(values)

    @classmethod
    def of_call(cls, traits: Mapping[str, Raw]) -> PromotedTraits:
        """Those of one call, which have one stamp."""
        values: dict[str, Sequence[Raw]] = {}
        for name, raw in traits.items():
            column = _column(name)
            if column is None or raw == NULL:
                continue
            if column in values:  # in several spellings, which is rare
                return cls.of_values({name: (_NO_STAMP, bytes(raw)) for name, raw in traits.items() if raw != NULL})
            values[column] = (raw,)
        return cls(values)

    def person(self, id: str) -> PersonColumns:
        """`id` is what stands in for an e-mail address, where it is one."""
        columns: dict[str, Any] = {}
        for column, values in self._values.items():
            read = _READ_OF_PERSON.get(column)
            value = None if read is None else read(values)
            if value is not None:
                columns[column] = value
        if "email" not in columns and emails.domain(id):
            columns["email"] = id
        if "name" not in columns:
            columns["name"] = _full_name(columns.get("first_name"), columns.get("last_name"))
        return PersonColumns(**columns)

    @classmethod
    def person_of_call(cls, document: Raw, id: str) -> PersonColumns:
        """As `person`, of the traits of one call as they are sent."""
        traits = raw_json.decode_fields(document)
        if not any(map(_is_spelled_otherwise, traits)):
            try:
                return _usual_person(_read_usual(document), id)
            except (msgspec.ValidationError, _BlankTextError):
                pass
        return cls.of_call(traits).person(id)

    def company(self) -> CompanyColumns:
        return CompanyColumns(
            name=self.string("name"),
            website=self.text("website"),
            industry=self.text("industry"),
            plan=self.text("plan"),
            employees=self.integer("employees"),
        )

    def text(self, column: str) -> str | None:
        """A string that is not blank as it is, a number or a boolean as its canonical JSON text."""
        return _text(self._values.get(column, ()))

    def string(self, column: str) -> str | None:
        """A string that is not blank."""
        strings = (value for raw in self._values.get(column, ()) if isinstance(value := peek(raw), str))
        return next((string for string in strings if string.strip()), None)

    def integer(self, column: str) -> int | None:
        """A whole number of 64 bits, also as `329.0` or as a string of digits, blanks around them."""
        numbers = (_whole(peek(raw)) for raw in self._values.get(column, ()))
        return next((number for number in numbers if number is not None), None)


class _BlankTextError(Exception):
    """A text counts as absent."""


def _usual_person(traits: _UsualTraits, id: str) -> PersonColumns:
    """Raises _BlankTextError."""
    email, name, created_at = traits.email, traits.name, traits.createdAt
    first_name, last_name = traits.firstName, traits.lastName
    for text in (email, name, first_name, last_name, traits.phone, traits.title, traits.username, traits.website):
        if text is not None and not text.strip():
            raise _BlankTextError
    return PersonColumns(
        (id if emails.domain(id) else None) if email is None else email,
        _full_name(first_name, last_name) if name is None else name,
        first_name,
        last_name,
        traits.phone,
        traits.title,
        traits.username,
        traits.website,
        None if created_at is None else times.read(created_at),
    )


def _full_name(first_name: str | None, last_name: str | None) -> str | None:
    return " ".join(name for name in (first_name, last_name) if name is not None) or None


def _text(values: Iterable[Raw | bytes]) -> str | None:
    for raw in values:
        value = peek(raw)
        if isinstance(value, str):
            if value.strip():
                return value
        elif isinstance(value, int | float):
            return raw_json.canonical(raw)
    return None


def _timestamp(values: Iterable[Raw | bytes]) -> Timestamp | None:
    """A value in one of the forms of a time."""
    moments = (times.read(peek(raw)) for raw in values)
    return next((moment for moment in moments if moment is not None), None)


_READ_OF_PERSON: Final[Mapping[str, Callable[[Iterable[Raw | bytes]], Any]]] = {
    column: _timestamp if column == "created_at" else _text for column in PersonColumns.__struct_fields__
}
"""How each column of a person is read from the values of its traits."""


def newest(values: Mapping[str, Value], after: Stamp | None = None) -> dict[str, Value]:
    """The traits that stand, by name: those set after a stamp and not to null."""
    return {
        name: value
        for name, value in sorted(values.items())
        if value[1] != b"null" and (after is None or value[0] > after)
    }


def document(traits: Mapping[str, Value]) -> Raw:
    """The traits as one JSON object, each value as it was written."""
    return raw_json.encode({name: Raw(value) for name, (_, value) in traits.items()})


@functools.lru_cache(maxsize=16_384)
def _column(trait: str) -> str | None:
    """The promoted column that a trait of this name may give."""
    return _BY_FOLDED.get(_folded(trait))


@functools.lru_cache(maxsize=16_384)
def _is_spelled_otherwise(trait: str) -> bool:
    """Whether a trait of this name may give a column of a person, and is not spelled as the spec does."""
    column = _column(trait)
    return column is not None and column in _READ_OF_PERSON and trait != _COLUMNS[column]


def _folded(trait: str) -> str:
    return trait.lower().replace("_", "").replace("-", "").replace(" ", "")


_BY_FOLDED: Final = {_folded(column): column for column in _COLUMNS}


def _rank(column: str, traits: Mapping[str, Value], name: str) -> tuple[bool, bool, Stamp, str]:
    stamp, value = traits[name]
    return name == _COLUMNS[column], name == column, stamp, raw_json.canonical(value)


def _whole(value: object) -> int | None:
    if isinstance(value, str) and (digits := _DIGITS.fullmatch(value)):
        value = int(digits[1])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value in INT64 else None


def _document(columns: PersonColumns | CompanyColumns) -> Raw | None:
    document = _encode(columns)
    return None if document == b"{}" else Raw(document)
