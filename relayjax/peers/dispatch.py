"""What the orderer hands over in a round: parents to trainers, candidates to maintainers.

Who was given a version in one of the rounds before, and holds it, also finds the step from it to the parent:
one lossless difference for whoever holds the same, so that nobody sees a version in between, or whose work is
in it. It is made where that is much smaller, a piece at a time, from what was handed over then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from relayjax import files
from relayjax.errors import DiskError
from relayjax.history import SettledRound
from relayjax.identity import Keys
from relayjax.mechanism.phases import trains
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import State
from relayjax.peers import handover
from relayjax.peers.exchange import FolderExchange, is_regular
from relayjax.peers.parcel import Head
from relayjax.peers.sending import Parcel
from relayjax.peers.stepping import put_step
from relayjax.weights import as_bytes

_STEPS = 2
"""For how many rounds what was handed to trainers stays, and steps are made from it."""

Tell = Callable[[str], None]


class Dispatch:
    """What is on its way from the orderer in the present phase."""

    def __init__(self, folder: Path, keys: Keys, secret: bytes):
        """Has nothing on its way.

        Args:
          folder: of the relay.
          keys: of the orderer.
          secret: of its own, for the keys of pieces.
        """
        self._exchange, self._keys, self._secret = FolderExchange(folder), keys, secret
        self._folder = folder / handover.FOLDER
        self._parcels: dict[str, Parcel] = {}

    def __contains__(self, path: str) -> bool:
        """Whether something is on its way at a path."""
        return path in self._parcels

    def clear(self) -> None:
        """Looks after nothing any more."""
        self._parcels = {}

    def parents(
        self, state: State, rounds: Sequence[SettledRound], heads: Mapping[int, np.ndarray], tell: Tell
    ) -> None:
        """Takes up what matched trainers start from, unless it is on its way, and puts the steps to it.

        Args:
          state: the agreed one.
          rounds: that were settled.
          heads: weights of the present heads by version number, float32 [P].
          tell: is given lines for who watches.
        """
        now = state.round
        for version in sorted(set(now.pairs.values())):
            readers = [name for name, v in now.pairs.items() if v == version and trains(state, name)]
            path, new = handover.parent(now.number, version), as_bytes(heads[version])
            if not readers or path in self:
                continue
            sent = self._add(path, new, state, [*readers, state.orderer])
            if sent.head.pieces:
                try:  # before the parent itself is there, so that whoever holds another finds it
                    self._make_steps(state, version, readers, sent.head, new, rounds)
                except DiskError as error:
                    tell(str(error))

    def candidate(self, state: State, name: str, payload: bytes) -> None:
        """Takes up a trainer's delta for all maintainers."""
        path = handover.candidate(state.round.number, name)
        self._add(path, payload, state, mechanism(state.rules).maintainers(state))

    def put(self, tell: Tell) -> None:
        """Hands it over; doing it again puts right what others have done to it."""
        for sent in self._parcels.values():
            try:
                sent.put(self._exchange)
            except DiskError as error:  # others may have put something in the way; the next look tries again
                tell(str(error))

    def sweep(self, before: int, finished: bool, tell: Tell) -> None:
        """Removes what was on its way in earlier rounds, but for the parents that steps are made from.

        Args:
          before: the first round of which everything stays.
          finished: whether there will be no more steps.
          tell: is given lines for who watches.
        """
        for file in sorted(self._folder.glob("*")):
            kept = before if finished or "-parent-" not in file.name else before - _STEPS
            if (round := handover.round_of(file.name)) is None or round >= kept or not is_regular(file):
                continue
            try:
                files.remove(file)
            except DiskError as error:  # another user's
                tell(str(error))

    def _add(self, path: str, data: bytes | memoryview, state: State, names: Sequence[str]) -> Parcel:
        sent = Parcel(path, data, self._secret, handover.receiving_keys(state, names))
        self._parcels[path] = sent
        return sent

    def _make_steps(
        self,
        state: State,
        version: int,
        readers: Sequence[str],
        whole: Head,
        new: memoryview,
        rounds: Sequence[SettledRound],
    ) -> None:
        """Puts the steps to a version from what its readers hold."""
        now = state.round
        to = handover.receiving_keys(state, [*readers, state.orderer])
        for round, number in _held(readers, rounds):
            base = state.versions[number].digest
            if base != whole.digest:
                path = handover.step(now.number, base, version)
                base_path = handover.parent(round, number)
                put_step(self._exchange, self._keys, base_path, base, path, whole, new, to)


def _held(readers: Sequence[str], rounds: Sequence[SettledRound]) -> Iterator[tuple[int, int]]:
    """Round and number of the versions that trainers were given last, none twice."""
    last: dict[str, tuple[int, int]] = {}
    for settled in rounds[-_STEPS:]:
        for name in settled.facts.commitments:
            if name in readers:
                last[name] = settled.number, settled.facts.pairs[name]
    yield from sorted(set(last.values()))
