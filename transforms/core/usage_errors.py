"""A usage error: one line for the user, without secrets."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable

REDACTED = "REDACTED"

_LONGEST_SHOWN = 200
"""Characters of a value, or of a path, that are shown."""
_SECRET = (
    r"passw(?:or)?d|pwd|secret|token|credential|signature|connection_?string"
    r"|(?:access|account|api|encryption|private|shared|signing|write)_?key"
)
_SECRET_NAME = re.compile(_SECRET, re.IGNORECASE)
_SECRET_PAIR = re.compile(
    rf"""((?:{_SECRET})\w{{0,40}}(?:=|["']\s*:\s*)["']?)(?!{REDACTED})[^\s&;,"'}}]+""", re.IGNORECASE
)


def _url_secrets(char: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """What to replace in URLs that are made of such characters, and by what. A password may hold any of them."""
    return (
        (re.compile(rf"""(\b[a-z][\w+.-]*:/+[^\s/:@'"]*:){char}*@""", re.IGNORECASE), rf"\1{REDACTED}@"),
        (re.compile(r"""(\b[a-z][\w+.-]*:/+)[^\s/:@'"]+@""", re.IGNORECASE), rf"\1{REDACTED}@"),
        (re.compile(rf"""([^\s/:@'"=]+:)(?!//){char}*@(?=\w)(?!sha256:)"""), rf"\1{REDACTED}@"),
        (re.compile(r"([?&#][^\s=&#?]+=)[^\s&#]+?(?=[,;.]?(?:[\s&#]|$))"), rf"\1{REDACTED}"),
    )


_IN_TEXT = _url_secrets(r"\S")
_IN_VALUE = _url_secrets(r"[\s\S]")


class UsageError(Exception):
    """What is wrong with the command line or the configuration, and what would be right.

    The text is one line, `OPTION=VALUE, WHERE: PROBLEM; REMEDY`, of printable characters and without secrets. `value`
    is None where there is none to show. A command prints it and exits with status 2.
    """

    def __init__(
        self, problem: str, remedy: str = "", *, option: str = "", value: str | None = None, where: str = ""
    ) -> None:
        subject = option
        if value is not None:
            shown = REDACTED if is_secret(option) else value_without_secrets(value)
            shown = shlex.quote(printable(shortened(shown)))
            subject = f"{option}={shown}" if option else shown
            if value.startswith("/"):  # a path stands once in a line
                problem = problem.removeprefix(f"{value} ").removesuffix(f" {value}")
        place = ", ".join(part for part in (subject, where) if part)
        message = without_secrets("; ".join(part for part in (problem, remedy) if part))
        super().__init__(printable(f"{place}: {message}" if place else message))
        self._problem, self._remedy, self._value, self._where = problem, remedy, value, where

    def of_option(self, option: str) -> UsageError:
        """The same mistake in the value of another option."""
        return UsageError(self._problem, self._remedy, option=option, value=self._value, where=self._where)


def printable(text: str) -> str:
    """The text on one line: line breaks, control characters and undecodable bytes are written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def shortened(text: str) -> str:
    """The text, of a long one its beginning and its end."""
    if len(text) <= _LONGEST_SHOWN:
        return text
    kept = (_LONGEST_SHOWN - 3) // 2
    return f"{text[:kept]}...{text[-kept:]}"


def is_encodable(text: str) -> bool:
    """Whether it is text: undecodable bytes of the command line, and halves of surrogate pairs, are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_secret(name: str) -> bool:
    """Whether the value of an option of that name must not be shown."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(text: str) -> str:
    """The text with the passwords and parameters of its URLs, and the values of `password=`, `"token":` and the like,
    redacted. All that is printed or stored of what a user gave goes through here, or through the following."""
    return _redacted(text, _IN_TEXT)


def value_without_secrets(value: str) -> str:
    """One value, such as a URL, redacted in the same way: its password may hold spaces, too."""
    return _redacted(value, _IN_VALUE)


def _redacted(text: str, secrets: Iterable[tuple[re.Pattern[str], str]]) -> str:
    for pattern, replacement in secrets:
        text = pattern.sub(replacement, text)
    return _SECRET_PAIR.sub(rf"\1{REDACTED}", text)


def choice(given: str, choices: Iterable[str]) -> str:
    """What to give instead: the choice that looks like what was given, else any of them."""
    known = {name.lower(): name for name in choices}
    close = difflib.get_close_matches(given.lower(), known, n=1)
    return f"did you mean {known[close[0]]}?" if close else f"choose from {', '.join(known.values())}"
