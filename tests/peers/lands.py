"""Two places that never see each other, and the stick that is carried between them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.town import Member, Tools, Town

from relayjax import canonical
from relayjax.mechanism.state import State
from relayjax.peers.bundle import MANIFEST
from relayjax.peers.bundle_export import export
from relayjax.peers.bundle_folder import Bundle
from relayjax.peers.bundle_import import Imported, take
from relayjax.peers.bundle_letters import Delivered, collect, deliver
from relayjax.peers.bundle_replica import Replica

FAR = ("p1", "p2", "v1")


@dataclass
class Lands:
    """Here v0, who orders, and p0; elsewhere the others. `downs` and `ups` are the bundles of each trip."""

    base: Path
    tools: Tools

    def __post_init__(self) -> None:
        self.here, self.there = Town(self.base / "here", self.tools), Town(self.base / "there", self.tools)
        self.downs: list[Path] = []
        self.ups: list[Path] = []

    def down(self) -> Imported:
        """Carries the relay to those elsewhere."""
        self.downs.append(self.base / f"down{len(self.downs)}")
        since = Bundle(self.ups[-1]) if self.ups else None
        export(self.here.folder, self.downs[-1], since)
        return take(Bundle(self.downs[-1]), self.there.folder)

    def up(self) -> Delivered:
        """Carries their letters back."""
        self.ups.append(self.base / f"up{len(self.ups)}")
        collect(Replica(self.there.folder), self.ups[-1])
        return deliver(Bundle(self.ups[-1]), self.here.folder)[1]

    def play(self, rounds: int, until: Callable[[State], bool] = lambda state: state.finished) -> None:
        """Plays a relay to its end, or until those elsewhere have seen that something holds."""
        self.here.begin(rounds, join_all=False)
        self.here.join("p0")
        orderer, near = self.here.orderer(), Member(self.here, "p0")
        try:
            self.down()
            for name in FAR:
                self.there.join(name)
            far = [Member(self.there, name) for name in FAR]
            for _ in range(60):
                self.up()
                grown = True
                while grown:
                    near.step()
                    grown = orderer.act()
                self.down()
                for member in far:
                    member.step()
                if until(orderer.state):
                    return
            raise AssertionError(f"stuck in {orderer.state.round.phase}: {self.here.told}")
        finally:
            self.here.close()


def copied(bundle: Path, target: Path) -> Path:
    """A copy of a directory, for a test to spoil."""
    return Path(shutil.copytree(bundle, target))


def contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder but locks."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def listed(bundle: Path) -> Any:
    """The manifest of a bundle, to be changed."""
    return canonical.decode((bundle / MANIFEST).read_bytes(), 1 << 25)


def relist(bundle: Path, manifest: Any) -> None:
    """Puts a changed manifest in place."""
    manifest["files"].sort(key=lambda file: file["path"])
    (bundle / MANIFEST).write_bytes(canonical.encode(manifest))


def file_of(bundle: Path, start: str) -> Path:
    """Where a bundle has the first file whose path begins so."""
    return bundle / next(file["digest"] for file in listed(bundle)["files"] if file["path"].startswith(start))
