"""Bech32 encoding, which age uses for its keys.

References:
  BIP-173, sections "Bech32" and "Checksum". age leaves out its limit of 90 characters.
"""

from __future__ import annotations

from collections.abc import Sequence

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def encode(prefix: str, data: bytes) -> str:
    """Encodes bytes as `prefix ‖ "1" ‖ 5-bit groups ‖ 6 characters of checksum`, in lower case.

    Args:
      prefix: The human-readable part, printable ASCII in lower case.
      data: Any bytes; the last group is filled with zero bits.
    """
    bits = "".join(f"{byte:08b}" for byte in data)
    return encode_words(prefix, [int(bits[i : i + 5].ljust(5, "0"), 2) for i in range(0, len(bits), 5)])


def encode_words(prefix: str, words: Sequence[int]) -> str:
    """Encodes 5-bit groups, integers 0–31, with their checksum."""
    high = [ord(character) >> 5 for character in prefix]
    low = [ord(character) & 31 for character in prefix]
    residue = _polymod([*high, 0, *low, *words, 0, 0, 0, 0, 0, 0]) ^ 1
    checksum = [residue >> shift & 31 for shift in (25, 20, 15, 10, 5, 0)]
    return prefix + "1" + "".join(_ALPHABET[word] for word in (*words, *checksum))


def _polymod(words: Sequence[int]) -> int:
    """Remainder of the groups, as a polynomial over GF(32), by the code's generator."""
    remainder = 1
    for word in words:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ word
        for i, generator in enumerate(_GENERATOR):
            if top >> i & 1:
                remainder ^= generator
    return remainder
