"""Any sequence of members' records between rounds: what is refused changes nothing, what is taken replays.

Every step is tried with every key that anybody has or had; only the one that the model names may sign it.
After each, coins are conserved, licences and balances of everybody are what they were; in the end the signed
entries replay to the very same state.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from relayjax import records
from relayjax.errors import IntegrityError, ProtocolError
from relayjax.identity import Envelope, Keys, sign, verify_envelope
from relayjax.identity.envelope import pre_authentication
from relayjax.ledger.entry import chain
from relayjax.mechanism.apply import apply
from relayjax.mechanism.membership import POSSESSION_TYPE, signer
from relayjax.mechanism.rules import COIN, RelayJAXRules, Schedule
from relayjax.records import Record, Recover, RecoveryKey, Revoke, Rotate, possession
from relayjax.replay import replay

SCHEDULE = Schedule(rounds=6, participants=3, validators=3, braid_rounds=(1, 3, 5))
NAMES = ("p0", "p1", "p2", "v0", "v1", "v2", "observer")


@dataclass
class Ring:
    """What the model knows of a name: keys by their role, and the ones it has used up."""

    signing: Keys
    recovery: Keys | None = None
    spent: list[Keys] = field(default_factory=list)
    revoked: bool = False


class Membership(RuleBasedStateMachine):
    def __init__(self, player):
        super().__init__()
        self.play = player(SCHEDULE, RelayJAXRules(tolerance=10 * COIN), random.Random(3))
        self.rings = {name: Ring(Keys.derive(name, b"tests")) for name in NAMES}
        self.fresh = 0
        self.said = [self.signed(record) for record in self.play.said]
        self.play.watch = lambda before, record: self.said.append(self.signed(record))

    def signed(self, record: Record) -> Envelope:
        return sign(records.encode(record), self.rings[record.author].signing)

    @initialize()
    def begin(self):
        self.play.round()

    def new(self, name: str) -> Keys:
        self.fresh += 1
        return Keys.derive(name, b"new %d" % self.fresh)

    def shown(self, record, by: Keys):
        proof = by.sign(pre_authentication(POSSESSION_TYPE, possession(record))).hex()
        return dataclasses.replace(record, proof=proof)

    def attempt(self, record: Record, right: Keys | None) -> bool:
        """Tries a record with all keys there are of all names; returns whether it was taken."""
        before, name = self.play.state, record.author
        try:
            after = apply(before, record)
            needed = signer(before, record).signing
        except ProtocolError:
            assert self.play.state == before
            return False
        assert right is not None and needed == right.public.signing
        payload = records.encode(record)
        held = [key for ring in self.rings.values() for key in (ring.signing, ring.recovery, *ring.spent)]
        for other in filter(None, held):
            signed = sign(payload, dataclasses.replace(other, name=name))
            if other is right:
                self.said.append(signed)
                verify_envelope(signed, signer(before, record))
            else:
                with pytest.raises(IntegrityError, match="does not hold"):
                    verify_envelope(signed, signer(before, record))
        assert (after.balances, after.licences) == (before.balances, before.licences)
        self.play.state = after
        return True

    @rule(name=st.sampled_from(NAMES), again=st.booleans())
    def rotate(self, name: str, again: bool):
        ring = self.rings[name]
        new = random.Random(self.fresh).choice(ring.spent) if again and ring.spent else self.new(name)
        public = new.public
        record = self.shown(Rotate(name, self.play.state.run, public.signing, public.receiving, ""), new)
        taken = self.attempt(record, ring.signing)
        assert taken == (not ring.revoked and new not in ring.spent)
        if taken:
            ring.spent.append(ring.signing)
            ring.signing = new

    @rule(name=st.sampled_from(NAMES), back=st.integers(-1, 2))
    def recover(self, name: str, back: int):
        ring, new, state = self.rings[name], self.new(name), self.play.state
        void, public = state.round.number - back, new.public
        record = self.shown(Recover(name, state.run, void, public.signing, public.receiving, ""), new)
        taken = self.attempt(record, ring.recovery)
        assert taken == (not ring.revoked and ring.recovery is not None and 1 <= void <= state.round.number)
        if taken:
            ring.spent.append(ring.signing)
            ring.signing = new

    @rule(name=st.sampled_from(NAMES))
    def register(self, name: str):
        ring, new = self.rings[name], self.new(name)
        record = self.shown(RecoveryKey(name, self.play.state.run, new.public.signing, ""), new)
        taken = self.attempt(record, ring.recovery or ring.signing)
        assert taken == (not ring.revoked)
        if taken:
            ring.spent += [ring.recovery] if ring.recovery else []
            ring.recovery = new

    @rule(name=st.sampled_from(NAMES), other=st.sampled_from(NAMES))
    def revoke(self, name: str, other: str):
        ring, victim = self.rings[name], self.rings[other]
        right = (ring.recovery or ring.signing) if name == other else ring.signing
        taken = self.attempt(Revoke(name, self.play.state.run, other), right)
        if taken:
            victim.revoked = bool(self.play.state.members[other].revoked)
            assert victim.revoked or name != other
            assert not self.rings["v0"].revoked
        else:
            blocked = ring.revoked or victim.revoked or other == "v0"
            accused = name in dict(self.play.state.members[other].accusers)
            assert blocked or accused or (name != other and not name.startswith("v"))

    @rule()
    def play_on(self):
        if self.play.state.round.number < SCHEDULE.rounds:
            self.play.round()

    @invariant()
    def coins_are_conserved(self):
        state = self.play.state
        there = sum(state.balances.values()) + sum(state.round.deposits.values()) + state.pot
        assert state.minted - state.burned == there
        assert set(state.balances) == set(NAMES)

    def teardown(self):
        assert list(replay(chain(self.said)))[-1].state == self.play.state


def test_members_records_in_any_order(player):
    run_state_machine_as_test(
        lambda: Membership(player),
        settings=settings(
            max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
