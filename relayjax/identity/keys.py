"""Who a participant is: a name, a key to sign with and a key to receive sealed weights with.

On disk a participant NAME is two files that common tools read as well: `NAME.pem`, the Ed25519 private key
(PKCS #8 in PEM, unencrypted), and `NAME.age`, an age identity file (`age -d -i NAME.age` opens what was
sealed to it). Receiving keys that were replaced stay in it, a line each: what was sealed to them stays so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pyrage
from blake3 import blake3
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from relayjax.errors import DiskError, FormatError, WorkdirError
from relayjax.files import make_directory, read, write_atomic
from relayjax.identity import bech32, ed25519

K = TypeVar("K")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_HEX_KEY = re.compile(r"[0-9a-f]{64}")
_FILE_LIMIT = 1 << 16
"""Bytes of a key file that are read, hundreds of times what one has."""

_PEM_END = b"-----END PRIVATE KEY-----\n"
_NO_KEY = (ValueError, TypeError, InternalError, UnsupportedAlgorithm, pyrage.IdentityError)
_SIGNING_CONTEXT = "relayjax 2026-11 participant signing key"
_RECEIVING_CONTEXT = "relayjax 2026-11 participant receiving key"


@dataclass(frozen=True)
class PublicKeys:
    """What others know of a participant. One that exists is valid.

    Attributes:
      name: 1–32 characters of a–z, 0–9, `_`, `-`; the first is a letter or digit.
      signing: Ed25519 public key, 64 lower-case hexadecimal digits.
      receiving: age recipient (X25519), `age1…`.
    """

    name: str
    signing: str
    receiving: str

    def __post_init__(self) -> None:
        check_name(self.name)
        if not _HEX_KEY.fullmatch(self.signing):
            raise FormatError(
                f"signing key of {self.name}: {self.signing[:80]!r} is not 64 lower-case hex digits"
            )
        ed25519.check_public_key(bytes.fromhex(self.signing))
        parse_recipient(self.receiving)


@dataclass(frozen=True, eq=False)
class Keys:
    """A participant's private keys. Two are compared by their `public` part.

    Attributes:
      receiving: opens what is sealed now.
      former: receiving keys that it has replaced, the newest first; they open what was sealed before.
    """

    name: str
    _signing: Ed25519PrivateKey = field(repr=False)
    receiving: pyrage.x25519.Identity = field(repr=False)
    former: tuple[pyrage.x25519.Identity, ...] = field(default=(), repr=False)

    @classmethod
    def generate(cls, name: str) -> Keys:
        """Makes random keys from the system's entropy; this is what a real participant uses."""
        check_name(name)
        return cls(name, Ed25519PrivateKey.generate(), pyrage.x25519.Identity.generate())

    def successor(self) -> Keys:
        """Makes random keys to take the place of these; they open whatever these open."""
        new = Keys.generate(self.name)
        return replace(new, former=(self.receiving, *self.former))

    @classmethod
    def derive(cls, name: str, seed: bytes) -> Keys:
        """Derives keys from a seed, for local experiments only: whoever knows the seed can sign as anyone.

        Both keys are BLAKE3 in key derivation mode over name ‖ 0x00 ‖ seed, each under a context of its own;
        the second is the X25519 scalar.
        """
        check_name(name)
        material = name.encode() + b"\0" + seed
        signing = blake3(material, derive_key_context=_SIGNING_CONTEXT).digest()
        receiving = blake3(material, derive_key_context=_RECEIVING_CONTEXT).digest()
        return cls(
            name,
            Ed25519PrivateKey.from_private_bytes(signing),
            pyrage.x25519.Identity.from_str(bech32.encode("age-secret-key-", receiving).upper()),
        )

    @classmethod
    def load(cls, directory: Path, name: str) -> Keys:
        """Reads the two key files that `save` writes.

        Raises:
          WorkdirError: A file is missing or can't be read.
          FormatError: A file holds something else than the one key it should.
        """
        check_name(name)
        signing = _load(directory / f"{name}.pem", _parse_pem)
        receiving, *former = _load(directory / f"{name}.age", _parse_age)
        return cls(name, signing, receiving, tuple(former))

    def save(self, directory: Path) -> None:
        """Writes the two key files with mode 0600; creates the directory with mode 0700 where missing.

        Saving the same keys again changes nothing.

        Raises:
          WorkdirError: A file of that name holds another key. Nothing is overwritten, ever: a lost key is a
            lost identity.
        """
        make_directory(directory, mode=0o700)
        pem = self._signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        age = f"# public key: {self.receiving.to_public()}\n{self._receiving_lines()}".encode()
        files = {directory / f"{self.name}.pem": pem, directory / f"{self.name}.age": age}
        for path, data in files.items():
            if path.exists() and path.read_bytes() != data:
                raise WorkdirError(
                    f"{path}: holds another key; move it away or choose another name or directory"
                )
        for path, data in files.items():
            if not path.exists():
                write_atomic(path, data, mode=0o600)

    @cached_property
    def public(self) -> PublicKeys:
        """The part that others may know."""
        signing = self._signing.public_key().public_bytes_raw().hex()
        return PublicKeys(self.name, signing, str(self.receiving.to_public()))

    def sign(self, message: bytes) -> bytes:
        """Signs a message with Ed25519 (RFC 8032): 64 bytes, always the same for the same key and message."""
        return self._signing.sign(message)

    def encode(self) -> bytes:
        """Returns the private keys as text: the PEM block, then the age identities, a line each."""
        pem = self._signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem + self._receiving_lines().encode()

    def opens(self, receiving: str) -> bool:
        """Whether what is sealed to a receiving key, `age1…`, opens with these."""
        return receiving in {str(identity.to_public()) for identity in (self.receiving, *self.former)}

    def _receiving_lines(self) -> str:
        return "".join(f"{identity}\n" for identity in (self.receiving, *self.former))

    @classmethod
    def decode(cls, name: str, data: bytes, where: str) -> Keys:
        """Reads what `encode` writes.

        Args:
          name: Whose keys they are.
          data: The text.
          where: Names it in the error.

        Raises:
          FormatError: It is something else.
        """
        check_name(name)
        pem, end, age = data.partition(_PEM_END)
        try:
            signing, (receiving, *former) = _parse_pem(pem + end), _parse_age(age)
            return cls(name, signing, receiving, tuple(former))
        except _NO_KEY as error:
            raise FormatError(f"{where}: not the keys it should hold; restore it from a copy") from error


