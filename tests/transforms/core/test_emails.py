"""E-mail addresses: which are one, whose domains they are, and which are personal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.core import emails

LONGEST = ".".join(["a" * 49] * 5)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ann@acme.com", "acme.com"),
        ("Ann@ACME.Com", "acme.com"),
        (" ann@acme.com\n", "acme.com"),
        ("ann+tag.x@mail.acme.co.uk", "mail.acme.co.uk"),
        ("\u00e4nn@acme.com", "acme.com"),
        ("ann@a-b.c-d.com", "a-b.c-d.com"),
        ("ann@1und1.de", "1und1.de"),
        ("ann@ab--cd.com", "ab--cd.com"),
        # IDNA
        ("max@xn--mnchen-3ya.de", "m\u00fcnchen.de"),
        ("max@XN--MNCHEN-3YA.DE", "m\u00fcnchen.de"),
        ("max@m\u00fcnchen.de", "m\u00fcnchen.de"),
        ("max@M\u00dcNCHEN.de", "m\u00fcnchen.de"),
        ("max@mu\u0308nchen.de", "m\u00fcnchen.de"),
        ("max@mail.xn--fa-hia.de", "mail.fa\u00df.de"),
        ("max@fa\u00df.de", "fa\u00df.de"),
        ("max@\u4f8b\u3048.\u30c6\u30b9\u30c8", "\u4f8b\u3048.\u30c6\u30b9\u30c8"),
        ("max@xn--r8jz45g.xn--zckzah", "\u4f8b\u3048.\u30c6\u30b9\u30c8"),
        ("x@ab--cd.m\u00fcnchen.de", "ab--cd.m\u00fcnchen.de"),
        ("x@\uff41cme\uff0ecom", "acme.com"),
        ("x@acme\u3002com", "acme.com"),
        ("x@ac\u00adme.com", "acme.com"),
        ("x@\u039f\u0394\u039f\u03a3.gr", "\u03bf\u03b4\u03bf\u03c3.gr"),
        # length
        (f"ann@{'a' * 63}.com", f"{'a' * 63}.com"),
        (f"ann@{LONGEST}.com", f"{LONGEST}.com"),
    ],
)
def test_domains(address: str, expected: str) -> None:
    assert emails.domain(address) == expected
    assert emails.company(address, personal=True, registrable=False) == expected


@pytest.mark.parametrize(
    "address",
    [
        *("", " ", "@", "ann", "ann@", "@acme.com", "acme.com", "ann@acme", "ann@localhost", "ann@acme."),
        *("ann@acme.com.", "ann@m\u00fcnchen.", "ann@m\u00fcnchen.de."),
        *("ann@.com", "ann@acme..com", "ann@.acme.com", "a@b@acme.com", "ann@acme.com@", "ann@@acme.com"),
        *("an n@acme.com", "ann\t@acme.com", "ann@ac me.com", "ann@acme.com x", "ann @acme.com"),
        *("ann@-acme.com", "ann@acme-.com", "ann@ac_me.com", "ann@acme.com;"),
        *("ann@acme.com,bob@acme.com", "<ann@acme.com>", "Ann <ann@acme.com>", "mailto:ann@"),
        *("ann@[::1]", "ann@::1", "x@c.\u00ad", "x@\uff0ecom", "x@a\uff0e"),
        *("ann@[192.0.2.1]", "ann@acme!.com", "ann@\u2603.com", "ann@xn--.com", "ann@xn--a-.com", "ann@\u00fc-.de"),
        *("ann@acme.com\0", f"ann@{'a' * 64}.com", f"ann@{LONGEST}.coms", "ann@" + "\u00fc" * 60 + ".com"),
    ],
)  # fmt: skip
def test_malformed_addresses(address: str) -> None:
    assert emails.domain(address) is None
    assert emails.company(address, personal=True, registrable=True) is None


def test_an_ip_address_is_no_company() -> None:
    assert emails.domain("root@192.0.2.1") == "192.0.2.1"
    assert emails.company("root@192.0.2.1", personal=True, registrable=False) is None


@pytest.mark.parametrize(
    "domain",
    [
        *("gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "icloud.com", "aol.com", "gmx.de"),
        *("yahoo.com", "yahoo.co.uk", "yahoo.co.jp", "yahoo.de", "YAHOO.FR", "yahoo.xyz", "hotmail.nl"),
        *("proton.me", "web.de", "mail.gmail.com", "mail.yahoo.xyz", "qq.com", "163.com", "mail.ru", "yandex.ru"),
    ],
)  # fmt: skip
def test_personal_mail_names_no_company_unless_it_is_kept(domain: str) -> None:
    for registrable in (False, True):
        assert emails.company(f"ann@{domain}", personal=False, registrable=registrable) is None
    assert emails.company(f"ann@{domain}", personal=True, registrable=False) == domain.lower()


@pytest.mark.parametrize(
    "domain", ["acme.com", "gmail.acme.com", "yahoo.acme.com", "notgmail.com", "yahooo.xyz", "acme-hotmail.com"]
)
def test_what_only_looks_like_personal_mail(domain: str) -> None:
    assert emails.company(f"ann@{domain}", personal=False, registrable=False) == domain


@pytest.mark.parametrize(
    ("what", "domain", "expected"),
    [
        ("a plain domain", "example.com", "example.com"),
        ("a subdomain", "mail.corp.example.com", "example.com"),
        ("a suffix of two labels", "mail.corp.example.co.uk", "example.co.uk"),
        ("a suffix itself: unspecified, as it is", "co.uk", "co.uk"),
        ("a private suffix", "team.example.github.io", "example.github.io"),
        ("a suffix that is not listed", "mail.example.unlisted", "example.unlisted"),
        ("IDNA", "mail.xn--mnchen-3ya.de", "m\u00fcnchen.de"),
        ("an exception of the list", "mail.www.ck", "www.ck"),
    ],
)
def test_the_registrable_part(what: str, domain: str, expected: str) -> None:
    assert emails.company(f"ann@{domain}", personal=False, registrable=True) == expected


@given(st.text() | st.text(alphabet="ab@.-_ \u00fcxn1\n", max_size=20))
def test_a_domain_of_any_text_is_an_address_s_domain(text: str) -> None:
    domain = emails.domain(text)
    if domain is not None:
        assert emails.domain(f"ann@{domain}") == domain == domain.lower()
    for personal in (False, True):
        for registrable in (False, True):
            company = emails.company(text, personal=personal, registrable=registrable)
            assert company is None or (domain or "").endswith(company)
