"""The receiver's options, each checked before anything starts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from transforms.core.usage_errors import UsageError, is_encodable

PROGRAM: Final = "segment-receiver"
_TOPIC: Final = re.compile(r"projects/[a-z0-9.:-]+/topics/(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_PORTS: Final = range(65_536)
_PROXIES: Final = range(11)
_HELP: Final = "An HTTP endpoint for Segment's webhooks and SDKs: stores each call, and then answers 200."


@dataclass(frozen=True, kw_only=True)
class Options:
    """The receiver's options: exactly one of `topic` and `directory` is set."""

    connections: str
    topic: str | None
    directory: Path | None
    spool: Path | None
    host: str
    port: int
    trusted_proxies: int


class _Parser(argparse.ArgumentParser):
    """Takes options by their full names, each once, and raises UsageError where it cannot."""

    def __init__(self) -> None:
        super().__init__(prog=PROGRAM, description=_HELP, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{PROGRAM} --help shows the options")


class _Once(argparse.Action):
    """Keeps a value, and refuses a second."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if self.dest in vars(namespace).setdefault("given", set()):
            raise UsageError("is given more than once", "give it once", option=f"--{self.dest}")
        vars(namespace)["given"].add(self.dest)
        if not is_encodable(values):
            raise UsageError("is not text in UTF-8", "write it in UTF-8", option=f"--{self.dest}", value=values)
        setattr(namespace, self.dest, values)


def parse(arguments: Sequence[str]) -> Options:
    """The options. Raises UsageError; prints and raises SystemExit for `--help`."""
    given = _parser().parse_args(list(arguments))
    if given.connections is None:
        raise UsageError("is missing", "give the connections file", option="--connections")
    if (given.topic is None) == (given.directory is None):
        problem = (
            "is given, and --directory as well" if given.topic is not None else "is missing, and so is --directory"
        )
        raise UsageError(problem, "give one of them: where calls are stored", option="--topic")
    if given.topic is not None and not is_topic(given.topic):
        raise UsageError("is not a topic", "give projects/PROJECT/topics/TOPIC", option="--topic", value=given.topic)
    if given.spool is not None and given.topic is None:
        problem = "means nothing with --directory"
        raise UsageError(problem, "leave it out: what the directory holds is on disk", option="--spool")
    if not given.host.strip():
        raise UsageError("is blank", "give an address, such as 127.0.0.1 or 0.0.0.0", option="--host")
    return Options(
        connections=given.connections,
        topic=given.topic,
        directory=_folder("--directory", given.directory),
        spool=_folder("--spool", given.spool),
        host=given.host,
        port=_number("--port", given.port, _PORTS),
        trusted_proxies=_number("--trusted_proxies", given.trusted_proxies, _PROXIES),
    )


def is_topic(name: str) -> bool:
    """Whether it is the full name of a topic. A project's may be any, since an emulator takes any."""
    return _TOPIC.fullmatch(name) is not None


def _parser() -> _Parser:
    parser = _Parser()
    parser.add_argument("--connections", action=_Once, metavar="FILE", help="the YAML file of the connections")
    parser.add_argument("--topic", action=_Once, metavar="projects/P/topics/T", help="a Pub/Sub topic to publish to")
    parser.add_argument("--directory", action=_Once, metavar="DIR", help="or a directory to write to")
    parser.add_argument(
        "--spool", action=_Once, metavar="DIR", help="a directory for messages that Pub/Sub does not take"
    )
    parser.add_argument("--host", action=_Once, default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", action=_Once, default="8080", help="the port, 0 for any that is free (%(default)s)")
    parser.add_argument(
        *("--trusted_proxies",),
        action=_Once,
        default="0",
        metavar="N",
        help="how many proxies of yours each request comes through: a browser's address is the N-th from the end of "
        "X-Forwarded-For (%(default)s: that of the connection)",
    )
    return parser


def _number(option: str, text: str, numbers: range) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) in numbers):
        problem, remedy = f"is not a number from {numbers[0]} to {numbers[-1]}", "give one of these"
        raise UsageError(problem, remedy, option=option, value=text)
    return int(text)


def _folder(option: str, text: str | None) -> Path | None:
    if text is None:
        return None
    if not text.strip() or "\0" in text:
        raise UsageError("is not a path", "give a directory", option=option, value=text)
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise UsageError(
            "is below a home folder that is not known", "write it out", option=option, value=text
        ) from None
    if path.exists() and not path.is_dir():
        raise UsageError(
            "is not a directory", "give a directory; it is made where it is missing", option=option, value=text
        )
    return path
