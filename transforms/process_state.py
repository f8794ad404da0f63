"""State in the job's own process, where a runner would lose it together with the process.

Prism is such a runner, and each read and write of a state there is a message to it and one back, which take longer
than the step. What is kept is what the runner would keep: encoded values. Two things differ. What a bundle has written
stands where the bundle fails: this is not for a runner that tries a bundle again. Prism ends the job. And since the
runner knows of no state, it may have two bundles of one key at a time: who reads a state and writes it holds the lock.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any, Final
from weakref import WeakValueDictionary

from apache_beam.transforms.userstate import BagStateSpec


class ProcessState:
    """The states of all steps of a job, for as long as somebody has them. Pickled it is a reference: a runner in the
    same process makes several copies of what runs the steps, and all of them have the one state."""

    _alive: Final[WeakValueDictionary[str, ProcessState]] = WeakValueDictionary()
    _lock: Final = threading.Lock()

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._id = uuid.uuid4().hex
        self._bags: dict[str, dict[str, tuple[bytes, ...]]] = {}
        with self._lock:
            self._alive[self._id] = self

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return ProcessState._of, (self._id,)

    @classmethod
    def _of(cls, id: str) -> ProcessState:
        """Raises KeyError in another process."""
        with cls._lock:
            return cls._alive[id]

    def bag(self, spec: BagStateSpec, key: str) -> ProcessBag:
        """A bag of a key, as Beam's `StateParam` would give it."""
        bags = self._bags.setdefault(spec.name, {})
        return ProcessBag(bags, key, spec.coder)


class ProcessBag:
    """Values that are added, read and cleared together."""

    __slots__ = ("_bags", "_coder", "_key")

    def __init__(self, bags: dict[str, tuple[bytes, ...]], key: str, coder: Any) -> None:
        self._bags = bags
        self._key = key
        self._coder = coder

    def read(self) -> Iterator[Any]:
        return map(self._coder.decode, self._bags.get(self._key, ()))

    def add(self, value: Any) -> None:
        self._bags[self._key] = (*self._bags.get(self._key, ()), self._coder.encode(value))

    def clear(self) -> None:
        self._bags.pop(self._key, None)
