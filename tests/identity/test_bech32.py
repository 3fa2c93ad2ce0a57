"""Bech32 against the test vectors of BIP-173."""

from __future__ import annotations

import pyrage
import pytest

from relayjax.identity.bech32 import encode, encode_words

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@pytest.mark.parametrize(
    "text",
    [
        "A12UEL5L",
        "a12uel5l",
        "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
        "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
        "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
        "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
        "?1ezyfcl",
    ],
)
def test_valid_strings_of_bip_173(text: str) -> None:
    prefix, _, data = text.lower().rpartition("1")
    assert encode_words(prefix, [ALPHABET.index(character) for character in data[:-6]]) == text.lower()


def test_bytes_are_split_into_groups_of_five_bits() -> None:
    # BIP-173 section "Examples": a version 0 witness program is one group, then the bytes of the key hash.
    program = bytes.fromhex("751e76e8199196d454941c45d1b3a323f1433bd6")
    address = encode("bc", program)
    assert encode_words("bc", [0, *(ALPHABET.index(c) for c in address[3:-6])]) == (
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    )


def test_age_reads_what_is_encoded() -> None:
    secret = encode("age-secret-key-", bytes(range(32))).upper()
    assert str(pyrage.x25519.Identity.from_str(secret)) == secret
