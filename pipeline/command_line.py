"""What every command shares: the parser of its options, and how its mistakes and its output end."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NoReturn, TextIO

from pipeline.errors import SecretlessFormatter, UsageError, choice, is_encodable

USAGE_STATUS: Final = 2
INTERRUPTED_STATUS: Final = 130
GIVE_FILES: Final = "files are given as --input='GLOB', in quotes"
EXIT_STATUS: Final = (
    "Exit status: 0 when it is done, or a job without end was stopped by Ctrl-C or SIGTERM; 1 when nothing of the "
    "input could be read or a file was lost; 2 for a usage error; 130 when Ctrl-C ended it at once: the first one ends "
    "a job on files, the second one a job without end. The same command continues from what was written."
)
"""What the job's help says, since whoever stops it by hand asks."""
_CLOSED_PIPE_STATUS: Final = 141
"""As of a program that a closed pipe has ended."""
_REPLACING: Final = (argparse._StoreAction, argparse._StoreConstAction)
"""Options of these kinds forget their first value where there is a second."""


class CommandParser(argparse.ArgumentParser):
    """A parser that takes options by their full names, each once unless its values are gathered, and raises UsageError
    where it cannot read an argument."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        words = sys.argv[1:] if args is None else list(args)
        _check_encoding(words)
        self._check_repeated(words)
        return super().parse_known_args(words, namespace)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        options: argparse.Namespace
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise self._unknown(unknown[0])
        return options

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help shows the options")

    def _unknown(self, word: str) -> UsageError:
        """What is wrong with an argument that the parser has no use for."""
        if not word.startswith("-"):
            takes_files = "--input" in self._option_string_actions
            remedy = GIVE_FILES if takes_files else f"{self.prog} --help shows the options"
            return UsageError("is not an option", remedy, value=word)
        name = word.partition("=")[0]
        known = set(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                known = known.union(*(parser._option_string_actions for parser in action.choices.values()))
        close = difflib.get_close_matches("--" + name.lstrip("-").lower(), sorted(known), n=1)
        remedy = f"did you mean {close[0]}?" if close else f"{self.prog} --help shows the options"
        return UsageError("unknown option", remedy, option=name)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            option = action.option_strings[-1] if action.option_strings else ""
            raise UsageError("is unknown", choice(value, action.choices), option=option, value=value)

    def _check_repeated(self, words: Sequence[str]) -> None:
        given = set()
        for word in words:
            name = word.partition("=")[0]
            action = self._option_string_actions.get(name)
            if action in given and isinstance(action, _REPLACING):
                raise UsageError("is given more than once", "give it once", option=name)
            given.add(action)


def _check_encoding(words: Sequence[str]) -> None:
    """Refuses what no option can hold: the names of files and of persons are text."""
    for previous, word in zip(["", *words], words, strict=False):
        if is_encodable(word):
            continue
        name, equals, value = word.partition("=")
        problem, remedy = "is not text in UTF-8", "write it in UTF-8; a file of another name must be renamed"
        if not is_encodable(name):
            option, shown = (previous, word) if previous.startswith("-") and not word.startswith("-") else ("", name)
            raise UsageError(problem, remedy, option=option, value=shown)
        raise UsageError(problem, remedy, option=name, value=value if equals else None)


class OutputError(Exception):
    """Standard output cannot be written."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"standard output cannot be written: {cause.strerror or cause}")
        self.is_closed_pipe = isinstance(cause, BrokenPipeError)


class _Output:
    """A stream that tells its own failures from those of the files that a command works on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            _discard(self._stream)
            raise OutputError(error) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            _discard(self._stream)
            raise OutputError(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def checked_output() -> Iterator[None]:
    """Has whatever is printed in the block raise OutputError where it cannot be written, at the block's end at the
    latest."""
    output: Any = _Output(sys.stdout)
    with contextlib.redirect_stdout(output):
        try:
            yield
        finally:
            output.flush()


def run(program: str, command: Callable[[], int], interrupted: str = "") -> int:
    """Runs a command, and returns its exit status: 2 for a usage error or for output that cannot be written, told in
    one line, and 130 when it was interrupted, told in the line `interrupted` where there is one."""
    _open_standard_streams()
    try:
        with checked_output():
            return command()
    except UsageError as error:
        print_error(f"{program}: {error}")
        return USAGE_STATUS
    except OutputError as error:
        if error.is_closed_pipe:  # whoever reads it has enough
            return _CLOSED_PIPE_STATUS
        print_error(f"{program}: {error}; send it to where there is room")
        return USAGE_STATUS
    except KeyboardInterrupt:
        if interrupted:
            print_error(f"{program}: {interrupted}")
        return INTERRUPTED_STATUS


def log_to_standard_error() -> None:
    """Has warnings of every module, and what this package tells of a job, printed without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(SecretlessFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("pipeline").setLevel(logging.INFO)


def print_error(line: str) -> None:
    """Prints a line on standard error, if it can be written."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Lets go of what a stream could not write, which Python would try again at its end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_standard_streams() -> None:
    """Takes the places of standard streams that were closed: what is opened there would get what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
