"""A usage error: one line for the user, without secrets."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable

from apache_beam.io.filesystem import BeamIOError

REDACTED = "REDACTED"

_LONGEST_VALUE = 200
_SECRET = (
    r"passw(?:or)?d|pwd|secret|token|credential|signature|connection_?string"
    r"|(?:access|account|api|encryption|private|shared|signing|write)_?key"
)
_SECRET_NAME = re.compile(_SECRET, re.IGNORECASE)
_SECRET_PAIR = re.compile(rf"""(\w*(?:{_SECRET})\w*(?:=|["']\s*:\s*)["']?)(?!{REDACTED})[^\s&;,"'}}]+""", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/]*@")


class UsageError(Exception):
    """What is wrong with the command line or the configuration, and what would be right.

    The text is one line, `OPTION=VALUE, WHERE: PROBLEM; REMEDY`, of printable characters and without secrets. `value`
    is None where there is none to show. The job prints it and exits with status 2.
    """

    def __init__(
        self, problem: str, remedy: str = "", *, option: str = "", value: str | None = None, where: str = ""
    ) -> None:
        subject = option
        if value is not None:
            shown = REDACTED if is_secret(option) else without_secrets(value)
            if len(shown) > _LONGEST_VALUE:
                shown = shown[:_LONGEST_VALUE] + "..."
            shown = shlex.quote(printable(shown))
            subject = f"{option}={shown}" if option else shown
        place = ", ".join(part for part in (subject, where) if part)
        message = without_secrets("; ".join(part for part in (problem, remedy) if part))
        super().__init__(printable(f"{place}: {message}" if place else message))


def printable(text: str) -> str:
    """The text on one line: line breaks, control characters and undecodable bytes are written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def is_secret(name: str) -> bool:
    """Whether the value of an option of that name must not be shown."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(text: str) -> str:
    """The text with the passwords of its URLs, and the values of `password=`, `"token":` and the like, redacted."""
    return _SECRET_PAIR.sub(rf"\1{REDACTED}", _URL_PASSWORD.sub(rf"\1{REDACTED}@", text))


def choice(given: str, choices: Iterable[str]) -> str:
    """What to give instead: the choice that looks like what was given, else any of them."""
    known = {name.lower(): name for name in choices}
    close = difflib.get_close_matches(given.lower(), known, n=1)
    return f"did you mean {known[close[0]]}?" if close else f"choose from {', '.join(known.values())}"


def reason(error: OSError) -> str:
    """Why a file could not be used, without the wrapping of Beam's file systems."""
    cause: BaseException = error
    while isinstance(cause, BeamIOError) and cause.exception_details:
        cause = next(iter(cause.exception_details.values()))
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__
