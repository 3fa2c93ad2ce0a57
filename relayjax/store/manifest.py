"""The seal manifest: which sealed bytes hold which artefact, said and signed by who sealed them.

The ledger names an artefact by the digest of its plaintext. Sealing is random, so the digest of the sealed
bytes cannot be in a ledger that two runs must agree on; it is in a manifest beside it, one a round,
canonical JSON:

    {"round": 12, "seals": [{"artefact": digest of the plaintext, "kind": one of `KINDS`,
                             "size": bytes of the plaintext, "sealed": [digests of the sealed pieces],
                             "recipients": [names, sorted]}, … sorted by artefact]}

Each 2²⁴ bytes of a plaintext are one piece, sealed for themselves: large artefacts take little memory, and go
on where a transfer was cut short.

It is kept as a DSSE envelope of type `MANIFEST_TYPE`, itself canonical JSON: a flipped bit anywhere in it
is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from relayjax import canonical
from relayjax.errors import FormatError, IntegrityError
from relayjax.hashing import CHUNK
from relayjax.identity import Envelope, Keys, PublicKeys, check_name, sign, verify_envelope
from relayjax.store.base import check_digest

MANIFEST_TYPE = "application/vnd.relayjax.seals+json"
SIZE_LIMIT = 1 << 24  # bytes; a round of hundreds of artefacts for hundreds of recipients stays below
KINDS = ("delta", "model", "residual")
PIECE = 16 * CHUNK
"""Bytes of the plaintext that are sealed together."""


def piece_count(size: int) -> int:
    """Returns in how many pieces so many bytes are sealed: one at least."""
    return max(1, -(-size // PIECE))


@dataclass(frozen=True)
class Seal:
    """One sealed artefact. One that exists is valid.

    Attributes:
      artefact: digest of the plaintext.
      kind: one of `KINDS`.
      size: bytes of the plaintext.
      sealed: digests of the sealed pieces in their order, at least one.
      recipients: names of those who can open it, sorted, at least one.
    """

    artefact: str
    kind: str
    size: int
    sealed: tuple[str, ...]
    recipients: tuple[str, ...]

    def __post_init__(self) -> None:
        check_digest(self.artefact)
        for digest in self.sealed:
            check_digest(digest)
        if self.kind not in KINDS:
            raise FormatError(f"seal of {self.artefact}: kind {self.kind[:80]!r}, expected one of {KINDS}")
        if self.size < 0:
            raise FormatError(f"seal of {self.artefact}: size {self.size}, expected bytes, 0 or more")
        if len(self.sealed) != piece_count(self.size):
            raise FormatError(
                f"seal of {self.artefact}: {len(self.sealed)} pieces, {self.size} bytes have "
                f"{piece_count(self.size)}"
            )
        for name in self.recipients:
            check_name(name)
        if not self.recipients or list(self.recipients) != sorted(set(self.recipients)):
            raise FormatError(
                f"seal of {self.artefact}: recipients must be one or more names, sorted, none twice"
            )


@dataclass(frozen=True)
class SealManifest:
    """What was sealed in a round; `seals` is sorted by artefact, none twice."""

    round: int
    seals: tuple[Seal, ...]

    def __post_init__(self) -> None:
        artefacts = [seal.artefact for seal in self.seals]
        if self.round < 0 or artefacts != sorted(set(artefacts)):
            raise FormatError(
                f"seal manifest of round {self.round}: seals must be sorted by artefact, none twice"
            )

    def find(self, artefact: str) -> Seal:
        """Returns the seal of an artefact.

        Raises:
          IntegrityError: the round sealed no such artefact.
        """
        for seal in self.seals:
            if seal.artefact == artefact:
                return seal
        raise IntegrityError(f"seal manifest of round {self.round}", f"names no artefact {artefact[:80]}")


def sign_manifest(manifest: SealManifest, signer: Keys) -> bytes:
    """Encodes and signs a manifest; returns the envelope's bytes."""
    envelope = sign(canonical.encode(asdict(manifest)), signer, MANIFEST_TYPE)
    return canonical.encode(envelope.to_json())


def verify_manifest(data: bytes, signers: Mapping[str, PublicKeys], round: int, where: str) -> SealManifest:
    """Verifies and decodes a manifest.

    Args:
      data: the envelope's bytes, from anybody.
      signers: who may have signed it, by name.
      round: which it must be of.
      where: the file, for the error.

    Raises:
      IntegrityError: another spelling, an unknown signer, a signature that does not hold, another round.
    """
    try:
        envelope = Envelope.from_json(canonical.decode(data, SIZE_LIMIT))
        if envelope.signer not in signers:
            raise IntegrityError(where, f"signed by {envelope.signer}, who is not among those who may seal")
        manifest = _parse(verify_envelope(envelope, signers[envelope.signer], MANIFEST_TYPE, where))
    except FormatError as error:
        raise IntegrityError(where, str(error)) from error
    if manifest.round != round:
        raise IntegrityError(where, f"is the manifest of round {manifest.round}, expected round {round}")
    return manifest


def _parse(payload: bytes) -> SealManifest:
    match canonical.decode(payload, SIZE_LIMIT):
        case {"round": int(round), "seals": list(seals), **more} if not more and type(round) is int:
            return SealManifest(round, tuple(_parse_seal(seal) for seal in seals))
    raise FormatError("seal manifest: expected round and seals, nothing else")


def _parse_seal(obj: Any) -> Seal:
    match obj:
        case {
            "artefact": str(artefact),
            "kind": str(kind),
            "size": int(size),
            "sealed": list(sealed),
            "recipients": list(recipients),
            **more,
        } if not more and type(size) is int and all(isinstance(text, str) for text in [*sealed, *recipients]):
            return Seal(artefact, kind, size, tuple(sealed), tuple(recipients))
    raise FormatError("seal: expected artefact, kind, size, sealed and recipients, nothing else")