def check_name(name: str) -> None:
    """Refuses a participant's name that is not 1–32 characters of a–z, 0–9, `_`, `-`, or starts with a sign.

    Raises:
      FormatError: The name is not allowed.
    """
    if not _NAME.fullmatch(name):
        raise FormatError(
            f"participant {name[:80]!r}: a name is 1-32 of a-z 0-9 _ -, the first a letter or digit"
        )


def parse_recipient(text: str) -> pyrage.x25519.Recipient:
    """Parses an age recipient in its one canonical spelling, `age1…` in lower case.

    Raises:
      FormatError: It is no X25519 recipient of age.
    """
    try:
        recipient = pyrage.x25519.Recipient.from_str(text)
    except (pyrage.RecipientError, UnicodeEncodeError) as error:
        raise FormatError(
            f"receiving key {text[:80]!r}: {error}; expected an age recipient, age1…"
        ) from error
    if str(recipient) != text:
        raise FormatError(f"receiving key {text[:80]!r}: not the canonical spelling {recipient}")
    return recipient


def _load(path: Path, parse: Callable[[bytes], K]) -> K:
    try:
        return parse(read(path, _FILE_LIMIT))
    except DiskError as error:
        raise WorkdirError(
            f"{path}: can't read this key file ({error.problem}); create it with Keys.save"
        ) from error
    except _NO_KEY as error:
        raise FormatError(
            f"{path}: not the key file it should be ({error}); restore it from a copy"
        ) from error


def _parse_pem(data: bytes) -> Ed25519PrivateKey:
    key = load_pem_private_key(data, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"expected an Ed25519 key, found {type(key).__name__}")
    return key


def _parse_age(data: bytes) -> list[pyrage.x25519.Identity]:
    lines = [line for line in data.decode("utf-8").splitlines() if line and not line.startswith("#")]
    if not lines or len(set(lines)) < len(lines):
        raise ValueError(f"expected AGE-SECRET-KEY-1… lines, none twice, found {len(lines)}")
    return [pyrage.x25519.Identity.from_str(line) for line in lines]
