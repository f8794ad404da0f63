"""The one base of the command-line parsers."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from pipeline.errors import UsageError


class CommandParser(argparse.ArgumentParser):
    """A parser that takes options by their full names, and raises UsageError where it cannot read an argument."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help shows the options")
