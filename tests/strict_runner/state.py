"""The state of all keys, and what one run of a work item sees and writes of it."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import sdk_worker

StateKey = beam_fn_api_pb2.StateKey
_USER_STATES: Final = ("bag_user_state", "multimap_user_state")
_OTHER_STATES: Final = (
    "runner",
    "iterable_side_input",
    "multimap_side_input",
    "multimap_keys_side_input",
    "multimap_keys_values_side_input",
)
_NOTHING: Final[tuple[bytes, ...]] = ()


class Cell(NamedTuple):
    """One state of one key in one window, by its place in the graph."""

    transform: str
    name: str
    key: bytes


def user_state(state_key: Any) -> Any:
    """The part of a `StateKey` that has the transform, the state's name and the key."""
    return getattr(state_key, state_key.WhichOneof("type"))


def _cell(state_key: Any) -> Cell:
    of_user = user_state(state_key)
    return Cell(of_user.transform_id, of_user.user_state_id, of_user.key)


class Cells:
    """What is committed. Side inputs and what the runner itself keeps are in it as well: they are written by no work
    item, through the methods of FnApiRunner's state."""

    def __init__(self) -> None:
        self._cells: dict[bytes, list[bytes]] = {}
        self._sizes: defaultdict[tuple[str, bytes], int] = defaultdict(int)

    def read(self, key: bytes) -> list[bytes] | tuple[bytes, ...]:
        return self._cells.get(key, _NOTHING)

    def append_raw(self, state_key: Any, data: bytes) -> None:
        self._cells.setdefault(state_key.SerializeToString(), []).append(data)

    def saved(self) -> dict[bytes, tuple[bytes, ...]]:
        """The states of all keys, for an update."""
        kinds = ((key, chunks, StateKey.FromString(key).WhichOneof("type")) for key, chunks in self._cells.items())
        return {key: tuple(chunks) for key, chunks, kind in kinds if kind in _USER_STATES}

    def restore(self, saved: Mapping[bytes, tuple[bytes, ...]]) -> None:
        """Takes over what another job has saved."""
        for key, chunks in saved.items():
            cell = _cell(StateKey.FromString(key))
            self._cells[key] = list(chunks)
            self._sizes[cell.transform, cell.key] += sum(map(len, chunks))

    def of(self, transform: str, name: str) -> dict[bytes, bytes]:
        """What a transform keeps in one of its states, by key."""
        cells = ((_cell(StateKey.FromString(key)), chunks) for key, chunks in self.saved().items())
        return {
            cell.key: b"".join(chunks) for cell, chunks in cells if (cell.transform, cell.name) == (transform, name)
        }

    def commit(self, written: Mapping[bytes, list[bytes]]) -> Iterator[tuple[Cell, int, int]]:
        """Takes over what a work item has written; gives each cell with its bytes, and those of all of its key."""
        for key, chunks in written.items():
            cell = _cell(StateKey.FromString(key))
            size = sum(map(len, chunks))
            place = cell.transform, cell.key
            of_key = self._sizes[place] + size - sum(map(len, self._cells.pop(key, ())))
            if chunks:
                self._cells[key] = chunks
            if of_key:
                self._sizes[place] = of_key
            else:
                del self._sizes[place]
            yield cell, size, of_key


class StateView(sdk_worker.StateHandler):
    """What one worker's present work item reads and writes: nothing of it counts before `Cells.commit`.
    `size` is how many bytes it has written, `read` how many it has read."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self.begin()

    def begin(self) -> None:
        """Forgets what the work item before has written."""
        self.written: dict[bytes, list[bytes]] = {}
        self.size = self.read = 0

    @contextlib.contextmanager
    def process_instruction_id(self, bundle_id: str) -> Iterator[None]:
        yield

    def get_raw(self, state_key: Any, continuation_token: bytes | None = None) -> tuple[bytes, None]:
        _check(state_key)
        key = state_key.SerializeToString()
        chunks = self.written.get(key)
        content = b"".join(self._cells.read(key) if chunks is None else chunks)
        self.read += len(content)
        return content, None

    def append_raw(self, state_key: Any, data: bytes) -> Any:
        _check(state_key)
        key = state_key.SerializeToString()
        if key not in self.written:
            self.written[key] = list(self._cells.read(key))
        self.written[key].append(data)
        self.size += len(data)
        return sdk_worker._Future.done()

    def clear(self, state_key: Any) -> Any:
        _check(state_key)
        self.written[state_key.SerializeToString()] = []
        return sdk_worker._Future.done()

    def done(self) -> None:
        pass

    def largest(self) -> tuple[str, int]:
        """The name of the largest cell that was written, and its bytes."""
        sizes = {key: sum(map(len, chunks)) for key, chunks in self.written.items()}
        largest = max(sizes, key=lambda key: sizes[key], default=None)
        return ("", 0) if largest is None else (_cell(StateKey.FromString(largest)).name, sizes[largest])


def _check(state_key: Any) -> None:
    kind = state_key.WhichOneof("type")
    if kind not in _USER_STATES + _OTHER_STATES:
        raise NotImplementedError(f"{kind}: whether Dataflow has it is open, and so it is not here")
