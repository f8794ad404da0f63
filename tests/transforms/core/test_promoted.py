"""Traits as columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tests.transforms.core.calls import second
from transforms.core import promoted, raw_json
from transforms.core.promoted import PromotedTraits
from transforms.core.stamps import Value


def of(**traits: bytes) -> PromotedTraits:
    return PromotedTraits.of_call({name: Raw(value) for name, value in traits.items()})


@pytest.mark.parametrize(
    ("what", "traits", "expected"),
    [
        ("the spec's spelling", {"firstName": (1, b'"Ann"'), "first_name": (2, b'"Bob"')}, "Ann"),
        ("else snake case", {"first_name": (1, b'"Bob"'), "FirstName": (2, b'"Cy"')}, "Bob"),
        ("else the newest", {"FirstName": (1, b'"Ann"'), "FIRST NAME": (2, b'"Bob"'), "first-name": (0, b'""')}, "Bob"),
        ("of one call the greater value", {"FirstName": (1, b'"Ann"'), "First Name": (1, b'"Bob"')}, "Bob"),
        ("an empty one is as if absent", {"firstName": (9, b'" "'), "first_name": (1, b'"Bob"')}, "Bob"),
        ("so is one that is no text", {"firstName": (9, b'{"a":1}'), "FIRSTNAME": (1, b'"Bob"')}, "Bob"),
        ("another trait", {"firstNames": (1, b'"Ann"'), "name": (1, b'"Ann"')}, None),
        ("nothing", {}, None),
    ],
)
def test_the_trait_of_a_column(what: str, traits: dict[str, tuple[int, bytes]], expected: str | None) -> None:
    for order in (traits, dict(reversed(traits.items()))):
        values: dict[str, Value] = {name: ((time, "m"), value) for name, (time, value) in order.items()}
        assert PromotedTraits.of_values(values).text("first_name") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'"\\u00c9\\n"', "\u00c9\n"),
        (b'" x "', " x "),
        (b"4915112345678", "4915112345678"),
        (b"12345678901234567890123", "12345678901234567890123"),
        (b"7.50", "7.5"),
        (b"true", "true"),
        (b"false", "false"),
        *((value, None) for value in (b'""', b'" \\u00a0"', b"null", b"[]", b'["x"]', b"{}", b'{"a":1}')),
    ],
)
def test_texts(value: bytes, expected: str | None) -> None:
    assert of(phone=value).text("phone") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'"2023-11-14T22:13:20.000Z"', second(0)),
        (b'"2023-11-14 22:13:20 +0000 UTC"', second(0)),
        (b"1700000000000", second(0)),
        (b"1700000000", second(0)),
        (b'"1700000000000"', second(0)),
        (b"7", 7_000_000),
        *((value, None) for value in (b'"2023-02-30"', b"true", b"[]", b"1e400", b"1e300", b'""', b'"soon"')),
    ],
)
def test_times(value: bytes, expected: int | None) -> None:
    assert of(createdAt=value).person("u").created_at == expected
    assert of(created_at=value).person("u").created_at == expected
    assert of(created=value).person("u").created_at is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0", 0),
        (b"-5", -5),
        (b"5.0", 5),
        (b"5e2", 500),
        (b'"329"', 329),
        (b'"007"', 7),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        *((b'"9223372036854775808"', None), (b"9223372036854775808", None), (b"1e300", None), (b"1e400", None)),
        *((value, None) for value in (b"5.5", b'"5.0"', b'"51-200"', b'"1,200"', b'"-5"', b'""', b"true", b"[5]")),
        (b'"\\u0663"', None),
    ],
)
def test_whole_numbers(value: bytes, expected: int | None) -> None:
    assert of(employees=value).integer("employees") == expected


@pytest.mark.parametrize(
    ("traits", "name", "email"),
    [
        ({"name": b'""', "firstName": b'"Ann"', "lastName": b'"Lee"', "email": b'""'}, "Ann Lee", "u@x.example"),
        ({"name": b'"A"', "firstName": b'"Ann"', "email": b'"a@b.example"'}, "A", "a@b.example"),
        ({"lastName": b'"Lee"', "email": b"5"}, "Lee", "5"),
        ({}, None, "u@x.example"),
    ],
)
def test_a_persons_name_and_address_have_something_to_fall_back_to(
    traits: dict[str, bytes], name: str | None, email: str
) -> None:
    person = of(**traits).person("u@x.example")
    assert (person.name, person.email) == (name, email)
    assert of().person("u").email is None


def test_a_companys_name_is_a_string() -> None:
    assert of(Name=b'"Acme"').company().name == "Acme"
    assert of(name=b"5", NAME=b'" "').company().name is None


def test_columns_as_a_document() -> None:
    person = of(phone=b"5", createdAt=b"0", Title=b'"Dr"').person("u")
    assert person.document() == Raw(b'{"phone":"5","title":"Dr","created_at":"1970-01-01T00:00:00.000000Z"}')
    assert of(employees=b"5").company().document() == Raw(b'{"employees":5}')
    assert of(other=b"5").company().document() is None


@given(st.dictionaries(st.sampled_from(["name", "Name", "NAME", "na-me", "n a m e"]), st.integers(0, 3), min_size=1))
def test_the_order_of_traits_does_not_matter(times: dict[str, int]) -> None:
    values: dict[str, Value] = {name: ((time, "m"), f'"{name}"'.encode()) for name, time in times.items()}
    backwards = dict(reversed(values.items()))
    assert PromotedTraits.of_values(values).text("name") == PromotedTraits.of_values(backwards).text("name")


@pytest.mark.parametrize(
    ("what", "after", "expected"),
    [
        ("all that are not null, by name", None, ["a", "b", "c"]),
        ("those after a stamp", (1, "m"), ["a", "b"]),
        ("those after a message of the same time", (2, "m"), ["a"]),
        ("none", (3, ""), []),
    ],
)
def test_the_traits_that_stand(what: str, after: tuple[int, str] | None, expected: list[str]) -> None:
    values = {"c": ((1, "m"), b"3"), "d": ((9, "m"), b"null"), "a": ((2, "n"), b"1"), "b": ((2, "m"), b"2")}
    assert list(promoted.newest(values, after).items()) == [(name, values[name]) for name in expected]


def test_a_document_has_each_value_as_it_was_written() -> None:
    traits = {"b": b"1.50", 'quote"': b'{ "x":\t"\\u0041" }', "\u00e9": b"[]"}
    document = promoted.document({name: ((1, "m"), value) for name, value in traits.items()})
    assert document == Raw('{"b":1.50,"quote\\"":{ "x":\t"\\u0041" },"\u00e9":[]}'.encode())
    assert promoted.document({}) == Raw(b"{}")


NAMES = st.sampled_from(["email", "Email", "name", "firstName", "first_name", "lastName", "phone", "createdAt", "plan"])
VALUES = st.sampled_from(
    [
        *(b'"Ann"', b'"a@b.example"', b'""', b'" \\u2003"', b'"2023-11-14"', b"null", b"true", b"{}"),
        *(b"5", b"1.5", b"-1700000000000", b"12345678901234567890123", b"1e22", b"1e400"),
    ]
)


@given(st.dictionaries(NAMES, VALUES), st.sampled_from(["u", "u@x.example"]))
def test_a_person_of_a_call_is_that_of_its_traits(traits: dict[str, bytes], id: str) -> None:
    raw = {name: Raw(value) for name, value in traits.items()}
    expected = PromotedTraits.of_call(raw).person(id)
    assert PromotedTraits.person_of_call(raw_json.encode(raw), id) == expected
