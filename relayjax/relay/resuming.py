"""What a resumed relay has to know again, opened from its archive with the ordering maintainer's keys.

P: parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from relayjax import lineage
from relayjax.archive import Archive
from relayjax.codec import Codec
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.pack import decode_pack
from relayjax.records import Submit


@dataclass(frozen=True)
class Past:
    """The settled rounds of a run.

    Attributes:
      history: of the run.
      archive: what it kept.
      keys: that open everything.
      codec: of the deltas.
    """

    history: History
    archive: Archive
    keys: Keys
    codec: Codec

    def weights(self, numbers: Iterable[int], genesis: np.ndarray) -> dict[int, np.ndarray]:
        """Weights of some versions, float32 [P] each, by number.

        Args:
          numbers: of the versions.
          genesis: weights of version 0, float32 [P].
        """
        known = {0: genesis, **self._checkpoint()}
        for number in sorted(set(numbers)):
            known[number] = lineage.rebuild(self.history, number, known, self._open, self.codec)
        return known

    def deltas(self) -> Iterator[np.ndarray]:
        """Every delta that became part of a version, in order, float32 [P]."""
        return (delta for _, _, delta in self.accepted())

    def accepted(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """The same with whose it is and the weights that it started from, float32 [P]."""
        parent = self.archive.genesis(self.history)
        for version, theta in lineage.walk(self.history, parent, self._open, self.codec):
            for name in version.owners:
                submission = self.history.rounds[version.round - 1].facts.submissions[name]
                yield name, parent, self.codec.decode(self._open(submission), parent)
            parent = theta

    def last_turns(self) -> dict[str, tuple[int, int]]:
        """Name → (head after its last turn, legs before that turn)."""
        before = self.history.state.schedule.legs_before
        return {
            name: (settled.head, before(settled.number))
            for settled in self.history.rounds
            for name in settled.facts.pairs
        }

    def _checkpoint(self) -> dict[int, np.ndarray]:
        """The newest model checkpoint, if the run got as far as one."""
        if (found := self.archive.newest_model(self.history)) is None:
            return {}
        pieces = self.archive.open_model(found, self.keys)
        return {found.version.number: decode_pack(pieces, found.version)}

    def _open(self, submission: Submit) -> bytes:
        return self.archive.open_delta(self.history.state, submission, self.keys)
