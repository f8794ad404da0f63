# ruff: noqa: RUF001 -- letters of other scripts that look like Latin ones are the point here
"""Sections 4 and 5 of docs/semantics.md: columns made of traits, names, domains and hosts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.companies import host
from judge.mail_domains import email_domain, is_ip_address
from judge.promoted_columns import promoted, text, whole_number
from judge.user_properties import snake_case

OLD, NEW = (1, "a"), (2, "a")

SPELLINGS: list[tuple[str, dict[str, Any], str | None]] = [
    ("the spec's", {"firstName": (OLD, "A"), "first_name": (NEW, "B"), "FIRSTNAME": (NEW, "C")}, "A"),
    ("then snake case", {"first_name": (OLD, "B"), "FIRSTNAME": (NEW, "C")}, "B"),
    ("then the newest", {"First-Name": (OLD, "C"), "FIRST NAME": (NEW, "D"), "first": (NEW, "E")}, "D"),
    ("of one stamp the greater", {"First-Name": (NEW, "C"), "FIRST NAME": (NEW, "D")}, "D"),
    ("what is cleared is absent", {"firstName": (NEW, None), "Firstname": (OLD, "C")}, "C"),
    ("what is blank is absent", {"firstName": (NEW, "\u00a0"), "first_name": (NEW, ""), "Firstname": (OLD, "C")}, "C"),
    ("what is no text is absent", {"firstName": (NEW, {}), "first_name": (NEW, [1]), "Firstname": (OLD, "C")}, "C"),
    ("none", {"first": (NEW, "A"), "first.name": (NEW, "B")}, None),
]


@pytest.mark.parametrize(("traits", "expected"), [case[1:] for case in SPELLINGS], ids=[case[0] for case in SPELLINGS])
def test_spellings(traits: dict[str, Any], expected: str | None) -> None:
    assert promoted(traits, "firstName", "first_name", text) == expected


TEXTS = [(" x ", " x "), ("", None), ("\t ", None), (7, "7"), (7.0, "7.0"), (1e-7, "1e-07"), (True, "true")]
TEXTS += [(False, "false"), (None, None), ([], None), ({}, None)]


@pytest.mark.parametrize(("value", "expected"), TEXTS)
def test_text(value: Any, expected: str | None) -> None:
    assert text(value) == expected


WHOLE_NUMBERS = [
    *((329, 329), (329.0, 329), ("329", 329), (" 0329 ", 329), (-5, -5), ("0", 0), ("000", 0)),
    *((329.5, None), ("329.0", None), ("-5", None), ("51-200", None), ("1,200", None), ("", None), ("٣", None)),
    *((True, None), (None, None), ([5], None), (2**63 - 1, 2**63 - 1), (2**63, None), (-(2**63), -(2**63))),
    *((str(2**63), None), (1e300, None), ("9" * 5000, None)),
]


@pytest.mark.parametrize(("value", "expected"), WHOLE_NUMBERS, ids=[repr(case[0])[:20] for case in WHOLE_NUMBERS])
def test_whole_numbers(value: Any, expected: int | None) -> None:
    assert whole_number(value) == expected


NAMES = [
    ("Order Completed Last30Days", "order_completed_last30_days"),
    ("order_completed_last30_days", "order_completed_last30_days"),
    ("j_o_onboarding__mail_1_ab12c", "j_o_onboarding_mail_1_ab12c"),
    ("LTVScore", "ltv_score"),
    ("myHTTPServer", "my_http_server"),
    ("ABC", "abc"),
    ("a--b  c", "a_b_c"),
    ("Éclair Überfan", "éclair_überfan"),
    ("2ndTry", "2nd_try"),
    ("tier2Gold", "tier2_gold"),
    ("ΟΔΟΣ", "οδος"),
    ("ΟΔΟΣ ΜΟΥ", "οδος_μου"),
]


@pytest.mark.parametrize(("name", "expected"), NAMES, ids=[name for name, _ in NAMES])
def test_engage_names(name: str, expected: str) -> None:
    assert snake_case(name) == expected


LONG = ".".join(["a" * 49] * 5)

DOMAINS = [
    ("ann@Acme.COM", "acme.com"),
    (" ann@acme.com ", "acme.com"),
    ("max@xn--mnchen-3ya.de", "münchen.de"),
    ("max@XN--MNCHEN-3YA.de", "münchen.de"),
    ("max@MÜNCHEN.de", "münchen.de"),
    ("max@mu\u0308nchen.de", "münchen.de"),
    ("x@ab--cd.münchen.de", "ab--cd.münchen.de"),
    ("x@ab--cd.de", "ab--cd.de"),
    ("x@ａｃｍｅ．ｃｏｍ", "acme.com"),
    ("x@acme。com", "acme.com"),
    ("x@acme｡com", "acme.com"),
    ("x@ac\u00adme.com", "acme.com"),
    ("x@c.\u00ad", None),
    ("x@\u00ad.com", None),
    ("x@acme。", None),
    ("x@straße.de", "straße.de"),
    ("x@ΟΔΟΣ.gr", "οδοσ.gr"),
    ("x@gr.ΟΔΟΣ", "gr.οδος"),
    ("x@οδος.gr", "οδος.gr"),
    ("x@a＠b.com", None),
    ("max@xn--zzzzzzzz.de", None),
    ("max@xn--.de", None),
    ("ann@acme", None),
    ("ann@acme.", None),
    ("ann@.com", None),
    ("ann@-acme.com", None),
    ("ann@acme-.com", None),
    ("ann@ac me.com", None),
    ("ann@ac_me.com", None),
    ("ann@☃.com", None),
    ("an n@acme.com", None),
    ("@acme.com", None),
    ("a@b@acme.com", None),
    ("acme.com", None),
    ("ann@[10.0.0.1]", None),
    (f"ann@{'a' * 63}.com", f"{'a' * 63}.com"),
    (f"ann@{'a' * 64}.com", None),
    (f"ann@{'ü' * 1_000_000}.com", None),  # known in no time
    (f"ann@{LONG}.com", f"{LONG}.com"),
    (f"ann@{LONG}.coms", None),
]


@pytest.mark.parametrize(("email", "expected"), DOMAINS, ids=[ascii(email)[:40] for email, _ in DOMAINS])
def test_email_domains(email: str, expected: str | None) -> None:
    assert len(f"{LONG}.com") == 253
    assert email_domain(email) == expected


HOSTILE = "aZ0-.@ \u00ad\u200d。．｡ａßςΣİxn—\u0308ü\u0660א"


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from(HOSTILE), max_size=12))
def test_a_domain_is_its_own_domain(text: str) -> None:
    domain = email_domain(f"x@{text}")
    assert domain is None or email_domain(f"x@{domain}") == domain


@pytest.mark.parametrize(("domain", "expected"), [("10.0.0.1", True), ("10.0.1", False), ("a.10.0.0.1", False)])
def test_ip_addresses(domain: str, expected: bool) -> None:
    assert is_ip_address(domain) == expected


HOSTS = [
    ("https://WWW.Acme.com:8080/about?x#y", "acme.com"),
    ("https://ann@acme.com", "acme.com"),
    ("acme.com/about", "acme.com"),
    ("www.www.acme.com:80", "www.acme.com"),
    ("wwwacme.com", "wwwacme.com"),
    ("http://[bad", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("url", "expected"), HOSTS, ids=[str(url) for url, _ in HOSTS])
def test_hosts(url: str | None, expected: str | None) -> None:
    assert host(url) == expected
