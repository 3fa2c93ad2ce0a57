"""One strict rule for Ed25519, so that every verifier accepts exactly the same signatures.

RFC 8032 leaves room: libraries differ on encodings that are not reduced, on points of small order (under
which a signature can hold for many messages) and on a scalar beyond the group order (which makes a second
valid signature out of a first). Two verifiers that differ would replay the same log to different states. The
rule here is

  1. the key A and the point R are canonical: y < p = 2²⁵⁵ − 19;
  2. neither A nor R has small order (1, 2, 4 or 8);
  3. the scalar is reduced: S < L = 2²⁵² + 27742317777372353535851937790883648493;
  4. the library's check [S]B = R + [SHA-512(R ‖ A ‖ M)]A holds.

References:
  RFC 8032 section 5.1.7. Chalkias, Garillot, Nikolaenko: Taming the many EdDSAs (2020), section 4.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from relayjax.errors import FormatError, IntegrityError

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P


def check_public_key(key: bytes) -> None:
    """Refuses 32 bytes that are no public key: not canonical, of small order, or no point of the curve.

    Raises:
      FormatError: It says which of the three.
    """
    if problem := _point_problem(key):
        raise FormatError(f"Ed25519 public key {key.hex()}: {problem}")
    y2 = (int.from_bytes(key, "little") % 2**255) ** 2
    # x² = (y² − 1) / (d y² + 1) has a root exactly when numerator times denominator is a square.
    if pow((y2 - 1) * (_D * y2 + 1), (_P - 1) // 2, _P) != 1:
        raise FormatError(f"Ed25519 public key {key.hex()}: not a point of the curve")


def verify(key: bytes, signature: bytes, message: bytes, where: str) -> None:
    """Verifies a signature under the strict rule of this module.

    Args:
      key: The public key A, 32 bytes.
      signature: R ‖ S, 64 bytes.
      message: What was signed.
      where: Names the signed thing in the error.

    Raises:
      IntegrityError: The signature does not hold.
    """
    if len(signature) != 64:
        raise IntegrityError(where, f"a signature has 64 bytes, this one {len(signature)}")
    public_key = _load(key)
    if isinstance(public_key, str):
        raise IntegrityError(where, f"public key: {public_key}")
    if problem := _point_problem(signature[:32]):
        raise IntegrityError(where, f"signature point: {problem}")
    if int.from_bytes(signature[32:], "little") >= _L:
        raise IntegrityError(where, "the scalar of the signature is not reduced")
    try:
        public_key.verify(signature, message)
    except InvalidSignature:
        raise IntegrityError(where, f"the signature does not hold under the key {key.hex()}") from None


@lru_cache(maxsize=1024)
def _load(key: bytes) -> Ed25519PublicKey | str:
    """Loads a public key, with which many signatures are verified, or says what is wrong with it."""
    return _point_problem(key) or Ed25519PublicKey.from_public_bytes(key)


def _point_problem(encoded: bytes) -> str:
    """Says why an encoded point breaks rule 1 or 2, or nothing."""
    if len(encoded) != 32:
        return f"a point has 32 bytes, this one {len(encoded)}"
    y = int.from_bytes(encoded, "little") % 2**255
    if y >= _P:
        return "the point is not in canonical form"
    # y = ±1 has order 1 or 2 and y = 0 order 4. A point of order 8 doubles to one with y = 0, which on the
    # curve means x² = −y², hence d y⁴ + 2 y² = 1.
    if y * (y * y - 1) * (_D * y**4 + 2 * y * y - 1) % _P == 0:
        return "the point has small order"
    return ""
