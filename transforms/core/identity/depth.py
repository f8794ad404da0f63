"""Stage 2, by id, once for each hop but the last: whether only a replay can follow the path through a chain id.

Each chain id sends a token along its earliest edge, which is passed on along the path of earliest edges. Where it still
stands on a chain id after the last hop, the path is longer than households follow it, or leads into a cycle. A token of
a later edge makes a chain id deep wherever it stands: a later edge takes effect only in a cycle, and may lead out of
it; then chains must know what it leads to.

    phone → ann@x → u7            the token of ann@x stands on u7, which is no chain id: nothing is deep
    p0 → p1 → p2 → p3 → p4        with three hops: the token of p1 stands on p3 after two of them, which is deep
    a → b, b → a                  the token of a stands on b, then on a: all of a cycle is deep

Invariant, by the rules of `state.rules`: chains knows whether this hop finds the id deep, and if it does, every edge
out of it. Whatever follows a deep id on its path is deep.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from transforms.core.identity.passing import Destination, passed
from transforms.core.identity.protocol import (
    CHAINS,
    Deep,
    Hop,
    Newest,
    Pointer,
    ProtocolMessage,
    Token,
    keep_newest,
)
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED
from transforms.core.stamps import Stamp


class DepthState(msgspec.Struct, array_like=True, gc=False):
    """The tokens that stand here, and those that have left; the user of the earliest edge, None where the id is no
    chain id, since which version; all edges; what chains was told last, and its version; how often all was told anew,
    and the version of the rules that it was made by."""

    tokens: Newest[bool] = {}
    target: str | None = None
    version: int = 0
    edges: dict[str, Stamp] = {}
    is_deep: bool = False
    sent: int = 0
    rewritten: int = 0
    rules: int = UNVERSIONED


class DepthOutbox(msgspec.Struct, gc=False):
    """Tokens to the next hop by id, and messages to chains, which has one key."""

    tokens: list[tuple[str, ProtocolMessage]] = []
    deep: list[tuple[str, ProtocolMessage]] = []


def size(state: DepthState) -> int:
    """Tokens that stand here, and those that have left."""
    return len(state.tokens)


def step(
    hop: Hop, key: str, state: DepthState | None, inbox: Iterable[Token | Pointer]
) -> tuple[DepthState, DepthOutbox]:
    """Keeps the newest messages, passes tokens on, and tells chains what has changed; everything where older rules did
    so."""
    before = state or DepthState(rules=RULES_VERSION)
    by_other_rules = before.rules != RULES_VERSION
    tokens, edges = dict(before.tokens), dict(before.edges)
    target, version = before.target, before.version
    newer, new = set(), {}
    for message in inbox:
        if isinstance(message, Token):
            if keep_newest(tokens, message.id, message.version, message.is_later):
                newer.add(message.id)
            continue
        for user, stamp in message.edges.items():
            if user not in edges or stamp < edges[user]:
                edges[user] = new[user] = stamp
        if message.version > version:
            target, version = message.target, message.version
    outbox = DepthOutbox()
    rewritten = before.rewritten + by_other_rules
    led_to, leads_to = _next(hop, before.target), _next(hop, target)
    concerns_all = by_other_rules or led_to != leads_to
    ids = sorted(tokens if concerns_all else newer)
    for to, id, passed_version, is_later in passed(ids, before.tokens, tokens, led_to, leads_to, version + rewritten):
        outbox.tokens.append((to.key, Token(id, passed_version, is_later)))
    standing = {is_later for _, is_later in tokens.values() if is_later is not None}
    is_deep = target is not None and (True in standing or (hop.is_last and False in standing))
    sent = before.sent
    if is_deep != before.is_deep or (is_deep and new) or by_other_rules:
        sent += 1
        unsent = {} if not is_deep else new if before.is_deep and not by_other_rules else edges
        outbox.deep.append((CHAINS, Deep(key, hop.number, sent, is_deep, unsent)))
    return DepthState(tokens, target, version, edges, is_deep, sent, rewritten, RULES_VERSION), outbox


def _next(hop: Hop, target: str | None) -> Destination | None:
    return Destination("hop", target) if target is not None and not hop.is_last else None
