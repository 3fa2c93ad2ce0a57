"""Signed notes: text with signature lines below it, the form that logs and witnesses agree on.

    text, one or more lines, each ended by a newline
    (one empty line)
    — NAME BASE64(key id ‖ signature)

References:
  C2SP signed-note v1, https://c2sp.org/signed-note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys, ed25519

SIZE_LIMIT = 1 << 17
"""Bytes a note may have: sixteen signatures of the largest kind in use fit."""

_ED25519 = b"\x01"
_ID_SIZE = 4


@dataclass(frozen=True)
class Signature:
    """A signature line: who is said to have signed, with the key of which id."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    """A parsed note, not to be trusted before `verify_note` has returned its text.

    Attributes:
      text: What is signed, with its final newline.
      signatures: At least one, in the order of the lines.
    """

    text: str
    signatures: tuple[Signature, ...]


def key_id(name: str, public_key: str) -> bytes:
    """Returns SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)[:4], which tells apart keys of one name.

    Args:
      name: The signer's name in the note.
      public_key: Ed25519, 64 hex digits.
    """
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + bytes.fromhex(public_key)).digest()[:_ID_SIZE]


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


def sign_note(text: str, name: str, keys: Keys) -> bytes:
    """Signs a text.

    Args:
      text: One or more lines with a final newline.
      name: The signer's name in the note; a log signs as its origin.
      keys: The signer's.

    Returns:
      The note in UTF-8, with one signature line.

    Raises:
      FormatError: The text or the name can't be part of a note.
    """
    check_key_name(name)
    signature = key_id(name, keys.public.signing) + keys.sign(text.encode())
    note = f"{text}\n— {name} {encode_base64(signature)}\n".encode()
    if parse_note(note).text != text:
        raise FormatError("note: the text must end in a newline")
    return note


def parse_note(data: bytes) -> Note:
    """Splits a note into its text and signatures; verifies none of them.

    Raises:
      FormatError: The bytes are not a note, or not in canonical form.
    """
    if len(data) > SIZE_LIMIT:
        raise FormatError(f"note: {len(data)} bytes, at most {SIZE_LIMIT} are allowed")
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"note: {error}") from error
    if any(character < " " and character != "\n" for character in content):
        raise FormatError("note: it contains a control character")
    text, separator, lines = content.rpartition("\n\n")
    if not (text and separator and lines.endswith("\n")):
        raise FormatError("note: expected a text, an empty line and signature lines, each ended by a newline")
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines[:-1].split("\n")))


def verify_note(data: bytes, trusted: Mapping[str, str], where: str = "note") -> str:
    """Verifies a note; returns its text.

    Lines of signers that are not trusted are ignored, as the format asks: a log may change its key and
    witnesses may add theirs. A line of a trusted key that does not hold spoils the note.

    Args:
      data: The note.
      trusted: Ed25519 public key, 64 hex digits, of each trusted signer by its name.
      where: Names the note in the error.

    Raises:
      FormatError: The bytes are not a note.
      IntegrityError: No trusted key has signed, or the signature of one does not hold.
    """
    note = parse_note(data)
    known = {(name, key_id(name, key)): bytes.fromhex(key) for name, key in trusted.items()}
    signed = [line for line in note.signatures if (line.name, line.key_id) in known]
    if not signed:
        names = ", ".join(sorted(trusted))
        raise IntegrityError(
            where, f"no signature by a trusted key ({names}); it was changed, or signed by others"
        )
    for line in signed:
        ed25519.verify(known[line.name, line.key_id], line.signature, note.text.encode(), where)
    return note.text


def _parse_signature(line: str) -> Signature:
    match line.split(" "):
        case ["—", name, encoded]:
            check_key_name(name)
            signature = decode_base64(encoded)
            if len(signature) <= _ID_SIZE:
                raise FormatError(f"note: the signature of {name[:80]!r} is too short")
            return Signature(name, signature[:_ID_SIZE], signature[_ID_SIZE:])
    raise FormatError(f"note: {line[:80]!r} is not a signature line; expected '— NAME BASE64'")
