"""Signed records: a DSSE envelope holds the exact bytes that were signed; verifying re-encodes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import ed25519
from relayjax.identity.keys import Keys, PublicKeys, check_name

RECORD_TYPE = "application/vnd.relayjax.record+json"


@dataclass(frozen=True)
class Envelope:
    """A payload with one signature.

    Attributes:
      payload: The signed bytes.
      payload_type: Their media type; it is signed with them.
      signer: The name of who is said to have signed (`keyid`); not signed itself, hence checked by
        `verify_envelope`.
      signature: Ed25519, 64 bytes.
    """

    payload: bytes
    payload_type: str
    signer: str
    signature: bytes

    def to_json(self) -> dict[str, Any]:
        """Returns the envelope as the JSON object of DSSE v1, base64 standard with padding:

        {"payload": base64, "payloadType": str, "signatures": [{"keyid": name, "sig": base64}]}
        """
        return {
            "payload": encode_base64(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": self.signer, "sig": encode_base64(self.signature)}],
        }

    @classmethod
    def from_json(cls, obj: Any) -> Envelope:
        """Reads the object that `to_json` writes; verifies no signature.

        Raises:
          FormatError: A field is missing, unknown, of a wrong type, or there is not exactly one signature.
        """
        match obj:
            case {
                "payload": str(payload),
                "payloadType": str(payload_type),
                "signatures": [{"keyid": str(signer), "sig": str(signature), **more}],
                **others,
            } if not more and not others:
                check_name(signer)
                return cls(decode_base64(payload), payload_type, signer, decode_base64(signature))
        raise FormatError(
            "envelope: expected payload, payloadType and one signature of keyid and sig, nothing else"
        )


def sign(payload: bytes, keys: Keys, payload_type: str = RECORD_TYPE) -> Envelope:
    """Signs bytes as a participant.

    Args:
      payload: What is signed, kept as it is.
      keys: The signer's.
      payload_type: Media type; keeps a signature on one kind of thing from being used for another.
    """
    return Envelope(payload, payload_type, keys.name, keys.sign(pre_authentication(payload_type, payload)))


def verify_envelope(
    envelope: Envelope, public: PublicKeys, payload_type: str = RECORD_TYPE, where: str = "envelope"
) -> bytes:
    """Verifies that a participant signed an envelope; returns its payload.

    The signature is held to the strict rule of `relayjax.identity.ed25519`.

    Args:
      envelope: From whoever.
      public: Of the participant who must have signed.
      payload_type: The media type it must have.
      where: Names the envelope in the error, for instance its file and entry.

    Raises:
      IntegrityError: Another signer, another type, or a signature that does not hold.
    """
    if envelope.signer != public.name:
        raise IntegrityError(where, f"signed by {envelope.signer}, expected {public.name}")
    if envelope.payload_type != payload_type:
        raise IntegrityError(where, f"type {envelope.payload_type[:80]!r}, expected {payload_type!r}")
    message = pre_authentication(payload_type, envelope.payload)
    ed25519.verify(bytes.fromhex(public.signing), envelope.signature, message, where)
    return envelope.payload


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Returns the bytes that are signed, PAE of DSSE v1.

    "DSSEv1" SP len(type) SP type SP len(payload) SP payload, with lengths in bytes as ASCII decimals.

    References:
      DSSE v1.0, protocol.md, section "Signature Definition".
    """
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
