"""Bundles by what lies in a folder: the relay itself goes one way, letters of members elsewhere the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relayjax.errors import ConfigError
from relayjax.peers.bundle import Kind
from relayjax.peers.bundle_export import Exported, export
from relayjax.peers.bundle_folder import Bundle
from relayjax.peers.bundle_import import Imported, take
from relayjax.peers.bundle_letters import Delivered, collect, deliver
from relayjax.peers.bundle_log import WholeLog
from relayjax.peers.bundle_replica import Replica
from relayjax.peers.home import Home
from relayjax.peers.standing import Status, standing


@dataclass(frozen=True)
class Received:
    """What a bundle has brought.

    Attributes:
      status: of the relay, as the folder has it now.
      relay: what was taken of it; None if the bundle was one of letters.
      letters: what was put where the orderer looks; None if the bundle was a relay's.
    """

    status: Status
    relay: Imported | None = None
    letters: Delivered | None = None


def write(folder: Path, path: Path, since: Path | None = None) -> Exported:
    """Writes a bundle of letters where the relay was imported, else one of the relay."""
    replica = Replica(folder)
    if not replica.exists:
        return export(folder, path, Bundle(since) if since else None)
    if since:
        raise ConfigError("--since: letters are few and go as they are; leave it out")
    log, manifest = collect(replica, path)
    return Exported(manifest, log, 0)


def read(path: Path, folder: Path, log_key: str | None = None, home: Path | None = None) -> Received:
    """Takes in a bundle of either kind."""
    bundle = Bundle(path)
    if bundle.manifest.kind is Kind.LETTERS:
        log, delivered = deliver(bundle, folder, log_key)
        return Received(_status(bundle, log), letters=delivered)
    imported = take(bundle, folder, log_key, Home(home) if home else None)
    return Received(_status(bundle, imported.log, imported.believed), relay=imported)


def _status(bundle: Bundle, log: WholeLog, believed: bool = False) -> Status:
    of, state = bundle.manifest, log.history.state
    return standing(state, of.origin, of.log_key, size=log.size, root=log.root, believed=believed)
