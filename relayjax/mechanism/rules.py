"""Rules as data: every number the mechanism uses, with its unit and range.

Amounts are integers in micro-coins (1 coin = 1 000 000), shares in parts per million, losses in
micro-nats per example. The ranges keep every amount below 2⁵³, what a record can say, to the last round.
"""

from __future__ import annotations

from dataclasses import dataclass

from relayjax.errors import ConfigError
from relayjax.records import SIZE_LIMIT
from relayjax.settings import Settings, setting

COIN = 1_000_000
MILLION = 1_000_000

_SETTLED, _NAMED = 142, 6
"""Bytes that a settlement needs for a member at most, and how often it names it: accepted, escrow (twice),
value, royalty, licence; or, in the last round, remainder in place of value and royalty."""


@dataclass(frozen=True)
class Schedule(Settings):
    """How long the relay is and who runs in it."""

    rounds: int = setting(155, "numbered cycles of the protocol", low=1, high=1_000_000)
    participants: int = setting(10, "participants that bring data", low=1, high=256)
    validators: int = setting(3, "maintainers that score; the first one orders the log", low=1, high=33)
    braid_rounds: tuple[int, ...] = setting(
        (1, 2), "rounds in which all train from one head and value is measured and paid", low=1
    )
    merge: str = setting(
        "equal",
        "how a braid round's deltas are merged",
        choices=("equal", "sign_consensus", "value_weighted"),
    )
    merge_step: int = setting(
        MILLION,
        "how far a braid round goes along its merged deltas: as far as they go on average, or a multiple",
        unit="ppm",
        low=1,
        high=100 * MILLION,
    )
    draw: int = setting(200, "validation examples drawn to test a chain round", low=2, high=10_000_000)
    draw_valued: int = setting(
        2_000, "validation examples drawn to test and value a braid round", low=2, high=10_000_000
    )
    reuse: int = setting(
        400, "tests that a validation example may take part in, on average", low=1, high=10_000_000
    )
    codec: str = setting(
        "mxint8",
        "how deltas are encoded",
        choices=("mxint8", "mxfp4", "lossless", "sign", "top_percent", "top_permille"),
    )
    checkpoint_every: int = setting(10, "versions between two model checkpoints", low=1)

    def check(self) -> None:
        if list(self.braid_rounds) != sorted(set(self.braid_rounds)):
            raise ConfigError(f"braid_rounds={self.braid_rounds}: must be ascending, each round once")
        if self.braid_rounds and self.braid_rounds[0] > self.rounds:
            raise ConfigError(f"braid_rounds={self.braid_rounds}: all lie beyond the {self.rounds} rounds")

    @property
    def longest_name(self) -> int:
        """Characters a member's name may have, so that a settlement of everybody fits into one record."""
        room = SIZE_LIMIT // (self.participants + self.validators)
        return min(32, (room - _SETTLED) // _NAMED)

    @property
    def valued(self) -> tuple[int, ...]:
        """The braid rounds that come before the relay ends."""
        return tuple(number for number in self.braid_rounds if number <= self.rounds)

    def tested(self, round: int) -> int:
        """Validation examples to draw in a round."""
        return self.draw_valued if round in self.braid_rounds else self.draw

    def legs_before(self, round: int) -> int:
        """Legs run before `round` starts: one a chain round, one a participant in a braid round."""
        braids = sum(1 for b in self.braid_rounds if b < round)
        return (round - 1 - braids) + braids * self.participants

    @property
    def legs(self) -> int:
        """Legs of the whole relay."""
        return self.legs_before(self.rounds + 1)


@dataclass(frozen=True)
class Rules(Settings):
    """Base of a rule set's numbers; the class says which rule set it is."""


@dataclass(frozen=True)
class RelayJAXRules(Rules):
    """Bounded supply, acceptance by trust region, payout by measured value, decaying royalty.

    The supply after all R rounds is `(participants + validators) · endowment + R · emission`, whatever
    anybody does.
    """

    endowment: int = setting(
        10 * COIN,
        "granted to each founding participant and validator, so that it has something to lose",
        unit="micro-coins",
        low=0,
        high=10**12,
    )
    emission: int = setting(
        10 * COIN,
        "minted per round: the validators' share in each, the rest for all rounds at the start",
        unit="micro-coins",
        low=0,
        high=10**9,
    )
    deposit: int = setting(
        COIN, "least bid; forfeited by refused work", unit="micro-coins", low=0, high=10**12
    )
    maintainer_share: int = setting(
        100_000, "of each emission, for the validators", unit="ppm", low=0, high=MILLION
    )
    royalty_share: int = setting(
        200_000, "of each payout, for earlier valued versions", unit="ppm", low=0, high=MILLION
    )
    royalty_decay: int = setting(
        500_000, "of the royalty left, passed on at each valued version", unit="ppm", low=0, high=MILLION - 1
    )
    tolerance: int = setting(
        100_000,
        "largest rise of the validation loss that is accepted",
        unit="micro-nats",
        low=0,
        high=10**12,
    )
    tolerance_left: int = setting(
        50_000,
        "share of it in the last round; it falls in even steps, as nobody is left to repair what is late",
        unit="ppm",
        low=0,
        high=MILLION,
    )
    slope_tolerance: int = setting(
        300_000,
        "largest rise of the loss along a delta, to first order, as a share of its parent's loss",
        unit="ppm",
        low=0,
        high=10**12,
    )
    full_share: int = setting(
        750_000,
        "of the usual number of legs, from which on a trainer has all of its part of the remainder",
        unit="ppm",
        low=0,
        high=MILLION,
    )
    echo_limit: int = setting(
        990_000,
        "largest |cosine| of a braid round's delta with an accepted one, or with one committed before it",
        unit="ppm",
        low=0,
        high=MILLION,
    )
    noise_floor: int = setting(
        3_000_000,
        "standard deviations of luck that a value must exceed to be paid, and a slope to be work",
        unit="ppm",
        low=0,
        high=10**8,
    )
    score_tolerance: int = setting(
        1_000,
        "largest distance from the median score that is paid",
        unit="micro-nats",
        low=0,
        high=10**12,
    )
    slash: int = setting(
        COIN,
        "lost by a validator that shows no report it pledged to, or one beyond score_tolerance",
        unit="micro-coins",
        low=0,
        high=10**12,
    )

    @property
    def wages(self) -> int:
        """What a round's validators share."""
        return self.emission * self.maintainer_share // MILLION

    def tolerance_in(self, round: int, rounds: int) -> int:
        """The largest rise of the loss that is accepted in a round of so many, micro-nats."""
        passed = (round - 1) * (MILLION - self.tolerance_left) // max(1, rounds - 1)
        return self.tolerance * (MILLION - passed) // MILLION

    def trusted(self, rise: int, slope: int, before: int, tolerance: int) -> bool:
        """Whether a delta lies within the trust region, and does not point away from what the relay learns.

        Args:
          rise: what the candidate adds to its parent's loss, micro-nats.
          slope: what its delta adds to it to first order.
          before: that loss.
          tolerance: of the round.
        """
        return rise <= tolerance and MILLION * slope <= self.slope_tolerance * before

    def supply(self, rounds: int) -> int:
        """What trainers are paid over a whole relay of so many rounds, forfeits aside."""
        return (self.emission - self.wages) * rounds


@dataclass(frozen=True)
class DeRelayLRules(Rules):
    """The rules of the paper's authors (arXiv 2605.02935), as their program has them.

    A trainer bids one coin for each version it lies behind, and `bid_margin` coins more; in the first round
    version 0 is on offer. The owner of the genesis version is paid `genesis_shares` times for each accepted
    model: their program takes it for its own parent, too.
    """

    accepted_share: int = setting(500_000, "of the candidates that survive", unit="ppm", low=0, high=MILLION)
    places: int = setting(4, "trainers an owner may take", low=1, high=1_000)
    lineage_reward: int = setting(
        COIN,
        "minted for the owner of each ancestor of an accepted model",
        unit="micro-coins",
        low=0,
        high=10**7,
    )
    genesis_shares: int = setting(
        2, "rewards to the owner of the genesis version for an accepted model", low=0, high=1_000
    )
    bid_margin: int = setting(
        1, "a bid's excess over the versions a trainer lies behind", unit="coins", low=0, high=1_000
    )
    fee: int = setting(
        1_000, "minted for maintainers per item of a block", unit="micro-coins", low=0, high=10**6
    )
    owner_bid: int = setting(
        1_000, "an owner's bid over all its places", unit="micro-coins", low=0, high=10**12
    )
