"""A participant: it bids, deposits, trains on its own data, commits and reveals, when the state asks it to.

Everything it does follows from the verified log and from what it has kept in its own directory, so it can be
killed at any moment and go on. What it commits to is durable before it commits.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from relayjax.identity import Keys
from relayjax.learning.placement import Shard
from relayjax.mechanism.phases import trains
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, State
from relayjax.peers import handover
from relayjax.peers.exchange import Exchange
from relayjax.peers.held import Held
from relayjax.peers.home import Home, Turn
from relayjax.peers.sending import Parcel
from relayjax.peers.uploads import sign_uploads
from relayjax.peers.voice import Voice
from relayjax.records import Bid, Commit, Deposit, Record, Submit, commitment
from relayjax.relay.training import Candidate, Trainer


class Participant:
    """One participant at work."""

    def __init__(
        self,
        home: Home,
        keys: Keys,
        exchange: Exchange,
        trainer: Trainer,
        shard: Shard,
        others: Sequence[Exchange] = (),
    ):
        """Goes on from what the directory holds.

        Args:
          home: its own directory.
          keys: its own.
          exchange: where it meets the others.
          trainer: what it trains with.
          shard: its data.
          others: where other trainers serve what they hold.
        """
        self.name = keys.name
        self._home, self._keys, self._exchange = home, keys, exchange
        self._trainer, self._shard = trainer, shard
        self._voice = Voice(exchange, keys)
        self._held = Held(home.path / "held", exchange, keys, others)
        material = jnp.asarray(np.frombuffer(home.secret()[:8], np.uint32))
        self._key = jax.random.wrap_key_data(material, impl="threefry2x32")
        self._diverged = 0
        self._sent: tuple[tuple[int, str], Parcel] | None = None

    def act(self, state: State) -> str | None:
        """Does what the state asks for now, if anything.

        Args:
          state: the newest one followed.

        Returns:
          What is to be told to who watches; None if nothing is.

        Raises:
          DiskError: the disk refused; acting again goes on.
        """
        self._home.forget(state.round.number)
        if state.finished:
            return None
        now, rules = state.round, mechanism(state.rules)
        match now.phase:
            case Phase.AUCTION if self.name in rules.bidders(state) and self.name not in now.bids:
                amount = rules.suggested_bid(state, self.name)
                return None if amount is None else self._say(Bid(self.name, now.number, amount), state)
            case Phase.DEPOSIT if self.name in now.pairs and self.name not in now.deposits:
                amount = rules.deposits(state)[self.name]
                affordable = amount <= state.balances[self.name]
                return self._say(Deposit(self.name, now.number, amount), state) if affordable else None
            case Phase.COMMIT if trains(state, self.name) and self.name not in now.commitments:
                return self._commit(state)
            case Phase.REVEAL if self.name in now.commitments and self.name not in now.submissions:
                return self._reveal(state)
        if self.name in now.submissions and state.term.number > 0 and state.term.since == now.number:
            self._pass_on(state)
        return None

    def _commit(self, state: State) -> str | None:
        number, version = state.round.number, state.versions[state.round.pairs[self.name]]
        kept = self._home.turn(number)
        if kept is None or kept[0].parent != version.digest:
            kept = self._train(state)
        if kept is None:
            return None
        turn, _ = kept
        hidden = commitment(bytes.fromhex(turn.salt), turn.delta, turn.parent, number, self.name)
        return self._say(Commit(self.name, number, hidden), state)

    def _train(self, state: State) -> tuple[Turn, bytes] | None:
        """Trains a leg and keeps it; None while the parent is not there, or if training diverged."""
        number, schedule = state.round.number, state.schedule
        version = state.versions[state.round.pairs[self.name]]
        if self._diverged == number:
            return None
        theta = self._held.take(number, version.number, version.digest, self._trainer.leg.baton.size)
        if theta is None:
            return None
        place = (schedule.legs_before(number), schedule.legs)
        key = jax.random.fold_in(self._key, number)
        trained, loss = self._trainer.train(theta, self._shard, key, place)
        found = self._trainer.encode(self.name, version, theta, trained, loss, None)
        if not isinstance(found, Candidate):
            self._diverged = number
            return None
        turn = Turn(number, version.digest, secrets.token_hex(16), found.delta, found.child_digest)
        self._home.keep_turn(turn, found.payload)
        return turn, found.payload

    def _reveal(self, state: State) -> str | None:
        """Hands the delta over and shows what was committed to; nothing can be shown if the turn got lost."""
        number = state.round.number
        if (kept := self._home.turn(number)) is None:
            return None
        turn, payload = kept
        self._hand_over(state, payload)
        submit = Submit(
            self.name,
            number,
            delta=turn.delta,
            codec=state.schedule.codec,
            size=len(payload),
            salt=turn.salt,
            parent=turn.parent,
            child=turn.child,
        )
        return self._say(submit, state)

    def _pass_on(self, state: State) -> None:
        """Hands what was revealed before over once more, to who has taken over since and may lack it."""
        sent = self._sent is not None and self._sent[0] == _reader(state)
        if not sent and (kept := self._home.turn(state.round.number)) is not None:
            self._hand_over(state, kept[1])

    def _hand_over(self, state: State, payload: bytes) -> None:
        """Hands the delta over to who orders the records now."""
        if self._sent is None or self._sent[0] != _reader(state):
            to = handover.receiving_keys(state, [state.orderer])
            path = handover.delta(state.round.number, self.name)
            self._sent = _reader(state), Parcel(path, payload, self._home.secret(), to)
        sign_uploads(self._exchange, self._keys, state)
        self._sent[1].put(self._exchange)

    def _say(self, record: Record, state: State) -> str | None:
        reason = self._voice.say(record, state)
        return f"{record.KIND} refused: {reason}" if reason else None


def _reader(state: State) -> tuple[int, str]:
    """For which round and which orderer something is sealed."""
    return state.round.number, state.members[state.orderer].receiving
