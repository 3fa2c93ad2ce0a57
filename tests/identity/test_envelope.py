"""Signed envelopes: DSSE to the letter, and nothing looser."""

from __future__ import annotations

from typing import Any

import pytest

from relayjax import canonical
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import RECORD_TYPE, Envelope, Keys, sign, verify_envelope
from relayjax.identity.envelope import pre_authentication

ADA = Keys.derive("ada", b"seed")
PAYLOAD = b'{"kind":"bid"}'
ENVELOPE = sign(PAYLOAD, ADA)


def test_what_is_signed_is_the_encoding_of_the_specification() -> None:
    # DSSE protocol.md, section "Test Vectors".
    signed = pre_authentication("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_an_envelope_verifies_and_survives_the_round_trip() -> None:
    assert verify_envelope(ENVELOPE, ADA.public) == PAYLOAD
    text = canonical.encode(ENVELOPE.to_json())
    assert Envelope.from_json(canonical.decode(text)) == ENVELOPE
    assert ENVELOPE.to_json() == {
        "payload": "eyJraW5kIjoiYmlkIn0=",
        "payloadType": RECORD_TYPE,
        "signatures": [{"keyid": "ada", "sig": canonical.encode_base64(ENVELOPE.signature)}],
    }


def test_every_flipped_bit_of_an_envelope_is_refused() -> None:
    text = canonical.encode(ENVELOPE.to_json())
    for position in range(len(text) * 8):
        damaged = bytearray(text)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((FormatError, IntegrityError)):
            verify_envelope(Envelope.from_json(canonical.decode(bytes(damaged))), ADA.public)


def test_another_signer_type_or_key_is_refused() -> None:
    bob = Keys.derive("bob", b"seed")
    with pytest.raises(IntegrityError, match=r"^entry 7: signed by ada, expected bob"):
        verify_envelope(ENVELOPE, bob.public, where="entry 7")
    with pytest.raises(IntegrityError, match="does not hold"):
        verify_envelope(ENVELOPE, Keys.derive("ada", b"other").public)
    with pytest.raises(IntegrityError, match="type"):
        verify_envelope(sign(PAYLOAD, ADA, "text/plain"), ADA.public)
    posed = Envelope(PAYLOAD, RECORD_TYPE, "ada", sign(PAYLOAD, ADA, "text/plain").signature)
    with pytest.raises(IntegrityError, match="does not hold"):
        verify_envelope(posed, ADA.public)


SIGNATURE = ENVELOPE.to_json()["signatures"][0]


@pytest.mark.parametrize(
    "change",
    [
        {"payload": None},
        {"payload": "eyJraW5kIjoiYmlkIn1="},
        {"payloadType": 1},
        {"signatures": []},
        {"signatures": [SIGNATURE, SIGNATURE]},
        {"signatures": [{**SIGNATURE, "more": 1}]},
        {"signatures": [{**SIGNATURE, "keyid": "A"}]},
        {"signatures": [{"sig": SIGNATURE["sig"]}]},
        {"more": 1},
    ],
)
def test_a_malformed_envelope_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        Envelope.from_json({**ENVELOPE.to_json(), **change})
