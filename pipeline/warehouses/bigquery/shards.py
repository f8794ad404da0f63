"""Rows spread over a bounded number of keys: behind a shuffle a bundle of Dataflow's has one key."""

from __future__ import annotations

import hashlib


def shard(text: str, shards: int) -> bytes:
    """The key of one of so many shards, 65,536 at most: the same for the same text, in every process."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") % shards).to_bytes(2, "big")
