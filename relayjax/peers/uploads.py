"""Who may put a file: its owner signs what goes where, and that can be checked before the body is read.

    Relayjax-Upload: NAME DIGEST SIGNATURE

DIGEST is the BLAKE3 digest of the body, hexadecimal; SIGNATURE, in base64, NAME's Ed25519 signature over a
DSSE envelope of the media type below whose payload is, in canonical JSON,

    {"digest": digest, "method": "PUT", "path": path, "run": run, "size": number, "to": key}

with the run's digest and the orderer's receiving key, for which a delta is sealed. So a signature that was
overheard puts the same bytes to the same place, for the same reader of the same run, and no others. Its owner
had put them there itself; a head that it sealed anew after a restart holds the same delta as the one before.

What is signed as a record, or as anything else, is of another media type and counts for nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from relayjax import canonical, hashing
from relayjax.errors import FormatError
from relayjax.hashing import is_digest
from relayjax.identity import Envelope, Keys, PublicKeys, sign, verify_envelope
from relayjax.mechanism.state import State
from relayjax.peers.exchange import Exchange

HEADER = "Relayjax-Upload"
UPLOAD_TYPE = "application/vnd.relayjax.upload+json"


@dataclass(frozen=True)
class Occasion:
    """What a signature is good for, beside its file.

    Attributes:
      run: digest of the genesis record.
      to: receiving key of who orders.
    """

    run: str
    to: str

    @classmethod
    def of(cls, state: State) -> Occasion:
        """The present one."""
        return cls(state.run, state.members[state.orderer].receiving)


@dataclass(frozen=True)
class Signer:
    """A member that signs what it puts.

    Attributes:
      keys: its own.
      occasion: of its uploads.
    """

    keys: Keys
    occasion: Occasion

    def header(self, path: str, data: bytes) -> str:
        """The header's value for a file."""
        digest = hashing.digest(data)
        signed = sign(_statement(path, digest, len(data), self.occasion), self.keys, UPLOAD_TYPE)
        return f"{self.keys.name} {digest} {canonical.encode_base64(signed.signature)}"


@runtime_checkable
class Signing(Protocol):
    """An exchange whose other end asks who puts a file."""

    signer: Signer | None


def sign_uploads(exchange: Exchange, keys: Keys, state: State) -> None:
    """Has an exchange sign what is put from now on, if its other end asks for that."""
    if isinstance(exchange, Signing):
        exchange.signer = Signer(keys, Occasion.of(state))


def verify_upload(header: str, path: str, size: int, owner: PublicKeys, occasion: Occasion) -> str:
    """Verifies that a file is put by its owner.

    Args:
      header: the header's value, from anybody.
      path: where the file is to lie.
      size: bytes that the body is said to have.
      owner: whose file it is.
      occasion: the present one.

    Returns:
      The digest that the body must have.

    Raises:
      FormatError: the header is none.
      IntegrityError: somebody else has signed it, or something else was signed.
    """
    name, _, rest = header.partition(" ")
    digest, _, signature = rest.partition(" ")
    if not is_digest(digest):
        raise FormatError(f"{HEADER}: expected a name, the digest of the body and a signature")
    payload = _statement(path, digest, size, occasion)
    signed = Envelope(payload, UPLOAD_TYPE, name, canonical.decode_base64(signature))
    verify_envelope(signed, owner, UPLOAD_TYPE, "upload")
    return digest


def _statement(path: str, digest: str, size: int, occasion: Occasion) -> bytes:
    what = {"digest": digest, "method": "PUT", "path": path, "size": size}
    return canonical.encode({**what, "run": occasion.run, "to": occasion.to})
