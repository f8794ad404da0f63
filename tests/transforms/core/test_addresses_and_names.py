"""Addresses, ids, times and names of properties from hostile alphabets are read as the judge reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from judge.ids import read_id
from judge.mail_domains import email_domain, is_ip_address
from judge.time_forms import read_time
from judge.user_properties import snake_case as judged_snake_case
from transforms.core import emails, engage, ids, times

DRAWN_AT_ONCE: Final = 200
EXAMPLES: Final = 20
"""So many lists are drawn in a run of the tests; `make fuzz` draws 2,000, which are 400,000 values of each kind."""

ODD: Final = "\u00ad\u200d\u200c\u0307\u0301\u00df\u03a3\u03c2\u03c3\u0130\u0131\u017f\u212a\u01c5\ufb01\u2170\u2460"
DOTS: Final = ".\u3002\uff0e\uff61\u2024"
LABELS: Final = st.one_of(
    st.sampled_from(
        ["acme", "ab--cd", "xn--mnchen-3ya", "XN--MNCHEN-3YA", "xn--", "xn--a", "m\u00fcnchen", "-a", "a-", "1"]
    ),
    st.sampled_from(
        ["com", "de", "gr", "\u039f\u0394\u039f\u03a3", "\uff21\uff23", "\u4f8b\u3048", "192", "0", "255", "", "a" * 63]
    ),
    st.text(alphabet="abzAZ09-_" + ODD, max_size=6),
    st.text(max_size=4),
)
HOSTS: Final = st.builds(
    lambda labels, dots: "".join(label + dot for label, dot in zip(labels, dots, strict=True)).rstrip(DOTS[1:]),
    st.lists(LABELS, min_size=3, max_size=3),
    st.lists(st.sampled_from(DOTS + "."), min_size=3, max_size=3),
)
ADDRESSES: Final = st.builds(
    lambda local, at, host, end: local + at + host + end,
    st.sampled_from(["ann", "a+b", "\u00e4nn", "", " ann", "a n", "ann@"]),
    st.sampled_from(["@", "@", "@", "", "@@"]),
    HOSTS | st.sampled_from(["192.0.2.1", "[192.0.2.1]", "::1", "127.1", "localhost", "mail.gmail.com"]),
    st.sampled_from(["", "", "", " ", "\n", "."]),
)
NAMES: Final = st.text(alphabet="abAB12_- \u0394\u03a3\u03c3" + ODD, max_size=12) | st.text(max_size=8)
IDS: Final = st.one_of(
    st.sampled_from(["null", "NaN", "not-set", "userId", "0", "0x0", "-1", "1", "{{a}}", "${a}", "<%a%>", "%7Ba%7D"]),
    st.text(alphabet='nulNUL-_ "(){}[]0x1.$<%>' + ODD, max_size=8),
    st.text(max_size=6),
    st.integers() | st.floats() | st.booleans() | st.none(),
)
TIMES: Final = st.one_of(
    st.builds(
        lambda parts: "".join(parts),
        st.tuples(
            st.sampled_from(
                ["2024-03-01", "2024/03/01", "+002024-03-01", "20240301", "2024-02-30", "0001-01-01", "9999-12-31"]
            ),
            st.sampled_from(["T", "t", " ", "  ", "", "\u00a0"]),
            st.sampled_from(["12:00:00", "12:00", "120000", "23:59:60", "24:00:00", "12:00:61", "00:00:00", ""]),
            st.sampled_from(["", ".5", ",123456789", ".", ".9999999999"]),
            st.sampled_from(["", "Z", "z", " UTC", "GMT", "+01", "-0530", "+23:59", "+24:00", "-00:00", "+1", "+01:0"]),
            st.sampled_from(["", "", "", " CET", " m=+1.5", "[UTC]", " (x)", "[", " ", "0", "x"]),
        ),
    ),
    st.builds(
        lambda parts: "".join(parts),
        st.tuples(
            st.sampled_from(["Fri, ", "FRI,", "Fri ", "", "Foo, "]),
            st.sampled_from(["01 Mar 2024", "1 mar 2024", "Mar 01 2024", "31 Feb 2024", "01 Mar 24", "Mar 1 2024"]),
            st.sampled_from([" ", "  "]),
            st.sampled_from(["12:00:00", "12:00", "12:00:60", "12:00:00.5"]),
            st.sampled_from(["", " GMT", " +0100", " GMT+0100", " EST", " gmt-0800 (x)", " GMT+01:00"]),
        ),
    ),
    st.builds(
        lambda whole, rest: whole + rest,
        st.text(alphabet="0123456789", max_size=20),
        st.sampled_from(["", ".", ".5", "e3"]),
    ),
    st.integers(-(10**22), 10**22)
    | st.floats()
    | st.booleans()
    | st.none()
    | st.text(alphabet="0123456789-:.TZ +", max_size=25),
)


def _company(address: str) -> str | None:
    domain = email_domain(address)
    return None if domain is None or is_ip_address(domain) else domain


def _id(value: Any) -> tuple[str | None, bool]:
    try:
        return ids.read(value), False
    except ids.NotAnId:
        return None, True


def _judged_id(value: Any) -> tuple[str | None, bool]:
    judged = read_id(value)
    return judged.id, judged.unusable


Kind = tuple[st.SearchStrategy[Any], Callable[[Any], object], Callable[[Any], object]]
KINDS: Final[dict[str, Kind]] = {
    "addresses": (ADDRESSES, emails.domain, email_domain),
    "companies": (ADDRESSES, lambda a: emails.company(a, personal=True, registrable=False), _company),
    "names": (NAMES, engage.snake_case, judged_snake_case),
    "ids": (IDS, _id, _judged_id),
    "times": (TIMES, times.read, read_time),
}


def agree(kind: str, examples: int) -> None:
    """Draws `examples` lists of values, and compares how each is read."""
    values, ours, judged = KINDS[kind]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(values, min_size=DRAWN_AT_ONCE, max_size=DRAWN_AT_ONCE))
    def each_is_read_alike(drawn: list[Any]) -> None:
        for value in drawn:
            assert ours(value) == judged(value), ascii(value)

    each_is_read_alike()


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_hostile_alphabets_are_read_as_the_judge_reads_them(kind: str) -> None:
    agree(kind, EXAMPLES)
