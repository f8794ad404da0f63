"""The files that patterns match, checked before the job starts."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable

from apache_beam.io.filesystems import FileSystems

from pipeline.errors import UsageError, reason

OPTION = "--input"


def checked_patterns(values: Iterable[str]) -> tuple[str, ...]:
    """The patterns of comma-separated values as Beam's file systems take them, each once. Raises UsageError for one
    that matches no file, or a file that cannot be read."""
    pairs = ((pattern.strip(), value) for value in values for pattern in value.split(","))
    return tuple(dict.fromkeys(_checked(pattern, value) for pattern, value in pairs))


def is_local(path: str) -> bool:
    """Whether a path or pattern is in this machine's own file system."""
    return FileSystems.get_scheme(path) is None


def refused(value: str, problem: str, remedy: str) -> UsageError:
    return UsageError(problem, remedy, option=OPTION, value=value)


def _checked(pattern: str, value: str) -> str:
    """The pattern as Beam wants it, once it is sure to match files, and only files that can be read."""
    if not pattern:
        raise refused(value, "holds no name", "give a file or a pattern on each side of a comma")
    local = is_local(pattern)
    beam_pattern = os.path.expanduser(pattern) if local else pattern
    if local and not os.path.isabs(beam_pattern) and re.search("[*?[]", beam_pattern):
        beam_pattern = os.path.join(os.curdir, beam_pattern)  # Beam finds nothing where a wildcard comes first
    inside = os.path.join(pattern, "*")
    folder = refused(pattern, "is a folder", f"give the files in it, such as --input={shlex.quote(inside)}")
    if os.path.isdir(beam_pattern) if local else beam_pattern.endswith("/"):
        raise folder
    paths = _matches(beam_pattern)
    if not paths and not local and _matches(inside):
        raise folder
    if not paths:
        remedy = "give a file, or a pattern, in quotes, that matches one"
        if local and os.path.exists(beam_pattern):
            remedy = "this name reads as a pattern: write ? for each [ and * in it"
        elif "," in value:
            remedy += "; a comma separates two: write ? for one in a name"
        raise refused(pattern, "no such file", remedy)
    if local:
        for path in paths:
            _check_file(path)
    else:
        _matches(paths[0])  # asks for the file itself, which takes another permission than a listing
    return beam_pattern


def _matches(pattern: str) -> list[str]:
    try:
        return [file.path for file in FileSystems.match([pattern])[0].metadata_list]
    except OSError as error:
        raise refused(pattern, f"cannot be read: {reason(error)}", "give files that you may read") from None
    except ValueError:
        remedy = "give a local path or gs://BUCKET/GLOB"
        raise refused(pattern, "is in no file system known here", remedy) from None


def _check_file(path: str) -> None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise refused(path, "is no regular file", "write what it gives to a file first")
        with open(path, "rb"):
            pass
    except OSError as error:
        raise refused(path, f"cannot be read: {reason(error)}", "give files that you may read") from None
