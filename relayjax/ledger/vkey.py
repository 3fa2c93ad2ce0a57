"""Verifier keys: whose signature lines a note is checked for, and of which kind.

    NAME+hex(key id)+base64(signature type ‖ public key)

References:
  C2SP signed-note v1, sections "Signature types" and "Verifier keys".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError
from relayjax.identity import ed25519

ED25519 = 0x01
"""Signs the text of a note; what a log signs with."""

COSIGNATURE = 0x04
"""Signs a checkpoint and the time, with Ed25519; what a witness signs with."""

ML_DSA_COSIGNATURE = 0x06
"""The same with ML-DSA-44, which a quantum computer does not break."""

ID_SIZE = 4
_KINDS = {
    ED25519: ("Ed25519", 32),
    COSIGNATURE: ("Ed25519 cosignature", 32),
    ML_DSA_COSIGNATURE: ("ML-DSA-44 cosignature", 1312),
}


@dataclass(frozen=True)
class VerifierKey:
    """A public key under a name, for one type of signature.

    Attributes:
      name: The signer's name in signature lines.
      kind: `ED25519`, `COSIGNATURE` or `ML_DSA_COSIGNATURE`.
      public: The public key, 32 bytes, or 1312 with ML-DSA-44.
    """

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if self.kind not in _KINDS:
            raise FormatError(
                f"verifier key of {self.name[:80]!r}: signature type {self.kind:#04x} is not supported; "
                f"these are: {', '.join(f'{kind:#04x} ({name})' for kind, (name, _) in _KINDS.items())}"
            )
        if len(self.public) != (size := _KINDS[self.kind][1]):
            raise FormatError(
                f"verifier key of {self.name[:80]!r}: it has {len(self.public)} bytes, expected {size}"
            )

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4], which tells apart keys of one name."""
        material = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(material).digest()[:ID_SIZE]

    def encode(self) -> str:
        """Returns the key as the line of text that the module shows."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"

    @classmethod
    def decode(cls, text: str) -> VerifierKey:
        """Reads what `encode` writes.

        Raises:
          FormatError: The text is no verifier key, of another type, or its id is not that of its key.
        """
        match text.split("+", 2):
            case [name, key_id, encoded]:
                material = decode_base64(encoded)
                if material:
                    key = cls(name, material[0], material[1:])
                    if key.kind != ML_DSA_COSIGNATURE:  # all bytes are a key of ML-DSA
                        ed25519.check_public_key(key.public)
                    if key.key_id.hex() != key_id:
                        raise FormatError(
                            f"verifier key of {name[:80]!r}: its id should be {key.key_id.hex()}"
                        )
                    return key
        raise FormatError(f"verifier key: {text[:120]!r} is not NAME+ID+BASE64")


def check_key_name(name: str) -> None:
    """Refuses a name that can't stand in a signature line: empty, with a space, a control character or a
    plus.

    Raises:
      FormatError: The name is not allowed.
    """
    if not name or any(character.isspace() or character == "+" or character < " " for character in name):
        raise FormatError(
            f"note: {name[:80]!r} can't name a signer; use no spaces, control characters or plus"
        )
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise FormatError(f"note: {name[:80]!r} can't name a signer; it is not Unicode")
