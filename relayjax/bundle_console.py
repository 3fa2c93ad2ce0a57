"""What who carries bundles sees: what was written, what was taken, and what to do next."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from relayjax import peers
from relayjax.peers.bundle import Kind, Manifest
from relayjax.peers_view import ledger, say, where


def write(folder: Path, bundle: Path, since: Path | None, console: Console) -> None:
    """Writes a bundle of what lies in a folder: letters where the relay was imported, else the relay."""
    exported = peers.export_bundle(folder, bundle, since)
    log, manifest = exported.log, exported.manifest
    if manifest.kind is Kind.LETTERS:
        letters = sum(file.path.startswith("inbox/") for file in manifest.files)
        say(console, f"letters    {letters}, deltas {len(manifest.files) - letters - 1}")
        _say_size(manifest, bundle, console)
        say(console, f"next       relayjax bundle import {bundle} RELAY")
        return
    say(console, f"ledger     {log.size} entries, root {log.root.hex()}")
    if since:
        say(console, f"since      {exported.since} entries; what those who have them hold is left out")
    _say_size(manifest, bundle, console)
    say(console, f"next       relayjax bundle import {bundle} FOLDER --log_key={manifest.log_key}")


def read(path: Path, folder: Path, log_key: str | None, home: Path | None, console: Console) -> None:
    """Takes in a bundle and says what has come."""
    received = peers.import_bundle(path, folder, log_key, home)
    status, found, imported = received.status, received.letters, received.relay
    if found:
        say(console, f"letters    {found.letters} for the orderer, {found.known} in the ledger already")
        say(console, f"deltas     {found.deltas}")
        if found.refused:
            say(console, f"refused    {found.refused}: malformed, or not awaited now")
    if imported:
        if imported.older is not None:
            say(console, f"older      {imported.older} entries; nothing was taken")
        else:
            say(console, f"taken      {imported.new} entries, {imported.artefacts} artefacts")
            say(console, f"handed     {imported.handed} files of the present round")
        say(console, ledger(status))
        say(console, f"log key    {status.log_key}")
        if status.believed:
            say(console, "           believed at first sight: compare it with what the founder says")
    say(console, where(status))


def _say_size(manifest: Manifest, path: Path, console: Console) -> None:
    size = sum(file.size for file in manifest.files)
    say(console, f"bundle     {len(manifest.files)} files, {size:,} bytes in {path}")
