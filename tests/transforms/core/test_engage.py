"""Engage: which user property a call sets, and what it says of audiences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tests.histories import Message, line
from tests.transforms.core.calls import GROUP, IDENTIFY, PAGE, TRACK, accepted
from transforms.core import engage
from transforms.core.engage import Property

KEY = "Big Spender"
NAME = "big_spender"


def identify(traits: Message, class_: Any = "audience", key: Any = KEY) -> Message:
    return {**IDENTIFY, "traits": traits, "context": context(class_, key)}


def track(properties: Message, class_: Any = "audience", key: Any = KEY) -> Message:
    return {**TRACK, "properties": properties, "context": context(class_, key)}


def context(class_: Any, key: Any) -> Message:
    personas = {"computation_class": class_, "computation_key": key, "namespace": "spa_1"}
    return {"personas": {name: value for name, value in personas.items() if value is not None}}


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        # identify
        ("the computation key", identify({"x": 1, KEY: True}), (KEY, "big_spender", b"true", True)),
        (
            "the computation key, though plain",
            identify({"email": "e", "x": 1}, "trait", "email"),
            ("email", "email", b'"e"', False),
        ),
        (
            "else the only other trait",
            identify({"x": True, "email": "e", "name": "n", "user_id": 1, "anonymous_id": 2}),
            ("x", "x", b"true", True),
        ),
        ("the only trait, without a key", identify({"x": False}, key=None), ("x", "x", b"false", True)),
        ("the only trait, with a key of another type", identify({"x": False}, key=["x"]), ("x", "x", b"false", True)),
        ("two others: plain traits", identify({"x": True, "y": True}), None),
        ("none but plain ones: plain traits", identify({"email": "e", "name": "n"}), None),
        ("plain in another spelling is another trait", identify({"userId": "u"}), ("userId", "user_id", b'"u"', False)),
        ("no traits", identify({}), None),
        # track
        (
            "the audience_key property",
            track({"audience_key": "vip", "vip": True, KEY: False}),
            ("vip", "vip", b"true", True),
        ),
        (
            "the trait_key property",
            track({"trait_key": "LTV", "LTV": 10}, "computed_trait"),
            ("LTV", "ltv", b"10", False),
        ),
        (
            "audience_key before trait_key",
            track({"trait_key": "a", "audience_key": "b", "a": 1, "b": True}),
            ("b", "b", b"true", True),
        ),
        (
            "the class does not choose between them",
            track({"audience_key": "b", "trait_key": "a", "a": 1, "b": 2}, "trait"),
            ("b", "b", b"2", False),
        ),
        ("else the computation key", track({KEY: False}), (KEY, "big_spender", b"false", True)),
        ("an empty audience_key is none", track({"audience_key": "", KEY: True}), (KEY, "big_spender", b"true", True)),
        (
            "an audience_key that is null is none",
            track({"audience_key": None, KEY: True}),
            (KEY, "big_spender", b"true", True),
        ),
        (
            "an audience_key of another type is none",
            track({"audience_key": 5, KEY: True}),
            (KEY, "big_spender", b"true", True),
        ),
        ("it lacks the property that it names", track({"audience_key": "vip", KEY: True}), None),
        ("it lacks the property of the key", track({"x": True}), None),
        ("there is no only property for a track", track({"x": True}, key=None), None),
        ("without a key", track({KEY: True}, key=None), None),
        # classes
        ("a journey step", track({KEY: True}, "journey_step"), (KEY, "big_spender", b"true", True)),
        ("a computed trait", track({KEY: True}, "computed_trait"), (KEY, "big_spender", b"true", False)),
        ("a trait", identify({KEY: "gold"}, "trait"), (KEY, "big_spender", b'"gold"', False)),
        ("another class", identify({KEY: True}, "sql_trait"), None),
        ("a class in capitals: unspecified, another class", identify({KEY: True}, "AUDIENCE"), None),
        ("a class of another type", identify({KEY: True}, ["audience"]), None),
        ("no class", identify({KEY: True}, None), None),
        # values
        ("the string true", identify({KEY: "true"}), (KEY, "big_spender", b"true", True)),
        ("the string false", identify({KEY: "false"}, "journey_step"), (KEY, "big_spender", b"false", True)),
        ("in a trait it stays a string", identify({KEY: "true"}, "trait"), (KEY, "big_spender", b'"true"', False)),
        ("in capitals it stays one: unspecified", identify({KEY: "TRUE"}), (KEY, "big_spender", b'"TRUE"', False)),
        ("null takes the person out", identify({KEY: None}), (KEY, "big_spender", b"null", True)),
        ("null of a trait clears it", identify({KEY: None}, "trait"), (KEY, "big_spender", b"null", False)),
        ("a number says nothing of an audience", identify({KEY: 1}), (KEY, "big_spender", b"1", False)),
        ("an object neither", identify({KEY: {"a": 1}}), (KEY, "big_spender", b'{"a": 1}', False)),
        # other calls
        ("an identify without personas", {**IDENTIFY, "traits": {KEY: True}}, None),
        ("personas of another type", {**IDENTIFY, "traits": {KEY: True}, "context": {"personas": "audience"}}, None),
        ("personas that are a list", {**TRACK, "properties": {KEY: True}, "context": {"personas": ["audience"]}}, None),
        ("a page", {**PAGE, "properties": {KEY: True}, "context": context("audience", KEY)}, None),
        # an account's
        ("a group", {**GROUP, "traits": {KEY: True}, "context": context("audience", KEY)}, (KEY, NAME, b"true", True)),
        ("a group without it", {**GROUP, "context": context("journey_step", KEY)}, None),
        # a journey step that is entered
        ("a track without a value", {**TRACK, "context": context("journey_step", KEY)}, (KEY, NAME, b"true", True)),
        ("an identify without one", {**IDENTIFY, "context": context("journey_step", KEY)}, (KEY, NAME, b"true", True)),
        (
            "an identify with plain traits",
            {**IDENTIFY, "traits": {"email": "x", "a": 1, "b": 2}, "context": context("journey_step", KEY)},
            (KEY, NAME, b"true", True),
        ),
        (
            "a track that leaves",
            {**TRACK, "properties": {KEY: False}, "context": context("journey_step", KEY)},
            (KEY, NAME, b"false", True),
        ),
        ("a step with an empty key", {**IDENTIFY, "context": context("journey_step", "")}, None),
        ("a track with an empty key", {**TRACK, "properties": {"": True}, "context": context("audience", "")}, None),
        (
            "an identify with an empty key",
            {**IDENTIFY, "traits": {"": True, "a": 1}, "context": context("audience", "")},
            ("", "", b"true", True),
        ),
        ("a step without a key", {**IDENTIFY, "context": context("journey_step", None)}, None),
        ("an audience without a value", {**TRACK, "context": context("audience", KEY)}, None),
    ],
)
def test_the_property_that_a_call_sets(
    what: str, message: Message, expected: tuple[str, str, bytes, bool] | None
) -> None:
    call = accepted(message)
    if expected is None:
        assert engage.user_property(call) is None
        return
    sent_as, name, value, in_audience = expected
    assert engage.user_property(call) == Property(sent_as, name, Raw(value), in_audience)
    assert engage.is_engage(call)


def test_a_boolean_s_escapes_do_not_matter() -> None:
    payload = line(identify({"vip": "true"}, key=None)).replace(b"true", b"tr\\u0075e")
    assert engage.user_property(accepted(payload)) == Property("vip", "vip", Raw(b"true"), in_audience=True)


@pytest.mark.parametrize("number", [b"1e400", b"1" * 5000])
def test_numbers_beyond_float64_are_no_keys(number: bytes) -> None:
    payload = line(track({"audience_key": "?"}, key="?")).replace(b'"?"', number)
    assert engage.user_property(accepted(payload)) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Order Completed Last30Days", "order_completed_last30_days"),
        ("order_completed_last30_days", "order_completed_last30_days"),
        ("orderCompleted", "order_completed"),
        ("OrderCompleted", "order_completed"),
        ("ABC", "abc"),
        ("LTVScore", "ltv_score"),
        ("myHTTPServer", "my_http_server"),
        ("HTTPs", "htt_ps"),
        ("ABc", "a_bc"),
        ("tier2Gold", "tier2_gold"),
        ("tier2gold", "tier2gold"),
        ("2ndTry", "2nd_try"),
        ("a--b  c", "a_b_c"),
        ("a_-_b", "a_b"),
        ("a__b", "a_b"),
        (" a ", "_a_"),
        ("$set", "_set"),
        ("A B", "a_b"),
        ("a.b/c", "a_b_c"),
        ("", ""),
        ("_", "_"),
        ("\u00c9clair \u00dcberfan", "\u00e9clair_\u00fcberfan"),
        ("\u00e9\u00c9", "\u00e9_\u00e9"),
        ("\u0416\u0443\u041a", "\u0436\u0443_\u043a"),
        ("\u4e2d\u6587A", "\u4e2d\u6587a"),
        ("\u0663\u0664A", "\u0663\u0664_a"),
        ("a\u00bdb", "a_b"),
        ("a\u2167b", "a_b"),
        ("a\U0001f600b", "a_b"),
        ("e\u0301a", "e_a"),
    ],
)
def test_names_are_in_snake_case(name: str, expected: str) -> None:
    assert engage.snake_case(name) == expected


@given(st.text())
def test_a_name_in_snake_case_has_no_runs_and_no_capitals(name: str) -> None:
    snake = engage.snake_case(name)
    assert "__" not in snake
    assert snake == snake.lower()


@given(st.text(alphabet="abcXYZ019_- .", max_size=30))
def test_a_name_in_snake_case_stays_as_it_is(name: str) -> None:
    snake = engage.snake_case(name)
    assert engage.snake_case(snake) == snake
    assert set(snake) <= set("abcxyz019_")
