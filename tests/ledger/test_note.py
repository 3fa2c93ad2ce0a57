"""Signed notes and checkpoints: the published example, canonical form, trust."""

from __future__ import annotations

import pytest

from relayjax.canonical import encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from relayjax.ledger.merkle import EMPTY_ROOT
from relayjax.ledger.note import parse_note, sign_note, signer_key, verify_note
from relayjax.ledger.vkey import VerifierKey

KEYS = Keys.derive("log", b"test")
OTHER = Keys.derive("witness", b"test")
TRUSTED = [signer_key("relay.example/log", KEYS.public.signing)]
TEXT = "first line\n\nthird line\n"
NOTE = sign_note(TEXT, "relay.example/log", KEYS)

# The example that the documentation of golang.org/x/mod/sumdb/note gives, with the verifier key of its tests.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""


def test_a_note_signed_by_another_implementation_verifies() -> None:
    key = VerifierKey.decode(GO_KEY)
    assert key.encode() == GO_KEY
    signed = verify_note(GO_NOTE.encode(), [key])
    assert signed.text.startswith("If you think")
    assert (signed.signers, signed.unknown) == ({key: 0}, 0)


def test_a_note_verifies_and_has_the_form_of_the_specification() -> None:
    assert verify_note(NOTE, TRUSTED).text == TEXT
    identifier = signer_key("relay.example/log", KEYS.public.signing).key_id
    line = f"— relay.example/log {encode_base64(identifier + KEYS.sign(TEXT.encode()))}\n"
    assert NOTE.decode() == TEXT + "\n" + line


def test_every_flipped_bit_is_refused() -> None:
    for position in range(len(NOTE) * 8):
        damaged = bytearray(NOTE)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((FormatError, IntegrityError)):
            verify_note(bytes(damaged), TRUSTED)


def _cosigned(note: bytes, text: str, name: str, keys: Keys) -> bytes:
    return note + sign_note(text, name, keys).split(b"\n\n")[-1]


def test_unknown_signers_are_ignored_but_do_not_suffice() -> None:
    both = _cosigned(NOTE, TEXT, "witness.example", OTHER)
    assert verify_note(both, TRUSTED).text == TEXT
    assert verify_note(both, TRUSTED).unknown == 1
    assert [line.name for line in parse_note(both).signatures] == ["relay.example/log", "witness.example"]
    with pytest.raises(IntegrityError, match="no signature by a trusted key"):
        verify_note(sign_note(TEXT, "relay.example/log", OTHER), TRUSTED)


def test_one_trusted_signature_that_does_not_hold_spoils_the_note() -> None:
    trusted = [*TRUSTED, signer_key("witness.example", OTHER.public.signing)]
    spoilt = _cosigned(NOTE, "another text\n", "witness.example", OTHER)
    assert verify_note(spoilt, TRUSTED).text == TEXT
    with pytest.raises(IntegrityError, match="does not hold"):
        verify_note(spoilt, trusted)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE.replace("—".encode(), b"-"),
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(b"third", b"th\xffrd"),
        NOTE.replace(b"relay.example/log ", b"relay.example/log  "),
        NOTE.replace(b"relay.example/log", b"relay+log"),
        NOTE.replace(b"=\n", b"\n"),
        "text\n\n— name AAAAAA==\n".encode(),
        b"x" * (1 << 17) + b"\n" + NOTE,
    ],
)
def test_a_malformed_note_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_note(data)


@pytest.mark.parametrize(
    ("text", "name"), [("no newline", "log"), ("", "log"), ("text\n", "a b"), ("text\n", "")]
)
def test_what_can_be_no_note_is_not_signed(text: str, name: str) -> None:
    with pytest.raises(FormatError):
        sign_note(text, name, KEYS)


def test_a_checkpoint_survives_the_round_trip() -> None:
    checkpoint = Checkpoint("relay.example/log", 20852163, b"\x07" * 32)
    assert (
        checkpoint.encode() == "relay.example/log\n20852163\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n"
    )
    assert (
        verify_checkpoint(sign_checkpoint(checkpoint, KEYS), checkpoint.origin, KEYS.public.signing)
        == checkpoint
    )


@pytest.mark.parametrize("size", ["-1", "+1", "01", "1.0", " 1", "", "1" * 19, "٣"])
def test_a_checkpoint_of_an_odd_size_is_refused(size: str) -> None:
    with pytest.raises(FormatError):
        Checkpoint.decode(f"log\n{size}\n{encode_base64(EMPTY_ROOT)}\n")


def test_a_checkpoint_with_an_empty_line_or_a_short_root_is_refused() -> None:
    good = Checkpoint("log", 1, EMPTY_ROOT).encode()
    for text in (
        good + "extension\n\nmore\n",
        good + "\n",
        good[:-1],
        good.replace("log", ""),
        f"log\n1\n{encode_base64(b'short')}\n",
    ):
        with pytest.raises(FormatError):
            Checkpoint.decode(text)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    note = sign_note(Checkpoint("other.example", 1, EMPTY_ROOT).encode(), "relay.example/log", KEYS)
    with pytest.raises(IntegrityError, match=r"other\.example"):
        verify_checkpoint(note, "relay.example/log", KEYS.public.signing)
