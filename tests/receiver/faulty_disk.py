"""A disk that fails as disks do: full in the middle of a write, broken at a sync, silent."""

from __future__ import annotations

import errno
import os
import time

import pytest

from receiver import appended_file
from receiver.sinks import directory

_write, _sync, _rename, _truncate = os.write, appended_file.sync_data, os.rename, os.ftruncate
_sync_folder = os.fsync


class FaultyDisk:
    """What fails, until it is told to heal. `room` is how many bytes may still be written, None for any number."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.heal()
        self.syncs = 0
        patch.setattr(os, "write", self._write)
        patch.setattr(os, "ftruncate", self._truncate)
        patch.setattr(os, "rename", self._rename)
        patch.setattr(os, "fsync", self._sync_folder)
        patch.setattr(appended_file, "sync_data", self._sync)
        patch.setattr(directory, "sync_data", self._sync)

    def heal(self) -> None:
        self.room: int | None = None
        self.broken_sync = self.broken_truncate = self.broken_rename = self.broken_folder = False
        self.sync_s = 0.0

    def _write(self, descriptor: int, data: bytes) -> int:
        if self.room is None:
            return _write(descriptor, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = _write(descriptor, data[: self.room])
        self.room -= written
        return written

    def _sync(self, descriptor: int) -> None:
        self.syncs += 1
        time.sleep(self.sync_s)
        if self.broken_sync:
            raise OSError(errno.EIO, "Input/output error")
        _sync(descriptor)

    def _sync_folder(self, descriptor: int) -> None:
        if self.broken_folder:
            raise OSError(errno.EIO, "Input/output error")
        _sync_folder(descriptor)

    def _truncate(self, descriptor: int, size: int) -> None:
        if self.broken_truncate:
            raise OSError(errno.EIO, "Input/output error")
        _truncate(descriptor, size)

    def _rename(self, source: str, target: str) -> None:
        if self.broken_rename:
            raise OSError(errno.EROFS, "Read-only file system")
        _rename(source, target)
