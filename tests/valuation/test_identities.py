"""One delta under many names gains nothing: Aumann–Shapley is linear, and what is alike shares its pay."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax import settings
from relayjax.identity import Keys
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.relayjax import RelayJAX
from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.mechanism.settlement import ESCROW, POT
from relayjax.mechanism.state import Phase, Role, State
from relayjax.records import Genesis, Join, Pairs, Score, Value
from relayjax.valuation import Composition, Estimate, aumann_shapley
from relayjax.valuation.chance import chance
from relayjax.valuation.estimate import fixed_point
from relayjax.valuation.novelty import Novelties
from relayjax.valuation.sharing import Shared, shared_values

D, CLASSES, EXAMPLES, HONEST = 60, 10, 600, 5
P = D * CLASSES
RULES = RelayJAXRules()
REFUSES_NOTHING = dataclasses.replace(RULES, echo_limit=1_000_000)

EQUAL = [[1 / k] * k for k in (2, 3, 5, 8, 16)]
UNEQUAL = [[0.9, 0.1], [0.5, 0.3, 0.2], [0.02] * 15 + [0.7]]
OPPOSED = [[2.0, -1.0]]
"""Parts that point against each other, as no honest part does."""


def cross_entropy(inputs: jax.Array, labels: jax.Array, theta: jax.Array) -> jax.Array:
    log_odds = jax.nn.log_softmax(inputs @ theta.reshape(D, CLASSES))
    return -jnp.take_along_axis(log_odds, labels[:, None], axis=1)[:, 0]


class Round:
    """A braid round of a linear classifier: honest deltas lean towards a teacher, some old ones are known."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        inputs = rng.normal(size=(EXAMPLES, D)).astype(np.float32)
        teacher = rng.normal(size=(D, CLASSES)).astype(np.float32)
        labels = jnp.asarray((inputs @ teacher).argmax(axis=1))
        self.losses = Partial(cross_entropy, jnp.asarray(inputs), labels)
        self.base = (0.1 * rng.normal(size=P)).astype(np.float32)
        lean = rng.uniform(0.5, 1.0, (HONEST, 1)) * teacher.reshape(1, P)
        self.honest = (lean + 0.5 * rng.normal(size=(HONEST, P))).astype(np.float32)
        self.weight = np.float32(1 / HONEST)
        self.known = Novelties()
        for old in (self.honest[0] + 1.5 * rng.normal(size=P), rng.normal(size=P)):
            self.known.remember(old.astype(np.float32))

    def split(self, shares: list[float]) -> dict[str, np.ndarray]:
        """The honest deltas by name, the first one in parts, in the order of commitments."""
        names = [f"a{number:02d}" for number in range(len(shares))]
        parts = dict(zip(names, np.array(shares, np.float32)[:, None] * self.honest[0], strict=True))
        return parts | {f"h{number}": delta for number, delta in enumerate(self.honest[1:], 1)}

    def game(self, deltas: Mapping[str, np.ndarray]) -> Composition:
        """Their composition; weights are kept, however many there are."""
        weights = jnp.full(len(deltas), self.weight)
        return Composition(
            self.losses, jnp.asarray(self.base), jnp.asarray(np.stack([*deltas.values()])), weights
        )

    def value(self, deltas: Mapping[str, np.ndarray], novel: bool) -> tuple[Estimate, np.ndarray]:
        """The estimate, and what luck is worth."""
        game = self.game(deltas)
        new = np.stack([self.known.compare([delta])[0].novel for delta in deltas.values()])
        return aumann_shapley(game, directions=jnp.asarray(new) if novel else None), chance(game)

    def stated(self, deltas: Mapping[str, np.ndarray]) -> Shared:
        """What a validator reports of them."""
        new = np.stack([self.known.compare([delta])[0].novel for delta in deltas.values()])
        return shared_values(self.game(deltas), new)

    def paid(self, shares: list[float], rules: RelayJAXRules) -> tuple[int, int, int]:
        """What whoever sends the parts is paid for value and loses in deposits; how many parts pass."""
        deltas = self.split(shares)
        found = self.known.compare([*deltas.values()])
        state = scored(rules, dict(zip(deltas, (one.echo for one in found), strict=True)))
        accepted = sorted(RelayJAX(rules).accepted(state))
        stated = self.stated({name: deltas[name] for name in accepted})
        settlement = RelayJAX(rules).settle(valued(state, accepted, stated))
        ours = [name for name in deltas if name.startswith("a")]
        earned = sum(
            amount
            for source, name, amount, why in settlement.transfers
            if source == POT and name in ours and why == "value"
        )
        lost = sum(
            amount
            for source, target, amount, _ in settlement.transfers
            if target == POT and source.removeprefix(ESCROW) in ours
        )
        return earned, lost, len(set(accepted) & set(ours))


