"""The envelope of what could not be read."""

from __future__ import annotations

import hashlib

from msgspec import Raw

from schemas.tables import DEAD_LETTERS
from transforms.core.dead_letters import RETRYABLE, Reason, Refused, Stage, dead_letter

PAYLOAD = b"\xff\0 not a message"


def test_a_dead_letter_keeps_everything_that_is_known() -> None:
    refused = Refused(Reason.INVALID_FIELD, "userId: a list is not an id")
    row = dead_letter(Stage.PARSE, refused, PAYLOAD, {"b": "2", "a": "\u00e9"}, message_id="m", connection="c")
    assert row.payload == PAYLOAD
    assert (row.stage, row.reason, row.detail) == ("parse", "invalid_field", "userId: a list is not an id")
    assert row.attributes == Raw('{"a":"\u00e9","b":"2"}'.encode())
    assert (row.message_id, row.connection, row.failed_at) == ("m", "c", None)
    assert DEAD_LETTERS.misfit(row) is None


def test_its_id_is_the_hash_of_stage_reason_and_payload_so_that_a_redelivery_is_one() -> None:
    refused = Refused(Reason.INVALID_JSON, "some words")
    row = dead_letter(Stage.PARSE, refused, PAYLOAD, {})
    assert row.dead_letter_id == hashlib.sha256(b"parse\ninvalid_json\n" + PAYLOAD).hexdigest()
    again = dead_letter(Stage.PARSE, Refused(Reason.INVALID_JSON, "other words"), PAYLOAD, {"k": "v"}, message_id="m")
    assert again.dead_letter_id == row.dead_letter_id
    others = [
        dead_letter(Stage.WRITE, refused, PAYLOAD, {}),
        dead_letter(Stage.PARSE, Refused(Reason.MISSING_ID, "some words"), PAYLOAD, {}),
        dead_letter(Stage.PARSE, refused, PAYLOAD + b" ", {}),
    ]
    assert len({row.dead_letter_id, *(other.dead_letter_id for other in others)}) == 4


def test_only_what_is_too_large_is_cut() -> None:
    payload = b"x" * 1_000_001
    assert dead_letter(Stage.PARSE, Refused(Reason.TOO_LARGE, ""), payload, {}).payload == b"x" * 1_000_000
    for reason in set(Reason) - {Reason.TOO_LARGE}:
        assert dead_letter(Stage.PARSE, Refused(reason, ""), payload, {}).payload == payload


def test_another_connections_file_or_a_job_that_ends_may_accept_what_it_is() -> None:
    retryable = {reason for reason in Reason if dead_letter(Stage.PARSE, Refused(reason, ""), PAYLOAD, {}).retryable}
    assert retryable == RETRYABLE == {Reason.UNKNOWN_CONNECTION, Reason.OUT_OF_PARTITION_RANGE}


def test_reasons_are_listed_in_their_order() -> None:
    assert [reason.value for reason in Reason] == [
        *("too_large", "invalid_json", "unsupported_type", "unknown_connection", "invalid_field"),
        *("missing_id", "missing_field", "out_of_partition_range"),
    ]


def test_an_attribute_with_a_sender_s_secret_is_not_kept() -> None:
    refused = Refused(Reason.INVALID_JSON, "why")
    letter = dead_letter(Stage.PARSE, refused, b"{", {"write_key": "s3cret", "connection": "site"})
    assert bytes(letter.attributes) == b'{"connection":"site"}'
