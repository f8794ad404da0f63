"""How keys and signatures are read from what senders write."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from receiver.authentication import API_KEY_HEADERS, WRITE_KEY_HEADERS, Keyring, header_keys, is_signed


def encoded(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    ("what", "value", "keys"),
    [
        ("as Segment writes it", b"Basic " + encoded("key:"), [b"key", b"key:"]),
        ("without a colon", b"Basic " + encoded("key"), [b"key"]),
        ("with a password", b"Basic " + encoded("key:x"), [b"key", b"key:x"]),
        ("a key with a colon", b"Basic " + encoded("id:secret"), [b"id", b"id:secret"]),
        ("without padding", b"Basic " + encoded("keys").rstrip(b"="), [b"keys"]),
        ("in capitals", b"BASIC " + encoded("key"), [b"key"]),
        ("with more white space", b"  basic \t " + encoded("key") + b" ", [b"key"]),
        ("two of them", b"Basic " + encoded("a") + b", Basic " + encoded("b"), [b"a"]),
        ("base64 of URLs", b"Basic " + base64.urlsafe_b64encode(b"\xfb\xff"), [b"\xfb\xff"]),
        ("no text", b"Basic " + encoded(b"\xff\x00"), [b"\xff\x00"]),
        ("nothing before the colon", b"Basic " + encoded(":x"), [b":x"]),
        ("nothing at all", b"Basic " + encoded(":"), [b":"]),
        ("of one character", b"Basic a", []),
        ("no base64", b"Basic !!!", []),
        ("another scheme", b"Bearer " + encoded("key"), []),
        ("no scheme", encoded("key"), []),
        ("empty", b"", []),
        ("too long", b"Basic " + b"a" * 10_000, []),
    ],
)
def test_basic_authentication_gives(what: str, value: bytes, keys: list[bytes]) -> None:
    assert header_keys({b"authorization": value}, WRITE_KEY_HEADERS) == keys


def test_every_header_that_may_hold_a_key_is_looked_at() -> None:
    headers = {
        b"authorization": b"Basic " + encoded("a"),
        b"authentication": b"Basic " + encoded("b"),
        b"x-write-key": b" c ",
    }
    assert header_keys(headers, API_KEY_HEADERS) == [b"a", b"b", b"c"]
    assert header_keys(headers, WRITE_KEY_HEADERS) == [b"a", b"c"]


@pytest.mark.parametrize(
    ("candidates", "owner"),
    [([b"a"], 1), ([b"b"], 2), ([b"x", b"b"], 2), ([b"b", b"a"], 2), ([b"x"], None), ([b""], None), ([], None)],
)
def test_a_keyring_finds_whose_a_key_is(candidates: list[bytes], owner: int | None) -> None:
    assert Keyring([("a", 1), ("b", 2)]).find(candidates) == owner


def test_every_candidate_is_compared_with_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return first == second

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert Keyring([("a", 1), ("b", 2), ("c", 3)]).find([b"a", b"x"]) == 1
    assert len(compared) == 6
    assert {len(digest) for pair in compared for digest in pair} == {32}


def test_a_keyring_finds_the_first_key_of_the_headers() -> None:
    keyring = Keyring([("a", 1), ("b", 2)])
    basic = {name: b"Basic " + encoded(f"{name}:") for name in ("a", "b", "x")}
    for headers, owner in [
        ({b"authorization": basic["a"], b"x-write-key": b"b"}, 1),
        ({b"authorization": basic["x"], b"x-write-key": b"b"}, 2),
        ({b"authorization": basic["x"]}, None),
        ({b"authorization": basic["x"], b"authentication": basic["b"]}, 2),
        ({b"x-write-key": b"a"}, 1),
        ({}, None),
    ] * 2:
        assert keyring.find_in(headers, API_KEY_HEADERS) == owner


def test_a_header_that_was_right_is_compared_once_and_a_wrong_one_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = Keyring([("a", 1), ("b", 2)])
    right = {b"authorization": b"Basic " + encoded("b:")}
    assert keyring.find_in(right, WRITE_KEY_HEADERS) == 2
    compared = 0

    def compare(first: bytes, second: bytes) -> bool:
        nonlocal compared
        compared += 1
        return first == second

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert keyring.find_in(right, WRITE_KEY_HEADERS) == 2
    assert compared == 0
    for header in (b"Basic " + encoded("c:"), b"Basic " + encoded("b :"), right[b"authorization"].lower()):
        compared = 0
        assert keyring.find_in({b"authorization": header}, WRITE_KEY_HEADERS) is None
        assert compared >= 4


def test_what_is_remembered_of_headers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.authentication._MOST_REMEMBERED", 3)
    keyring = Keyring([("a-key", 1)])
    for password in range(10):
        header = b"Basic " + encoded(f"a-key:{password}")
        assert keyring.find_in({b"authorization": header}, WRITE_KEY_HEADERS) == 1
        assert len(vars(keyring)["_remembered"]) <= 3


RIGHT = hmac.new(b"secret", b"body", hashlib.sha1).hexdigest().encode()


@pytest.mark.parametrize(
    ("signature", "parts", "expected"),
    [
        (RIGHT, [b"body"], True),
        (RIGHT.upper(), [b"body"], True),
        (b" " + RIGHT + b" ", [b"body"], True),
        (RIGHT, [b"other", b"body"], True),
        (RIGHT, [b"other"], False),
        (RIGHT, [], False),
        (RIGHT[:-1], [b"body"], False),
        (RIGHT + b"0", [b"body"], False),
        (b"g" * 40, [b"body"], False),
        (b"", [b"body"], False),
    ],
)
def test_a_signature_is_of_the_bytes(signature: bytes, parts: list[bytes], expected: bool) -> None:
    assert is_signed(signature, "secret", *parts) is expected
