"""How much of a leg is handed on: each policy by its rule, and in a leg."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax.errors import ConfigError
from relayjax.learning import hand_on
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.placement import place_shards
from relayjax.learning.task import Task

KEY = jax.random.key(0)
ONES = np.ones(10, np.float32)
SHARES = [0.5**n for n in range(6)]
RECEIVED = {"a": jnp.array([1.0, 2.0]), "b": jnp.zeros(3)}
DELTA = {"a": jnp.array([4.0, -2.0]), "b": jnp.array([0.0, 0.5, 8.0])}
LEG = LegSettings(steps=20, batch_size=4, objective="plain", anchor=0.0, learning_rate=0.02)


def same(found, share: float) -> None:
    jax.tree.map(lambda x, d: np.testing.assert_array_equal(x, share * d), found, DELTA)


def no_probe(params):
    raise AssertionError("this policy does not look")


def test_replace_hands_on_everything():
    same(hand_on.policy("replace", 0.1)(RECEIVED, DELTA, no_probe), 1.0)


def test_ema_hands_on_its_rate():
    same(hand_on.policy("ema", 0.25)(RECEIVED, DELTA, no_probe), 0.25)


@settings(max_examples=20)
@given(st.integers(1, 3000).map(lambda thousandths: thousandths / 1000))
def test_line_search_takes_the_longest_step_that_helps(best: float):
    """The loss is the distance from the point that lies a share `best` of the way along."""

    def probe(params):
        return jnp.abs((params["a"][0] - 1) / 4 - best)

    expected = next((share for share in SHARES if abs(share - best) < best), 0.0)
    same(hand_on.policy("line_search", 0.1)(RECEIVED, DELTA, probe), expected)


@pytest.mark.parametrize(
    "loss",
    [lambda share: share, lambda share: 0 * share, lambda share: jnp.where(share > 0, jnp.nan, 1.0)],
    ids=["worse", "no better", "not a number"],
)
def test_line_search_stays_where_nothing_helps(loss):
    same(hand_on.line_search(RECEIVED, DELTA, lambda params: loss((params["a"][0] - 1) / 4)), 0.0)


def test_a_leg_hands_on_a_share_of_what_it_trained_and_all_that_it_carries(probe):
    def trained(**changes) -> np.ndarray:
        chosen = dataclasses.replace(LEG, optimizer_state="carried", **changes)
        leg = Leg(probe.task, chosen)
        theta = np.concatenate([ONES, np.zeros(leg.baton.size - 10, np.float32)])
        return np.asarray(leg(theta, place_shards(probe.task)[1], KEY, 0, 2)[0])

    everything, part = trained(), trained(hand_on="ema", hand_on_rate=0.25)
    np.testing.assert_array_equal(part[:10], np.float32(0.25) * everything[:10])
    np.testing.assert_array_equal(part[10:], everything[10:])
    assert everything[10:].any()


def targeted(task: Task, target: float) -> Task:
    """Examples point at parameters; the loss is the squared distance of one from the target.

    The development examples ask for another target: 0.9.
    """

    def losses(params, batch):
        return (batch["x"] @ params["w"] - jnp.where(batch["open"], 0.9, target)) ** 2

    def marked(batch, mark: bool):
        return {**batch, "open": np.full(len(batch["x"]), mark)}

    return dataclasses.replace(
        task,
        losses=losses,
        objective=None,
        shards=tuple(marked(shard, False) for shard in task.shards),
        validation=marked(task.validation, False),
        test=marked(task.test, False),
        development=marked(task.shards[1], True),
    )


@pytest.mark.parametrize(("target", "share"), [(0.9, 1.0), (0.5, 0.25), (-20.0, 0.0625), (2.0, 0.0)])
def test_a_leg_searches_on_the_development_examples(probe, target: float, share: float):
    task = targeted(probe.task, target)
    shard = place_shards(task)[1]
    whole, found = (
        np.asarray(Leg(task, dataclasses.replace(LEG, steps=100, hand_on=name))(ONES, shard, KEY, 0, 1)[0])
        for name in ("replace", "line_search")
    )
    losses = [np.mean((1 + s * whole[3:8] - 0.9) ** 2) for s in SHARES]
    expected = next((s for s, loss in zip(SHARES, losses, strict=True) if loss < 0.01), 0.0)
    assert expected == share, losses
    np.testing.assert_array_equal(found, np.float32(share) * whole)


def test_line_search_needs_development_examples(probe):
    with pytest.raises(ConfigError, match=r"task probe has no development examples.*choose replace or ema"):
        Leg(probe.task, LegSettings(hand_on="line_search"))
