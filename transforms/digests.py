"""The message ids of many calls that have none of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from transforms.core import raw_json
from transforms.core.reader import digest
from transforms.letters import find_long_numbers, indexes


def digests(items: Sequence[bytes]) -> Iterator[str]:
    """Of each item what `reader.digest` gives. Few have a number that has to be looked at."""
    texts = [raw_json.usual_canonical(item) for item in items]
    ends = np.cumsum([1 + len(text or b"") for text in texts])
    together = b"".join(b",%b" % (text or b"") for text in texts)
    places = find_long_numbers(np.frombuffer(together, np.uint8))
    have_long_numbers = indexes(places, ends)
    for index, (item, text) in enumerate(zip(items, texts, strict=True)):
        if text is None or index in have_long_numbers:
            yield digest(item)
        else:
            yield hashlib.sha256(text).hexdigest()
