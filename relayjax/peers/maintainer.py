"""A maintainer that does not order: it follows the log, measures, and hands in its reports."""

from __future__ import annotations

from relayjax.codec import Codec
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.peers import handover
from relayjax.peers.exchange import Exchange
from relayjax.peers.home import Home
from relayjax.peers.shelf import Shelf
from relayjax.peers.validating import Validating
from relayjax.peers.voice import Voice
from relayjax.records import Submit
from relayjax.relay.testing import Validator


class Maintainer:
    """One maintainer at work."""

    def __init__(
        self,
        home: Home,
        keys: Keys,
        exchange: Exchange,
        validator: Validator,
        codec: Codec,
        history: History,
    ):
        """Goes on from what the directory and the exchange hold.

        Args:
          home: its own directory.
          keys: its own.
          exchange: where it meets the others.
          validator: what it measures with.
          codec: of the deltas.
          history: the newest one followed.
        """
        self.name = keys.name
        self._home, self._keys, self._exchange, self._codec = home, keys, exchange, codec
        self._voice = Voice(exchange, keys)
        shelf = Shelf(exchange, keys)
        self._validating = Validating(
            keys.name, home, validator, codec, shelf.genesis(history), shelf.open_delta
        )
        self._size = shelf.genesis(history).size

    def act(self, history: History) -> str | None:
        """Does what the state asks for now, if anything.

        Args:
          history: the newest one followed.

        Returns:
          What is to be told to who watches; None if nothing is.

        Raises:
          IntegrityError: an artefact is missing, or not what the ledger names.
          DiskError: the disk refused; acting again goes on.
        """
        self._validating.catch_up(history)
        self._home.forget(history.state.round.number)
        record = self._validating.report(history.state, self._opened)
        if record is None:
            return None
        reason = self._voice.say(record, history.state)
        return f"{record.KIND} refused: {reason}" if reason else None

    def _opened(self, submission: Submit) -> bytes | None:
        path = handover.candidate(submission.round, submission.author)
        limit = self._codec.max_size(self._size)
        kept = self._home.path / "coming"
        return handover.take(self._exchange, path, self._keys, submission.delta, limit, kept)
