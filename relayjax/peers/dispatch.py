"""What the orderer hands over in a round: parents to trainers, candidates to maintainers.

Who was given a version in one of the rounds before, and holds it, also finds the step from it to the parent:
one lossless difference for whoever holds the same, so that nobody sees a version in between, or whose work is
in it. It is made where it is smaller than the parent, a piece at a time, from what was handed over then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from relayjax import files
from relayjax.errors import AccessError, DiskError, FormatError, IntegrityError
from relayjax.history import SettledRound
from relayjax.identity import Keys
from relayjax.mechanism.phases import trains
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, State
from relayjax.peers import handover, parcel
from relayjax.peers.collecting import fetch_head, fetch_piece
from relayjax.peers.exchange import FolderExchange, is_regular
from relayjax.peers.parcel import Head
from relayjax.peers.sending import Parcel
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
        self._parcels: list[Parcel] = []

    def prepare(
        self,
        state: State,
        rounds: Sequence[SettledRound],
        heads: Mapping[int, np.ndarray],
        payloads: Mapping[str, bytes],
        tell: Tell,
    ) -> None:
        """Takes up what the present phase needs, and makes steps.

        Args:
          state: the agreed one.
          rounds: that were settled.
          heads: weights of the present heads by version number, float32 [P].
          payloads: encoded deltas of the present round by trainer.
          tell: is given lines for who watches.
        """
        now, rules = state.round, mechanism(state.rules)
        self._parcels = []
        if now.phase is Phase.COMMIT:
            for version in sorted(set(now.pairs.values())):
                readers = [name for name, v in now.pairs.items() if v == version and trains(state, name)]
                if readers:
                    path, to = handover.parent(now.number, version), [*readers, state.orderer]
                    found = self._add(path, as_bytes(heads[version]), state, to)
                    for base in _held(readers, rounds) if found.head.pieces else ():
                        self._make_step(state, base, version, found.head, heads[version], to, tell)
        elif now.phase in (Phase.TESTING, Phase.APPRAISAL):
            for name in now.submissions:
                path = handover.candidate(now.number, name)
                self._add(path, payloads[name], state, rules.maintainers(state))

    def put(self, tell: Tell) -> None:
        """Hands it over; doing it again puts right what others have done to it."""
        for sent in self._parcels:
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
        self._parcels.append(sent)
        return sent

    def _make_step(
        self,
        state: State,
        base: tuple[int, int],
        version: int,
        whole: Head,
        theta: np.ndarray,
        names: Sequence[str],
        tell: Tell,
    ) -> None:
        """Puts the step to a version where it is smaller; without it the whole is fetched."""
        digest = state.versions[base[1]].digest
        path = handover.step(state.round.number, digest, version)
        there = fetch_head(self._exchange, path, self._keys, whole.size)
        old = fetch_head(self._exchange, handover.parent(*base), self._keys, whole.size)
        if digest == whole.digest or old is None or old.head.digest != digest:
            return
        if there and (there.head.base, there.head.chunks) == (digest, whole.chunks):
            return  # made before a restart
        head = parcel.step_of(whole, digest)
        with suppress(AccessError, FormatError, IntegrityError):  # somebody has damaged the base
            try:
                if self._put_steps(handover.parent(*base), old.head, path, head, as_bytes(theta)):
                    to = handover.receiving_keys(state, names)
                    self._exchange.offer(path, head.encode(to))
            except DiskError as error:
                tell(str(error))

    def _put_steps(self, base_path: str, base: Head, path: str, head: Head, new: memoryview) -> bool:
        """Puts the pieces of a step; returns whether they are smaller than those of the whole."""
        buffer, size = memoryview(bytearray(min(parcel.PIECE, head.size))), 0
        for number in range(head.pieces):
            span = head.span(number)
            old = buffer[: span.stop - span.start]
            fetch_piece(self._exchange, base_path, base, number, old)
            sealed = head.seal(number, parcel.encode_step(old, new[span]))
            size += len(sealed)
            if size >= span.stop:
                return False
            self._exchange.offer(parcel.piece_path(path, number), sealed)
        return True


def _held(readers: Sequence[str], rounds: Sequence[SettledRound]) -> Iterator[tuple[int, int]]:
    """Round and number of the versions that trainers were given last, none twice."""
    last: dict[str, tuple[int, int]] = {}
    for settled in rounds[-_STEPS:]:
        for name in settled.facts.commitments:
            if name in readers:
                last[name] = settled.number, settled.facts.pairs[name]
    yield from sorted(set(last.values()))
