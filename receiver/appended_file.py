"""A file that is only appended to, and in which nothing stays of an append that has failed."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""Makes the data of a file durable, and what is needed to read them; macOS has no `fdatasync`."""

_PROBE_BYTES: Final = 1 << 16
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class AppendedFile:
    """An open file, new or not, and how much of it is durable."""

    def __init__(self, descriptor: int, size: int = 0) -> None:
        self.descriptor = descriptor
        self.size = size

    def append(self, data: bytes) -> None:
        """Returns once the data are durable. Raises OSError; then what was written of them is cut off again as far as
        that can be done, and no more may be appended: of what a failed sync has left nobody knows what is durable."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.descriptor, view) :]
            sync_data(self.descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(data)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, durably. Raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def probe(folder: Path) -> None:
    """Writes a file into a folder, and removes it. Raises OSError."""
    path = folder / f".probe-{os.getpid()}-{os.urandom(4).hex()}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        AppendedFile(descriptor).append(bytes(_PROBE_BYTES))
    finally:
        os.close(descriptor)
        path.unlink()


def is_full(error: OSError) -> bool:
    """Whether there was no room, which there may be later."""
    return error.errno in _FULL


def why(error: OSError) -> str:
    """The reason of an error of the operating system, in a few words."""
    return (error.strerror or type(error).__name__).lower()