def opened(rules: RelayJAXRules, names: list[str]) -> State:
    """A relay of these participants and one validator, in its first round, which is braided."""
    schedule = Schedule(rounds=4, participants=len(names), validators=1, braid_rounds=(1, 2))
    keys = {name: Keys.derive(name, b"identities").public for name in ("v", *names)}
    config = {"relay": settings.encode(schedule), "rules": settings.encode(rules)}
    signing, receiving = keys["v"].signing, keys["v"].receiving
    genesis = Genesis("v", config, [], "00" * 32, "11" * 32, signing, receiving)
    joins = [Join(name, Role.PARTICIPANT.value, keys[name].signing, keys[name].receiving) for name in names]
    return reduce(apply, joins, start(genesis))


def scored(rules: RelayJAXRules, echoes: Mapping[str, float]) -> State:
    """Their candidates leave the loss where it is and echo that much."""
    state = opened(rules, sorted(echoes))
    alike = tuple((name, round(1e6 * echoes[name])) for name in sorted(echoes))
    losses, slopes = (tuple((name, one) for name in sorted(echoes)) for one in (10**6, -(10**5)))
    score = Score("v", 1, "00" * 16, (("0", 10**6),), losses, slopes, slopes, alike)
    deposits = dict.fromkeys(echoes, rules.deposit)
    balances = {name: amount - deposits.get(name, 0) for name, amount in state.balances.items()}
    now = dataclasses.replace(
        state.round,
        phase=Phase.SETTLEMENT,
        pairs=dict.fromkeys(echoes, 0),
        deposits=deposits,
        scores={"v": score},
    )
    return dataclasses.replace(state, round=now, balances=balances)


def valued(state: State, accepted: list[str], stated: Shared) -> State:
    """As the validator reports it."""

    def pairs(values: np.ndarray) -> Pairs:
        return tuple(zip(accepted, fixed_point(values), strict=True))

    values, stderr = pairs(stated.values), pairs(stated.stderr)
    value = Value("v", 1, "00" * 16, "22" * 32, 0, values, stderr, pairs(stated.chance), values, stderr)
    return dataclasses.replace(state, round=dataclasses.replace(state.round, values={"v": value}))


@pytest.fixture(scope="module")
def braid() -> Round:
    return Round()


@pytest.mark.parametrize("novel", [False, True], ids=["whole", "what is new"])
@pytest.mark.parametrize("shares", EQUAL + UNEQUAL + OPPOSED, ids=lambda shares: f"{len(shares)}")
def test_the_parts_are_worth_the_whole(braid: Round, shares: list[float], novel: bool):
    whole, luck = braid.value(braid.split([1.0]), novel)
    parts, luck_of_parts = braid.value(braid.split(shares), novel)
    size = np.abs(whole.values).mean()
    assert whole.values[0] > 0.1 * size
    k = len(shares)
    assert abs(parts.values[:k].sum() - whole.values[0]) <= 1e-5 * size
    np.testing.assert_allclose(parts.values[:k], np.array(shares) * whole.values[0], atol=1e-5 * size)
    np.testing.assert_allclose(parts.values[k:], whole.values[1:], atol=1e-5 * size)
    # Its error bar and its luck are as small as the part: nothing slips over or under the floor.
    np.testing.assert_allclose(parts.stderr[:k], np.abs(shares) * whole.stderr[0], rtol=1e-4)
    np.testing.assert_allclose(luck_of_parts[:k], np.abs(shares) * luck[0], rtol=1e-4)


def test_something_is_known_of_the_delta_that_is_split(braid: Round):
    """Else the tests above would not tell the two ways of valuing apart."""
    whole, _ = braid.value(braid.split([1.0]), novel=False)
    new, _ = braid.value(braid.split([1.0]), novel=True)
    assert abs(new.values[0] - whole.values[0]) > 0.05 * whole.values[0]


@pytest.mark.parametrize("shares", EQUAL + UNEQUAL, ids=lambda shares: f"{len(shares)}")
def test_under_the_rules_all_parts_but_the_first_are_refused(braid: Round, shares: list[float]):
    alone, _, _ = braid.paid([1.0], RULES)
    together, lost, passed = braid.paid(shares, RULES)
    assert alone > 0 and passed == 1 and lost == 0  # an echo's deposit comes back
    assert together <= alone and together == pytest.approx(
        alone, rel=1e-3
    )  # a part has the whole's direction


@pytest.mark.parametrize("shares", EQUAL + UNEQUAL + OPPOSED, ids=lambda shares: f"{len(shares)}")
def test_even_if_no_echo_were_refused_the_parts_are_paid_no_more_than_the_whole(
    braid: Round, shares: list[float]
):
    alone, _, _ = braid.paid([1.0], REFUSES_NOTHING)
    together, lost, passed = braid.paid(shares, REFUSES_NOTHING)
    assert passed == len(shares) and lost == 0
    assert 0 <= together <= alone * (1 + 1e-5 if shares in OPPOSED else 0.9)


def test_below_the_noise_floor_parts_are_paid_nothing_either(braid: Round):
    strict = dataclasses.replace(REFUSES_NOTHING, noise_floor=10**8)
    assert [braid.paid(shares, strict)[0] for shares in ([1.0], [0.5, 0.5], [0.0625] * 16)] == [0, 0, 0]
