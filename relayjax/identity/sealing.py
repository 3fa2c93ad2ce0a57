"""Sealing: bytes that only chosen participants can open (age, X25519 recipients).

Sealing draws a fresh file key each time, so sealing the same bytes twice gives different bytes: name a sealed
artefact by the digest of what is inside, and keep the digest of the sealed bytes beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyrage

from relayjax.errors import AccessError, ConfigError, IntegrityError
from relayjax.identity.keys import Keys, parse_recipient


def seal(plaintext: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypts bytes to one or more recipients, each of whom can open them alone.

    Args:
      plaintext: What to seal.
      recipients: Their `PublicKeys.receiving`, `age1…`.

    Returns:
      An age v1 file; the `age` tool opens it too.

    Raises:
      ConfigError: No recipient is given; nobody could ever open the result.
      FormatError: A recipient is malformed.
    """
    if not recipients:
        raise ConfigError("seal: no recipients; name at least one participant who may open the result")
    return pyrage.encrypt(plaintext, [parse_recipient(recipient) for recipient in recipients])


def open_sealed(sealed: bytes, keys: Keys) -> bytes:
    """Opens what was sealed to a participant.

    Damage to the part of the header meant for this very participant looks as if it were not a recipient;
    compare the digest of the sealed bytes first where one is known.

    Raises:
      AccessError: The bytes were not sealed to this participant.
      IntegrityError: The bytes are damaged or no age file.
    """
    try:
        return pyrage.decrypt(sealed, [keys.receiving, *keys.former])
    except pyrage.DecryptError as error:
        if str(error) == "No matching keys found":
            raise AccessError(
                f"{keys.name} holds no key that opens these sealed bytes; it has no licence"
            ) from error
        raise IntegrityError("sealed bytes", f"{error}; fetch them again") from error
