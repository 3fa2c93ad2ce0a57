"""What who carries bundles sees: what was written, what was taken, and what to do next."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from relayjax.errors import ConfigError
from relayjax.peers.bundle import Kind, Manifest
from relayjax.peers.bundle_export import export
from relayjax.peers.bundle_folder import Bundle
from relayjax.peers.bundle_import import take
from relayjax.peers.bundle_letters import collect, deliver
from relayjax.peers.bundle_replica import Replica
from relayjax.peers.home import Home
from relayjax.peers_view import say, where


def write(folder: Path, bundle: Path, since: Path | None, console: Console) -> None:
    """Writes a bundle of what lies in a folder: letters where the relay was imported, else the relay."""
    if (replica := Replica(folder)).exists:
        if since:
            raise ConfigError("--since: letters are few and go as they are; leave it out")
        manifest = collect(replica, bundle)
        letters = sum(file.path.startswith("inbox/") for file in manifest.files)
        say(console, f"letters    {letters}, deltas {len(manifest.files) - letters - 1}")
        _say_size(manifest, bundle, console)
        say(console, f"next       relayjax bundle import {bundle} RELAY")
        return
    exported = export(folder, bundle, Bundle(since) if since else None)
    log, manifest = exported.log, exported.manifest
    say(console, f"ledger     {log.size} entries, root {log.root.hex()}")
    if since:
        say(console, f"since      {exported.since} entries; what those who have them hold is left out")
    _say_size(manifest, bundle, console)
    say(console, f"next       relayjax bundle import {bundle} FOLDER --log_key={manifest.log_key}")


def read(path: Path, folder: Path, log_key: str | None, home: Path | None, console: Console) -> None:
    """Takes in a bundle and says what has come."""
    bundle = Bundle(path)
    if bundle.manifest.kind is Kind.LETTERS:
        log, found = deliver(bundle, folder, log_key)
        say(console, f"letters    {found.letters} for the orderer, {found.known} in the ledger already")
        say(console, f"deltas     {found.deltas}")
        if found.refused:
            say(console, f"refused    {found.refused}: malformed, or not awaited now")
        say(console, where(log.history.state))
        return
    imported = take(bundle, folder, log_key, Home(home) if home else None)
    log, manifest = imported.log, bundle.manifest
    if imported.older is not None:
        say(console, f"older      {imported.older} entries; nothing was taken")
    else:
        say(console, f"taken      {imported.new} entries, {imported.artefacts} artefacts")
        say(console, f"handed     {imported.handed} files of the present round")
    say(console, f"ledger     {log.size} entries, root {log.root.hex()}")
    say(console, f"log key    {manifest.log_key}")
    if imported.believed:
        say(console, "           believed at first sight: compare it with what the founder says")
    say(console, where(log.history.state))


def _say_size(manifest: Manifest, path: Path, console: Console) -> None:
    size = sum(file.size for file in manifest.files)
    say(console, f"bundle     {len(manifest.files)} files, {size:,} bytes in {path}")
