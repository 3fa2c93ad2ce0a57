"""Signed notes: text with signature lines below it, the form that logs and witnesses agree on.

    text, one or more lines, each ended by a newline
    (one empty line)
    — NAME BASE64(key id ‖ signature)

References:
  C2SP signed-note v1, https://c2sp.org/signed-note.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys, ed25519
from relayjax.ledger.cosignature import verify_cosignature
from relayjax.ledger.vkey import ED25519, ID_SIZE, VerifierKey, check_key_name

SIZE_LIMIT = 1 << 17
"""Bytes a note may have: sixteen signatures of the largest kind in use fit."""


@dataclass(frozen=True)
class Signature:
    """A signature line: who is said to have signed, with the key of which id."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> str:
        """Returns the line, without its newline."""
        return f"— {self.name} {encode_base64(self.key_id + self.signature)}"


@dataclass(frozen=True)
class Note:
    """A parsed note, not to be trusted before `verify_note` has returned its text.

    Attributes:
      text: What is signed, with its final newline.
      signatures: At least one, in the order of the lines.
    """

    text: str
    signatures: tuple[Signature, ...]


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
    line = Signature(name, signer_key(name, keys.public.signing).key_id, keys.sign(text.encode()))
    note = f"{text}\n{line.encode()}\n".encode()
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
    if not (separator and lines.endswith("\n")):
        raise FormatError("note: expected a text, an empty line and signature lines, each ended by a newline")
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines[:-1].split("\n")))


@dataclass(frozen=True)
class Signed:
    """A verified note.

    Attributes:
      text: What was signed.
      signers: The trusted keys that have signed it, each with the time it states, POSIX seconds; 0 where its
        type of signature states none.
      unknown: Signature lines of keys that nobody here trusts.
    """

    text: str
    signers: dict[VerifierKey, int]
    unknown: int


def verify_note(data: bytes, trusted: Iterable[VerifierKey], where: str = "note") -> Signed:
    """Verifies a note.

    Lines of keys that are not trusted are ignored, as the format asks: a log may change its key and witnesses
    may add theirs. A line of a trusted key that does not hold spoils the note.

    Args:
      data: The note.
      trusted: Keys of the signers one knows.
      where: Names the note in the error.

    Raises:
      FormatError: The bytes are not a note.
      IntegrityError: No trusted key has signed, or the signature of one does not hold.
    """
    note = parse_note(data)
    known = {(key.name, key.key_id): key for key in trusted}
    signers: dict[VerifierKey, int] = {}
    unknown = 0
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            unknown += 1
        elif key.kind == ED25519:
            ed25519.verify(key.public, line.signature, note.text.encode(), where)
            signers[key] = 0
        else:
            signers[key] = verify_cosignature(note.text, key, line.signature, where)
    if not signers:
        names = ", ".join(sorted({key.name for key in known.values()})) or "none is known"
        raise IntegrityError(
            where, f"no signature by a trusted key ({names}); it was changed, or signed by others"
        )
    return Signed(note.text, signers, unknown)


def signer_key(name: str, public_key: str) -> VerifierKey:
    """The verifier key of whoever signs notes with an Ed25519 key, 64 hex digits, under a name."""
    return VerifierKey(name, ED25519, bytes.fromhex(public_key))


def _parse_signature(line: str) -> Signature:
    match line.split(" "):
        case ["—", name, encoded]:
            check_key_name(name)
            signature = decode_base64(encoded)
            if len(signature) <= ID_SIZE:
                raise FormatError(f"note: the signature of {name[:80]!r} is too short")
            return Signature(name, signature[:ID_SIZE], signature[ID_SIZE:])
    raise FormatError(f"note: {line[:80]!r} is not a signature line; expected '— NAME BASE64'")
