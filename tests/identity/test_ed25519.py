"""The strict rule: what RFC 8032 asks for holds, what libraries disagree on is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from relayjax.errors import FormatError, IntegrityError
from relayjax.identity.ed25519 import check_public_key, verify

# RFC 8032 section 7.1, test 2.
KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
MESSAGE = b"\x72"
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def _encode(x: int, y: int) -> bytes:
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _double(x: int, y: int) -> tuple[int, int]:
    t = D * x * x * y * y % P
    return 2 * x * y * pow(1 + t, -1, P) % P, (y * y + x * x) * pow(1 - t, -1, P) % P


def _small_order_points() -> list[tuple[int, int]]:
    """The eight multiples of a point of order 8, by the law of addition of the curve."""
    y8 = int.from_bytes(
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
    )
    square = (y8 * y8 - 1) * pow(D * y8 * y8 + 1, -1, P) % P
    x8 = pow(square, (P + 3) // 8, P)
    if x8 * x8 % P != square:
        x8 = x8 * pow(2, (P - 1) // 4, P) % P
    assert _double(*_double(*_double(x8, y8))) == (0, 1)
    root = pow(2, (P - 1) // 4, P)
    return [(0, 1), (0, P - 1), *((s, 0) for s in (root, P - root))] + [
        (x, y) for x in (x8, P - x8) for y in (y8, P - y8)
    ]


SMALL = [_encode(x, y) for x, y in _small_order_points()]


def test_a_signature_of_the_rfc_holds() -> None:
    check_public_key(KEY)
    verify(KEY, SIGNATURE, MESSAGE, "test")


def test_every_flipped_bit_is_refused() -> None:
    for position in range(512):
        damaged = bytearray(SIGNATURE)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            verify(KEY, bytes(damaged), MESSAGE, "test")
    with pytest.raises(IntegrityError, match="test: "):
        verify(KEY, SIGNATURE, MESSAGE + b"\0", "test")
    with pytest.raises(IntegrityError, match="64 bytes"):
        verify(KEY, SIGNATURE[:-1], MESSAGE, "test")


def test_a_second_scalar_for_the_same_signature_is_refused() -> None:
    scalar = int.from_bytes(SIGNATURE[32:], "little") + L
    with pytest.raises(IntegrityError, match="not reduced"):
        verify(KEY, SIGNATURE[:32] + scalar.to_bytes(32, "little"), MESSAGE, "test")


@pytest.mark.parametrize("point", SMALL)
def test_points_of_small_order_are_refused(point: bytes) -> None:
    with pytest.raises(FormatError, match="small order"):
        check_public_key(point)
    with pytest.raises(IntegrityError, match="public key: the point has small order"):
        verify(point, SIGNATURE, MESSAGE, "test")
    with pytest.raises(IntegrityError, match="signature point: the point has small order"):
        verify(KEY, point + SIGNATURE[32:], MESSAGE, "test")


def test_a_signature_for_every_message_is_refused() -> None:
    identity = _encode(0, 1)
    forged = identity + bytes(32)
    Ed25519PublicKey.from_public_bytes(identity).verify(
        forged, b"any message"
    )  # what the library alone allows
    with pytest.raises(IntegrityError, match="small order"):
        verify(identity, forged, b"any message", "test")


@pytest.mark.parametrize("y", [P, P + 1, P + 18])
@pytest.mark.parametrize("sign", [0, 1])
def test_encodings_that_are_not_reduced_are_refused(y: int, sign: int) -> None:
    with pytest.raises(FormatError, match="canonical"):
        check_public_key(_encode(sign, y))


def test_what_is_no_point_of_the_curve_is_refused() -> None:
    with pytest.raises(FormatError, match="not a point"):
        check_public_key((2).to_bytes(32, "little"))
    with pytest.raises(FormatError, match="32 bytes"):
        check_public_key(KEY[:-1])
