"""What a replay leads to, gathered record by record."""

from __future__ import annotations

from relayjax.errors import IntegrityError
from relayjax.history import History, SettledRound
from relayjax.mechanism.state import State
from relayjax.records import Genesis, Record, Settle


class Chronicle:
    """The story of a relay so far.

    Attributes:
      state: the agreed state; None before the genesis.
    """

    def __init__(self, past: History | None = None):
        """Goes on from a history, or begins with nothing."""
        self.state: State | None = past.state if past else None
        self._genesis: Genesis | None = past.genesis if past else None
        self._rounds: list[SettledRound] = list(past.rounds) if past else []
        self._records: list[Record] = list(past.records) if past else []
        self._history = past

    def add(self, record: Record, state: State) -> None:
        """Takes the next record and the state after it."""
        if isinstance(record, Genesis):
            self._genesis = record
        if isinstance(record, Settle) and self.state is not None:
            self._rounds.append(SettledRound.of(self.state, record, state))
        self._records.append(record)
        self.state, self._history = state, None

    @property
    def settled(self) -> int:
        """How many rounds are settled."""
        return len(self._rounds)

    @property
    def history(self) -> History:
        """All of it; put together once after each record, for members look far more often than one comes.

        Raises:
          IntegrityError: there is no genesis yet.
        """
        if self._genesis is None or self.state is None:
            raise IntegrityError("ledger", "it has no entries yet; ask who founds the relay")
        if self._history is None:
            rounds, records = tuple(self._rounds), tuple(self._records)
            self._history = History(self._genesis, rounds, self.state, records)
        return self._history
