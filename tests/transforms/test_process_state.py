"""State that a job keeps in its own process: the same as a runner's, for each step and key, and for no other job."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest
from apache_beam.transforms.userstate import BagStateSpec

from transforms.coders import PackedCoder
from transforms.process_state import ProcessState

_NAMES = BagStateSpec("names", PackedCoder())
_PLACES = BagStateSpec("places", PackedCoder())


def test_a_bag_holds_what_was_added_to_it_until_it_is_cleared() -> None:
    state = ProcessState()
    state.bag(_NAMES, "a").add(b"1")
    state.bag(_NAMES, "a").add(b"2")
    state.bag(_NAMES, "b").add(b"3")
    state.bag(_PLACES, "a").add(b"4")
    assert list(state.bag(_NAMES, "a").read()) == [b"1", b"2"]
    state.bag(_NAMES, "a").clear()
    state.bag(_NAMES, "unknown").clear()
    assert [list(state.bag(spec, key).read()) for spec in (_NAMES, _PLACES) for key in "ab"] == [[], [b"3"], [b"4"], []]


def test_a_value_that_changes_later_stays_as_it_was_added() -> None:
    class ListCoder:
        encode = staticmethod(msgspec.msgpack.encode)
        decode = staticmethod(msgspec.msgpack.decode)

    state, value = ProcessState(), [1]
    spec: Any = type("Spec", (), {"name": "values", "coder": ListCoder})
    state.bag(spec, "a").add(value)
    value.append(2)
    next(iter(state.bag(spec, "a").read())).append(3)
    assert list(state.bag(spec, "a").read()) == [[1]]


def test_copies_have_the_one_state_while_anybody_has_it() -> None:
    state = ProcessState()
    pickled = pickle.dumps(state)
    copy = pickle.loads(pickled)
    copy.bag(_NAMES, "a").add(b"1")
    del copy
    assert list(state.bag(_NAMES, "a").read()) == [b"1"]
    del state
    with pytest.raises(KeyError):  # as in another process
        pickle.loads(pickled)


def test_each_step_has_a_state_of_its_own() -> None:
    ours, theirs = ProcessState(), ProcessState()
    ours.bag(_NAMES, "a").add(b"1")
    assert not list(theirs.bag(_NAMES, "a").read())
