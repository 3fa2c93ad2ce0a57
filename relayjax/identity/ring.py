"""The keys of a name over time, as a directory keeps them: those that replace others in folders under it."""

from __future__ import annotations

from pathlib import Path

from relayjax.identity.keys import Keys, check_name


def find(directory: Path, name: str, signing: str) -> Keys | None:
    """The keys of a name that sign with a public key, if they lie in a directory or a folder of it.

    Args:
      directory: where key files are kept.
      name: whose.
      signing: the Ed25519 public key, 64 hexadecimal digits.

    Raises:
      FormatError: a key file of this name is damaged.
    """
    check_name(name)
    for file in (directory / f"{name}.pem", *sorted(directory.glob(f"*/{name}.pem"))):
        if file.exists() and (keys := Keys.load(file.parent, name)).public.signing == signing:
            return keys
    return None
