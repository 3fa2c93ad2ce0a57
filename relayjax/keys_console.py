"""What a person sees of making keys, of opening those behind a password, and of changing them in a run."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getpass
from pathlib import Path

from rich.console import Console

from relayjax.errors import ConfigError, FormatError
from relayjax.files import make_directory
from relayjax.identity import Keys, load_locked, save_locked
from relayjax.identity.locked import SUFFIX
from relayjax.ledger.cosignature import cosigner_key
from relayjax.membership import Said
from relayjax.records import RecoveryKey, Revoke

Ask = Callable[[str], str]
"""Asks for a password without showing it."""


def make_keys(
    path: Path, console: Console, *, locked: bool, witness: str | None = None, ask: Ask = getpass
) -> Keys:
    """Generates keys, writes them, and says their public part.

    Args:
      path: DIRECTORY/NAME.
      console: Where to print.
      locked: Ask for a password to keep them behind.
      witness: The name under which a witness will cosign with them, to say its verifier key.
      ask: Asks for the password.

    Raises:
      ConfigError: The two passwords differ, or are empty.
      FormatError: The name is not allowed.
      WorkdirError: There are keys of that name. Nothing is overwritten.
    """
    keys = Keys.generate(path.name)
    if witness:
        cosigner_key(witness, keys)  # refuses a name that can't be one, before anything is written
    if locked:
        password = ask(f"password for {keys.name}: ")
        if ask("once more: ") != password:
            raise ConfigError("the two passwords differ; nothing was written")
        make_directory(path.parent, mode=0o700)
        files = [save_locked(keys, path.parent, password)]
    else:
        keys.save(path.parent)
        files = [path.with_name(f"{keys.name}{suffix}") for suffix in (".pem", ".age")]
    lines = [f"written    {', '.join(map(str, files))}"]
    lines += [f"signing    {keys.public.signing}", f"receiving  {keys.public.receiving}"]
    if witness:
        lines.append(f"witness    {cosigner_key(witness, keys).encode()}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return keys


def print_said(said: Said, workdir: Path, console: Console) -> None:
    """Says what a record about a member has changed, and what it has not."""
    record, state = said.record, said.state
    member = state.members[record.name if isinstance(record, Revoke) else record.author]
    lines = [f"entry      {said.entry}: {record.KIND} by {record.author} in round {state.round.number}"]
    if isinstance(record, Revoke) and member.revoked:
        lines.append(f"revoked    {member.name}; it keeps coins and licences; nothing new is sealed to it")
    elif isinstance(record, Revoke):
        lines.append(f"approved   by {', '.join(name for name, _ in member.accusers)}; more than half must")
    elif isinstance(record, RecoveryKey):
        lines.append(f"recovery   {member.recovery}")
    else:
        lines += [f"signing    {member.signing}", f"receiving  {member.receiving}"]
        if files := sorted(workdir.glob(f"keys/{said.entry:07}/*")):
            lines.append(f"written    {', '.join(map(str, files))}")
        lines.append("What was sealed before opens with the receiving key before; keep it.")
        if member.name == state.orderer:
            lines.append("The log is signed with the key that it began with, as before.")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def open_keys(path: str, ask: Ask = getpass) -> Keys:
    """Reads keys by DIRECTORY/NAME or the name of one of their files; asks for the password if they have one.

    Raises:
      WorkdirError: There are none.
      AccessError: The password is another.
      FormatError: A file is damaged.
    """
    file = Path(path)
    name = file.name
    for suffix in (SUFFIX, ".age", ".pem"):
        if name.endswith(suffix):
            name = name.removesuffix(suffix)
            break
    if not name:
        raise FormatError(f"{path}: give DIRECTORY/NAME")
    if (file.parent / f"{name}{SUFFIX}").exists():
        return load_locked(file.parent, name, ask(f"password for {name}: "))
    return Keys.load(file.parent, name)
