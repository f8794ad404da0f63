"""Bytes that no sender should send, in volume: messages taken apart and put together wrongly, by a seeded generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.histories import line
from transforms.core.raw_json import decode_fields

_NAMES = (
    *(b'"type"', b'"userId"', b'"anonymousId"', b'"previousId"', b'"groupId"', b'"messageId"', b'"projectId"'),
    *(b'"timestamp"', b'"originalTimestamp"', b'"sentAt"', b'"receivedAt"', b'"event"', b'"name"'),
    *(b'"traits"', b'"properties"', b'"context"', b'"integrations"', b'"batch"', b'"from"', b'"to"', b'"from_"'),
)
_ODD_NAMES = (
    *(b'"User ID"', b'"user_id"', b'"USERID"', b'"Batch"', b'"TYPE"', b'"message id"', b'"Time Stamp"', b'"con_text"'),
    *(b'"user\\u0049d"', b'"\\u0000"', b'"\\ud83d\\ude00"', b'"\\ud800"', b'""', b'"_metadata"', b"5", b"null"),
)
_CALLS = (
    b'{"type":"page","userId":"u","timestamp":"2023-11-14T22:13:20.000Z","properties":{"path":"/"}}',
    b'{"type":"track","event":"E","anonymousId":"a","messageId":"m","sentAt":1700000000000}',
    b'{"type":"Identify","userId":7,"anonymousId":"a","traits":{"email":"ann@acme.com"}}',
    b'{"type":"identify","userId":" u ","traits":{"company":{"id":1,"name":"A"},"createdAt":0}}',
    b'{"type":"identify","userId":"u","traits":{"Big Spender":"true"},'
    b'"context":{"personas":{"computation_class":"audience","computation_key":"Big Spender"}}}',
    b'{"type":"track","event":"E","userId":"u","properties":{"trait_key":"k","k":[1.50]},'
    b'"context":{"personas":{"computation_class":"computed_trait"}}}',
    b'{"type":"group","userId":"u","groupId":"acme","traits":{"name":"Acme","employees":5.0,"website":"acme.com"}}',
    b'{"type":"alias","userId":"u","previousId":"a","receivedAt":"2023-11-14"}',
    b'{"type":"delete","userId":"u","context":null,"integrations":null}',
    b'{"type":"identify","user_id":"u","Context":{"groupId":"g"},"received_at":1700000000000}',
)
_FIELDS = tuple([(line(name), bytes(raw)) for name, raw in decode_fields(call).items()] for call in _CALLS)
_VALUES = (
    *(b"null", b"true", b"false", b"0", b"-0.0", b"1.5", b"7", b"-1", b'""', b"[]", b"{}", b'" "', b'"null"', b'"0-0"'),
    *(b'"page"', b'"track"', b'"identify"', b'"group"', b'"alias"', b'"delete"', b'"u"', b'["a"]', b"[{}]"),
    *(b'{"id":1}', b'{"a":1,"a":2}', b'{"\\ud800":1}', b'{"":{"":[]}}', b'{ "a" :\r[ 1 ] }', b'{"x":"]},{\\"[{"}'),
    # numbers
    *(b"1e400", b"-1e400", b"1E-400", b"1e22", b"1" + b"0" * 308, b"9223372036854775808", b"36893488147419103232"),
    *(b"1700000000", b"1e15", b"-62135596800000", b"NaN", b"Infinity", b"01", b"1.", b"+1"),
    # strings
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"a\\u0000b"', b'" \\t\\u00a0u\\n"'),
    *(b'"\xc3\xa9"', b'"\xff"', b'"\xed\xa0\x80"', b'"\x00"', b'"\t"', b'"\xe2\x80\x8b"', b'"\xf0\x9f\x98\x80"'),
    *(b'"\x7f"', b'"\\x"', b'"\\u12"', b'"', b"'u'", b"tru", b"nul", b"undefined"),
    # times
    *(b'"0000-01-01"', b'"0001-01-01"', b'"9999-12-31T23:59:59.999Z"', b'"2023-02-30"', b'"10000-01-01"'),
    *(b'"1959-12-31"', b'"2160-01-01"', b'"2023-11-14 22:13:20 +0000 UTC m=+1.5"', b'"1e3"'),
    # what Engage, accounts, integrations and batches are read from
    *(b'{"personas":[]}', b'{"personas":{"computation_class":"trait"}}', b'{"audience_key":"audience_key"}'),
    *(b'{"groupId":[]}', b'{"company.id":"c"}', b'{"company":{"id":1e400}}', b'{"email":"@"}', b'{"createdAt":1e400}'),
    *(b'{"email":"a@xn--.com"}', b'{"email":"a@\xc3\xbc.de"}', b'{"website":"http://[a"}', b'{"page":{"path":5}}'),
    *(b'{"All":false}', b'[{"type":"page","userId":"u"}]'),
)
_DEEP = (
    b"[" * 501 + b"]" * 501,
    b"[" * 1000 + b"]" * 1000,
    b"[" * 3000 + b"]" * 3000,
    b'{"k":' * 600 + b"1" + b"}" * 600,
    b'{"a":[' * 700 + b"]}" * 700,
    b"[" * 99 + b'"\\ud800"' + b"]" * 99,
    b"[" * 1500 + b"garbage" + b"]" * 1500,
    b"[" * 1200,
)
_LONG = (b"1" * 5000, b'"%b"' % (b"u" * 10_000), b'{"%b":1}' % (b"k" * 10_000), b"[%b0]" % (b"0," * 3000))
_TOKENS = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"0", b"-", b"e", b"\x00", b"\xff"),
    *(b" ", b"\n", b"\r", b"\x0b", b"\xef\xbb\xbf", b"null", b"{}", b"[]", b"[" * 50, b"/*", b"//"),
    *(b'"batch":', b'"type":"page",'),
)


def hostile(rng: Random) -> bytes:
    """One message, or what might be taken for one."""
    return rng.choices(_KINDS, _WEIGHTS)[0](rng)


def _noise(rng: Random) -> bytes:
    return rng.randbytes(rng.randrange(40))


def _tokens(rng: Random) -> bytes:
    return b"".join(rng.choices((*_TOKENS, *_NAMES, *_VALUES), k=rng.randrange(12)))


def _call(rng: Random) -> bytes:
    """A call with fields that are replaced, added, repeated, left out or named oddly."""
    fields = list(rng.choice(_FIELDS))
    if rng.random() < 0.7:
        fields.append((b'"timestamp"', b"1700000000000"))
    for _ in range(rng.randrange(3)):
        name = rng.choice(_NAMES if rng.random() < 0.7 else _ODD_NAMES)
        fields.insert(rng.randrange(len(fields) + 1), (name, _value(rng)))
    if rng.random() < 0.2:
        del fields[rng.randrange(len(fields))]
    if rng.random() < 0.2:
        rng.shuffle(fields)
    space = rng.choice((b"", b"", b" ", b"\r\n\t"))
    return b"{%b}" % (b"," + space).join(b"%b:%b%b" % (name, space, value) for name, value in fields)


def _value(rng: Random) -> bytes:
    pools: Sequence[Sequence[bytes]] = (_VALUES, _DEEP, _LONG)
    return rng.choice(rng.choices(pools, (96, 3, 1))[0])


def _items(rng: Random) -> bytes:
    items = [_call(rng) if rng.random() < 0.8 else _value(rng) for _ in range(rng.randrange(4))]
    return b"[%b]" % rng.choice((b",", b" , ", b",\n")).join(items)


def _batch(rng: Random) -> bytes:
    fields = [(rng.choice(_NAMES), _value(rng)) for _ in range(rng.randrange(3))]
    fields.append((rng.choice((b'"batch"', b'"batch"', b'"BATCH"')), _items(rng)))
    rng.shuffle(fields)
    return b"{%b}" % b",".join(b"%b:%b" % field for field in fields)


def _damaged(rng: Random) -> bytes:
    """A message with a few bytes lost, changed, repeated or put in."""
    payload = bytearray(rng.choice((_call, _call, _items, _batch))(rng))
    for _ in range(rng.choice((1, 1, 2, 5))):
        start = rng.randrange(len(payload) + 1)
        end = start + rng.choice((0, 1, 1, 2, 10))
        payload[start:end] = rng.choice((b"", rng.choice(_TOKENS), rng.randbytes(1), payload[start:end] * 2))
    return bytes(payload[: rng.randrange(len(payload) + 1)] if rng.random() < 0.1 else payload)


_KINDS: tuple[Callable[[Random], bytes], ...] = (_noise, _tokens, _call, _items, _batch, _damaged)
_WEIGHTS = (5, 5, 45, 10, 10, 25)
