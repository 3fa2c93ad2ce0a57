"""Looking at a relay as anybody can, from what its log proves; neither keys nor an accelerator are needed."""

from __future__ import annotations

import time

from relayjax.errors import IntegrityError, WorkdirError
from relayjax.ledger.proof import Receipt
from relayjax.ledger.tiles import ENTRY_LIMIT, WIDTH, decode_bundle, tiles_of
from relayjax.mechanism.state import State
from relayjax.peers.exchange import Exchange
from relayjax.peers.follower import Follower
from relayjax.peers.standing import Status, standing
from relayjax.records import Submit


class Observer:
    """Follows the log of a relay. Nothing is read before `poll`.

    Attributes:
      origin, log_key: of the log.
      name: of the member who looks; None of somebody who is none.
    """

    def __init__(
        self,
        exchange: Exchange,
        follower: Follower,
        origin: str,
        log_key: str,
        *,
        name: str | None = None,
        believed: bool = False,
    ):
        """Looks through a follower.

        Args:
          exchange: of the relay.
          follower: of its log.
          origin, log_key, name: as above.
          believed: whether the log alone has said that this is its key.
        """
        self.origin, self.log_key, self.name = origin, log_key, name
        self._exchange, self._follower, self._believed = exchange, follower, believed
        self._since = time.monotonic()

    @property
    def follower(self) -> Follower:
        """What has read and verified the log."""
        return self._follower

    @property
    def state(self) -> State | None:
        """The agreed state; None before anything was read."""
        return self._follower.chronicle.state

    @property
    def finished(self) -> bool:
        """Whether every round is settled, as far as the log was read."""
        return self.state is not None and self.state.finished

    def poll(self) -> bool:
        """Reads and verifies what is new; returns whether something was.

        Raises:
          SplitViewError: the log shows another history than before, or less of it.
          IntegrityError: it is not what was signed, or not allowed; nothing was taken in.
          ExchangeError: nobody can be reached now.
        """
        grown = self._follower.poll()
        if grown:
            self._since = time.monotonic()
        return grown

    def status(self, left: float | None = None) -> Status:
        """How far the relay is, as far as the log was read.

        Args:
          left: see `Status.left`, for who knows it.

        Raises:
          IntegrityError: nothing was read yet.
        """
        follower = self._follower
        return standing(
            follower.chronicle.history.state,
            self.origin,
            self.log_key,
            size=follower.size,
            root=follower.root,
            name=self.name,
            believed=self._believed,
            quiet=time.monotonic() - self._since,
            left=left,
        )

    def receipts(self, name: str | None = None) -> list[Receipt]:
        """A receipt for every delta a participant submitted: record, proof and signed checkpoint.

        Args:
          name: the participant's; None for the member who looks.

        Raises:
          WorkdirError: there is no such member.
          IntegrityError: entries are missing, or not those that were followed.
          ExchangeError: nobody can be reached now.
        """
        past, name = self._follower.chronicle.history, name or self.name
        if name not in past.state.members:
            known = ", ".join(sorted(past.state.members))
            raise WorkdirError(f"there is no member {name}; the members are {known}")
        mine = [
            index
            for index, record in enumerate(past.records)
            if isinstance(record, Submit) and record.author == name
        ]
        entries = self._entries(mine)
        return [self._follower.prove(index, entries[index]) for index in mine]

    def _entries(self, indices: list[int]) -> dict[int, bytes]:
        """Entries by index, each bundle of them fetched once; nobody has vouched for them."""
        found = dict[int, bytes]()
        for tile in tiles_of(self._follower.size):
            wanted = [index for index in indices if tile.start <= index < tile.start + tile.width]
            if tile.level or not wanted:
                continue
            path = f"ledger/{tile.bundle_path}"
            data = self._exchange.fetch(path, WIDTH * ENTRY_LIMIT)
            bundle = [] if data is None else list(decode_bundle(data))
            if len(bundle) < tile.width:
                raise IntegrityError(path, "is missing or cut; the log may have gone on: look and ask again")
            found |= {index: bundle[index - tile.start] for index in wanted}
        return found
