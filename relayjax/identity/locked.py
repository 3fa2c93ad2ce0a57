"""A participant's keys in one file behind a password.

`NAME.keys.age` is what `age --passphrase` writes (scrypt, ChaCha20-Poly1305) over the text of both key files,
one after the other: `age -d NAME.keys.age` shows them to whoever knows the password. Not even the public part
can be read without.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyrage

from relayjax.errors import AccessError, ConfigError, DiskError, FormatError, WorkdirError
from relayjax.files import read, write_atomic
from relayjax.identity.keys import Keys, check_name

SUFFIX = ".keys.age"
_LIMIT = 1 << 16
_HEADER = re.compile(rb"age-encryption\.org/v1\n-> scrypt [A-Za-z0-9+/]{22} ([1-9][0-9]?)\n")
_WORK_LIMIT = 21
"""Work factor a file may ask for: memory doubles with each, from 1 KiB at 0 to 2 GiB here. The library writes
what takes it about a second."""


def save_locked(keys: Keys, directory: Path, password: str) -> Path:
    """Writes keys behind a password, with mode 0600, into a directory that exists; returns the file.

    Raises:
      ConfigError: The password is empty.
      WorkdirError: There is such a file already. Nothing is overwritten, ever.
    """
    if not password:
        raise ConfigError("the password is empty; choose one, or keep the keys without")
    file = directory / f"{keys.name}{SUFFIX}"
    if file.exists():
        raise WorkdirError(f"{file}: holds keys already; move it away or choose another name or directory")
    write_atomic(file, pyrage.passphrase.encrypt(keys.encode(), password), mode=0o600)
    return file


def load_locked(directory: Path, name: str, password: str) -> Keys:
    """Reads what `save_locked` wrote.

    Raises:
      WorkdirError: The file is missing or can't be read.
      AccessError: Another password, or the file is damaged: age does not tell these apart.
      FormatError: It holds no keys, or asks for more memory than a password is worth.
    """
    check_name(name)
    file = directory / f"{name}{SUFFIX}"
    try:
        sealed = read(file, _LIMIT + 1)
    except DiskError as error:
        raise WorkdirError(f"{file}: can't read this key file ({error.problem})") from error
    if len(sealed) > _LIMIT:
        raise FormatError(f"{file}: too long for a key file")
    header = _HEADER.match(sealed)
    if header is None or int(header[1]) > _WORK_LIMIT:
        raise FormatError(
            f"{file}: not keys behind a password as this program writes them; restore it from a copy"
        )
    try:
        text = pyrage.passphrase.decrypt(sealed, password)
    except pyrage.DecryptError as error:
        raise AccessError(f"{file}: not with this password ({error})") from error
    return Keys.decode(name, text, str(file))
