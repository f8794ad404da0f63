"""The files that patterns match, checked before the job starts."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

from pipeline import remote_files
from pipeline.errors import UsageError, is_encodable, reason

OPTION = "--input"


Listing = tuple[tuple[str, int], ...]
"""Files, each once: its path as `absolute` gives it, and its bytes."""


def checked(values: Iterable[str]) -> tuple[tuple[str, ...], Listing]:
    """The patterns of comma-separated values as Beam's file systems take them, each once, and the files that they
    match. Raises UsageError for a pattern that matches no file, or a file that cannot be read."""
    pairs = ((pattern.strip(), value) for value in values for pattern in value.split(","))
    matched = dict(_checked(pattern, value) for pattern, value in pairs)
    files = {absolute(file.path): file.size_in_bytes for listed in matched.values() for file in listed}
    return tuple(matched), tuple(files.items())


def absolute(path: str) -> str:
    """The path by which a file is known, however a pattern names it."""
    return os.path.abspath(path) if is_local(path) else path


def is_local(path: str) -> bool:
    """Whether a path or pattern is in this machine's own file system."""
    return FileSystems.get_scheme(path) is None


def refused(value: str, problem: str, remedy: str) -> UsageError:
    return UsageError(problem, remedy, option=OPTION, value=value)


def _checked(pattern: str, value: str) -> tuple[str, list[FileMetadata]]:
    """The pattern as Beam wants it, and the files that it matches, once it is sure that they can be read."""
    if not pattern:
        raise refused(value, "holds no name", "give a file or a pattern on each side of a comma")
    local = is_local(pattern)
    beam_pattern = os.path.expanduser(pattern) if local else pattern
    if local and not os.path.isabs(beam_pattern) and re.search("[*?[]", beam_pattern):
        beam_pattern = os.path.join(os.curdir, beam_pattern)  # Beam finds nothing where a wildcard comes first
    if os.path.isdir(beam_pattern):
        raise _folder(pattern, beam_pattern)
    inside = os.path.join(pattern, "*")
    if not local and beam_pattern.endswith("/"):
        raise _files_in(pattern, inside)
    files = _matches(beam_pattern)
    if not files and not local and _matches(inside):
        raise _files_in(pattern, inside)
    if not files:
        remedy = "give a file, or a pattern, in quotes, that matches one"
        if local and os.path.exists(beam_pattern):
            remedy = "this name reads as a pattern: write ? for each [ and * in it"
        elif "," in value:
            remedy += "; a comma separates two: write ? for one in a name"
        raise refused(pattern, "no such file", remedy)
    if local:
        for file in files:
            _check_file(file.path)
    else:
        _matches(files[0].path)  # asks for the file itself, which takes another permission than a listing
    return beam_pattern, files


def _folder(pattern: str, path: str) -> UsageError:
    """The error for a folder of this machine, by what is in it."""
    try:
        entries = list(os.scandir(path))
    except OSError as error:
        return _unreadable(pattern, error)
    if not entries:
        return refused(pattern, "is an empty folder", "name one that has files")
    if any(entry.is_file() for entry in entries):
        return _files_in(pattern, os.path.join(pattern, "*"))
    return _files_in(pattern, os.path.join(pattern, "**"))


def _files_in(folder: str, pattern: str) -> UsageError:
    return refused(folder, "is a folder", f"give the files in it, such as --input={shlex.quote(pattern)}")


def _unreadable(name: str, error: OSError) -> UsageError:
    return refused(name, f"cannot be read: {reason(error)}", "give files that you may read")


def _matches(pattern: str) -> list[FileMetadata]:
    try:
        remote_files.check_answer(pattern)
        return list(FileSystems.match([pattern])[0].metadata_list)
    except remote_files.NoAnswer as error:
        raise refused(pattern, str(error), error.remedy) from None
    except OSError as error:
        raise _unreadable(pattern, error) from None
    except ValueError:
        remedy = "give a local path or gs://BUCKET/GLOB"
        raise refused(pattern, "is in no file system known here", remedy) from None


def _check_file(path: str) -> None:
    if not is_encodable(absolute(path)):
        raise refused(absolute(path), "has a name that is not UTF-8", "rename the file, or the folder that it is in")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise refused(path, "is not a regular file", "write what it gives to a file first")
        with open(path, "rb"):
            pass
    except OSError as error:
        raise _unreadable(path, error) from None
