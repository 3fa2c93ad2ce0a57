"""The keys of a name over time, as a directory keeps them: those that replace others in folders under it."""

from __future__ import annotations

from pathlib import Path

from relayjax.errors import FormatError, WorkdirError
from relayjax.identity.keys import Keys, check_name


def find(directory: Path, name: str, signing: str) -> Keys | None:
    """The keys of a name that sign with a public key, if they lie in a directory or a folder of it.

    Args:
      directory: where key files are kept.
      name: whose.
      signing: the Ed25519 public key, 64 hexadecimal digits.

    Raises:
      FormatError, WorkdirError: they are not found, but key files of this name that are damaged or not whole.
    """
    check_name(name)
    damaged: FormatError | WorkdirError | None = None
    for file in (directory / f"{name}.pem", *sorted(directory.glob(f"*/{name}.pem"))):
        if not file.exists():
            continue
        try:
            keys = Keys.load(file.parent, name)
        except (FormatError, WorkdirError) as error:  # a change of keys that was cut short may leave such
            damaged = damaged or error
            continue
        if keys.public.signing == signing:
            return keys
    if damaged:
        raise damaged
    return None
