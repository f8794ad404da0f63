"""The bytes of many texts at once: numpy compares all of them in the time in which Python looks at a few."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

Letters: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
Places: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"
Answers: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
_LOWER: Final = np.uint8(0x20)
"""The bit by which lower case differs from upper case, and `{` from `[`."""

_COLON, _QUOTATION_MARK, _SPACE = b':" '
_COMMA, _OPENING, _MINUS, _POINT, _ZERO, _EXPONENT = b",[-.0e"
_SMALL: Final = np.frombuffer(b"0.0000", np.uint8)
_LONGEST_NUMBER: Final = 32
"""Of its characters up to its exponent, as orjson writes it; it has 20 digits at most. A longer row is in a string."""
_ENDS_OF_KEYS: Final = (rb"\u0022", rb"\u003a", rb"\u003A")
"""Escape sequences of a quotation mark and of a colon."""


def in_lower_case(document: bytes) -> Letters:
    """The bytes of a document, its letters in lower case; other characters become others."""
    letters: Letters = np.frombuffer(document, np.uint8) | _LOWER
    return letters


def find_word(letters: Letters, word: bytes) -> Places:
    """Where a word begins among the letters: much quicker than `bytes.find`. It does best with a rare first letter."""
    at = np.flatnonzero(letters[: 1 - len(word)] == word[0])
    for offset, letter in enumerate(word[1:], 1):
        if not len(at):
            break
        at = at[letters[at + offset] == letter]
    return at


def indexes(places: Places, ends: Places) -> set[int]:
    """The indexes of the texts in which these places are; `ends` are where each text ends."""
    return {*np.searchsorted(ends, places, side="right").tolist()}


def has_word(letters: Letters, word: bytes) -> bool:
    """Whether a word is among the letters."""
    return len(find_word(letters, word)) > 0


def keys(document: bytes) -> int | None:
    """How many keys an array of valid JSON has; what looks like one in a string counts as well. None where a key may be
    written so that it is not seen: with white space before its colon, or with an escape sequence for what ends it."""
    letters = np.frombuffer(document, np.uint8)
    before = letters[np.flatnonzero(letters == _COLON) - 1]
    if (before <= _SPACE).any() or any(has_word(letters, escape) for escape in _ENDS_OF_KEYS):
        return None
    return int(np.count_nonzero(before == _QUOTATION_MARK))


def find_long_numbers(letters: Letters) -> Places:
    """Where, in JSON without white space, a number begins behind another token that has 16 digits or more, an exponent,
    or four zeros behind its point. What stands in a string may look so as well."""
    padded = np.pad(letters, (0, _LONGEST_NUMBER + 1))
    is_before = (letters == _COLON) | (letters == _COMMA) | (letters == _OPENING)
    at = np.flatnonzero(is_before) + 1
    at += padded[at] == _MINUS
    at = at[padded[at] - _ZERO <= 9]
    numbers = sliding_window_view(padded, _LONGEST_NUMBER)[at]
    are_digits = numbers - _ZERO <= 9  # an unsigned difference: what is less becomes much
    ends = np.argmin(are_digits | (numbers == _POINT), axis=1)
    have_exponents = (numbers[np.arange(len(at)), ends] | _LOWER) == _EXPONENT
    are_whole_and_long = are_digits[:, :16].all(axis=1)
    are_small = (numbers[:, : len(_SMALL)] == _SMALL).all(axis=1)
    return at[have_exponents | are_whole_and_long | are_small | (ends == 0)]


class Shape(NamedTuple):
    """What the bytes of a text may be, one after another: from a lowest one on, so many above it."""

    lowest: Letters
    spans: Letters

    @classmethod
    def of(cls, example: str) -> Shape:
        """That of texts that differ from the example in their digits alone."""
        lowest = np.frombuffer(re.sub(r"\d", "0", example).encode(), np.uint8)
        return cls(lowest, np.where(lowest == ord("0"), np.uint8(9), np.uint8(0)))


def have_shape(texts: pa.StringArray, shapes: Mapping[int, Shape]) -> Answers:
    """Which of the texts have one of the shapes, each of which is of another number of bytes; null has."""
    letters, ends = _letters(texts)
    lengths = np.diff(ends)
    answers: Answers = texts.is_null().to_numpy(zero_copy_only=False)
    for length, shape in shapes.items():
        are_so_long = lengths == length
        number = np.count_nonzero(are_so_long)
        if not number:
            continue
        if number * length == len(letters):
            some = letters
        else:
            some = sliding_window_view(letters, length)[ends[:-1][are_so_long]].ravel()
        # An unsigned difference from a lower letter is a large one.
        are_right = some - np.tile(shape.lowest, number) <= np.tile(shape.spans, number)
        answers[are_so_long] = are_right.all() or are_right.reshape(number, length).all(axis=1)
    return answers


def highest_kind(texts: pa.StringArray, kinds: bytes) -> Letters:
    """The highest kind of a byte of each text, 0 where it has none. `kinds` are those of all 256 bytes."""
    letters, ends = _letters(texts)
    highest = np.zeros(len(texts), np.uint8)
    have_any = ends[1:] > ends[:-1]
    if len(letters):
        of_letters = np.frombuffer(letters.tobytes().translate(kinds), np.uint8)
        highest[have_any] = np.maximum.reduceat(of_letters, ends[:-1][have_any])
    return highest


def _letters(texts: pa.StringArray) -> tuple[Letters, np.ndarray[Any, np.dtype[np.int32]]]:
    """The bytes of all texts, one text after another, and where each begins and the last ends."""
    assert texts.offset == 0
    _, ends, letters = texts.buffers()
    ends = np.frombuffer(ends, np.int32, len(texts) + 1) if len(texts) else np.zeros(1, np.int32)
    return np.frombuffer(letters, np.uint8, ends[-1]) if ends[-1] else np.zeros(0, np.uint8), ends
