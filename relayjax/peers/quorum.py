"""Following a log that lies in several places: it counts as far as more than half of them show it.

Each place is a copy that a maintainer keeps on a disk of its own, and another maintainer orders only when
more than half of them vote at one point of the log. So what more than half show is not lost with who orders:
some voter has it, and whoever has it votes at no point before it. This is the argument of quorums, with the
copies' checkpoints in the place of acknowledgements. A place that shows less is behind, and no matter; one
that shows another history is left out, and what proves it is kept.

With two places each counts by itself, since both would mean that neither may be gone.

References:
  Gifford, *Weighted Voting for Replicated Data*, SOSP 1979.
  Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm*, USENIX ATC 2014, section 5.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relayjax.errors import ExchangeError, FormatError, IntegrityError, SplitViewError
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.merkle import HASH_SIZE
from relayjax.ledger.note import verify_note
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.tiles import WIDTH
from relayjax.peers.exchange import Exchange
from relayjax.peers.follower import CHECKPOINT, Follower
from relayjax.peers.several import Place, Several


def quorum(places: int) -> int:
    """How many of so many places must show what counts."""
    return places // 2 + 1 if places > 2 else 1


@dataclass(frozen=True)
class _View:
    """What a place shows."""

    place: Place
    note: bytes
    claim: Checkpoint


class QuorumFollower(Follower):
    """A follower of a log in several places."""

    def __init__(self, several: Several, origin: str, log_key: str, seen: Path | None = None):
        """As a follower."""
        super().__init__(several, origin, log_key, seen)
        self._several, self._polls = several, 0

    def poll(self) -> bool:
        """Reads what is new and counts; returns whether something did.

        Raises:
          SplitViewError: more than half of the places show another history than before; evidence is kept.
          RollbackError: more than half of them show less of it; likewise. Asking again may help.
          IntegrityError: none of those that answer shows the log as it was signed and seen.
          ExchangeError: none answers.
        """
        self._polls += 1
        right, wrong = list[_View](), dict[Place, IntegrityError]()
        for place, note in self._several.checkpoints():
            try:
                claim = self.claim(note)
                self.lags(note)
            except IntegrityError as error:
                wrong[place] = error
            else:
                right.append(_View(place, note, claim))
        grown = self._grow([view for view in right if view.claim.size > self.size], wrong)
        right = [view for view in right if view.place not in wrong]
        self.disputes = {place.name: f"{place.name} is left out: {error}" for place, error in wrong.items()}
        forks = [error for error in wrong.values() if isinstance(error, SplitViewError)]
        if 2 * len(forks) > len(self._several.places):
            raise forks[0]
        behind = [view for view in right if view.claim.size < self._known()]
        if 2 * len(behind) > len(self._several.places):
            self._compare(behind[0].place, behind[0].note, behind[0].claim)
        if wrong and not right:  # the others may only be out of reach
            raise IntegrityError(CHECKPOINT, "; ".join(self.disputes.values()))
        if level := [view.place for view in right if view.claim.size >= self.size]:
            self._several.prefer(level[self._polls % len(level)])  # one may lie about artefacts
        return grown

    def _grow(self, views: list[_View], wrong: dict[Place, IntegrityError]) -> bool:
        """Takes in the newest view that counts, of those that show more than was read."""
        for view in sorted(views, key=lambda view: view.claim.size, reverse=True):
            if view.claim.size < self._known() or not self._counts(view, views):
                continue
            try:
                if self.take(view.place, view.note):
                    return True
            except IntegrityError as error:
                wrong[view.place] = error
            except ExchangeError:  # the others show it, too
                continue
        return False

    def _known(self) -> int:
        """Entries seen, maybe before a restart."""
        return self.claim(self.note).size if self.note is not None else 0

    def _counts(self, view: _View, views: Sequence[_View]) -> bool:
        """Whether enough places show a view, or more of the same history."""
        need = quorum(len(self._several.places))
        if sum(other.claim.size >= view.claim.size for other in views) < need:
            return False
        return sum(self._shows(other, view.claim) for other in views) >= need

    def _shows(self, view: _View, claim: Checkpoint) -> bool:
        if view.claim == claim:
            return self._signed(view.note)
        if view.claim.size <= claim.size:
            return False
        with suppress(ExchangeError, IntegrityError, _MissingError):
            reader = TileReader(lambda name: _tile(view.place, name), view.claim.size)
            return self._signed(view.note) and reader.root(claim.size) == claim.root
        return False

    def _signed(self, note: bytes) -> bool:
        """Whether somebody has signed who could; before the genesis is known nobody can tell."""
        if self.chronicle.state is None:
            return True
        with suppress(FormatError, IntegrityError):
            verify_note(note, self.signers(), CHECKPOINT)
            return True
        return False


class _MissingError(Exception):
    """A tile is not there now."""


def _tile(exchange: Exchange, name: str) -> bytes:
    data = exchange.fetch(f"ledger/{name}", WIDTH * HASH_SIZE)
    if data is None:
        raise _MissingError(name)
    return data


def follower(exchange: Exchange, origin: str, log_key: str, seen: Path | None = None) -> Follower:
    """A follower of a log, wherever it lies; arguments as for `Follower`."""
    if isinstance(exchange, Several):
        return QuorumFollower(exchange, origin, log_key, seen)
    return Follower(exchange, origin, log_key, seen)
