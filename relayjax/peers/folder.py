"""A relay's folder: laid out as a run's directory is, and what is on its way beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relayjax import files
from relayjax.workdir import Workdir


@dataclass(frozen=True)
class Folder(Workdir):
    """Paths of a relay's folder, for who orders its records.

    Attributes:
      private: where plaintext model checkpoints lie for a moment, in the orderer's own directory: others
        read the folder.
    """

    private: Path

    @property
    def scratch(self) -> Path:
        return self.private

    def lay_out(self) -> None:
        """Creates what members write to; whoever founds the relay decides who may."""
        for name in ("inbox", "handover"):
            files.make_directory(self.path / name)
