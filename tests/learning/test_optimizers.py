"""The optimizers against plain loops, and what becomes of their moments from leg to leg."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from relayjax import codec
from relayjax.learning import optimizers
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.models import CNN, Transformer, TransformerSettings
from relayjax.learning.models.functional import Functional
from relayjax.learning.optimizers import OPTIMIZERS, hidden_matrices
from relayjax.learning.placement import place_shards

MOMENTUM, MEMORY, DECAY = 0.9, 0.99, 0.1
PARAMS = {
    "blocks": {"up": {"kernel": jnp.ones((2, 8, 4)), "bias": jnp.ones((2, 4))}},
    "embedding": {"embedding": jnp.ones((6, 4))},
    "head": {"kernel": jnp.ones((4, 3))},
    "mix": {"kernel": jnp.ones((4, 6))},
    "window": {"kernel": jnp.ones((3, 3, 2, 4))},
}
HIDDEN = {"blocks/up/kernel": (1, 2), "mix/kernel": (0, 1), "window/kernel": (0, 1, 2, 3)}


def gradients(steps: int, seed: int = 0) -> list:
    leaves, tree = jax.tree.flatten(PARAMS)
    rng = np.random.default_rng(seed)
    return [
        jax.tree.unflatten(tree, [rng.normal(0.5, 1, leaf.shape).astype(np.float32) for leaf in leaves])
        for _ in range(steps)
    ]


@functools.cache
def update(name: str):
    return jax.jit(OPTIMIZERS[name](MOMENTUM, MEMORY, DECAY).update)


def begun(name: str):
    return OPTIMIZERS[name](MOMENTUM, MEMORY, DECAY).init(PARAMS)


def after(name: str, steps: int):
    """An optimizer's state after some steps with different gradients."""
    state = begun(name)
    for gradient in gradients(steps):
        _, state = update(name)(gradient, state, PARAMS)
    return state


def resumed(name: str, state):
    """The state that a next leg starts from."""
    carried = optimizers.moments(state, MOMENTUM, MEMORY)
    return optimizers.resume(begun(name), carried, jnp.array(False))


def named(tree) -> dict[str, np.ndarray]:
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in found}


def test_sgd_is_a_plain_loop():
    state, momentum = begun("sgd"), 0.0
    for gradient in gradients(4):
        direction, state = update("sgd")(gradient, state, PARAMS)
        momentum = gradient["mix"]["kernel"] + DECAY * 1.0 + MOMENTUM * momentum
        np.testing.assert_allclose(direction["mix"]["kernel"], momentum, rtol=1e-5, atol=1e-6)


def test_adamw_is_a_plain_loop():
    state, mean, square = begun("adamw"), 0.0, 0.0
    for step, gradient in enumerate(gradients(4), start=1):
        direction, state = update("adamw")(gradient, state, PARAMS)
        now = gradient["mix"]["kernel"].astype(np.float64)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * now
        square = MEMORY * square + (1 - MEMORY) * now**2
        expected = mean / (1 - MOMENTUM**step) / (np.sqrt(square / (1 - MEMORY**step)) + 1e-8)
        np.testing.assert_allclose(direction["mix"]["kernel"], expected + DECAY * 1.0, rtol=1e-4)


def test_hidden_matrices_are_kernels_that_are_neither_look_ups_nor_outputs():
    numbers, _ = jax.tree_util.tree_flatten_with_path(
        hidden_matrices(PARAMS), is_leaf=lambda x: x is None or hasattr(x, "output_axis")
    )
    for path, axes in numbers:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert (axes is not None) == (name in HIDDEN), name
        if axes is not None:
            assert (*axes.reduction_axis, *axes.output_axis) == HIDDEN[name]


def test_hidden_matrices_of_the_models_that_come_along():
    def hidden(model) -> set[str]:
        numbers = hidden_matrices(jax.eval_shape(Functional.of(model).init, jax.random.key(0)))
        found, _ = jax.tree_util.tree_flatten_with_path(numbers, is_leaf=lambda x: hasattr(x, "output_axis"))
        return {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in found}

    small = TransformerSettings(layers=2, width=8, heads=2, context=4)
    assert hidden(lambda rngs: Transformer(small, rngs=rngs)) == {
        *(f"blocks/attention/{name}/kernel" for name in ("query", "key", "value", "out")),
        *(f"blocks/mlp/{name}/kernel" for name in ("gate", "up", "down")),
    }
    assert hidden(lambda rngs: CNN(8, 8, 3, rngs=rngs)) == {
        "convolutions/0/kernel", "convolutions/1/kernel", "dense/kernel",
    }  # fmt: skip


def test_muon_moves_hidden_matrices_by_orthogonal_steps_and_leaves_the_others_to_adamw():
    state = begun("muon")
    adam = optax.adamw(1.0, b1=MOMENTUM, b2=MEMORY, weight_decay=DECAY, nesterov=True)
    adam_state = adam.init(PARAMS)
    for gradient in gradients(3):
        direction, state = update("muon")(gradient, state, PARAMS)
        adams, adam_state = adam.update(gradient, adam_state, PARAMS)
    directions, adams = named(direction), named(adams)
    for name in set(directions) - set(HIDDEN):
        np.testing.assert_allclose(directions[name], -adams[name], rtol=1e-5, err_msg=name)
    for name in HIDDEN:
        step = directions[name] - DECAY
        layers = step if name.startswith("blocks") else step.reshape(1, -1, step.shape[-1])
        for layer in layers:
            # As large as a step of AdamW, whose numbers are of the size 0.2: Liu et al., equation 4.
            scaled = np.linalg.svd(layer / (0.2 * np.sqrt(max(layer.shape))), compute_uv=False)
            assert (scaled > 0.5).all() and (scaled < 1.3).all(), (name, scaled)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_learnt_resumes_as_a_first_step(name: str):
    carried = optimizers.moments(begun(name), MOMENTUM, MEMORY)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(carried))
    (gradient,) = gradients(1)
    expected, _ = update(name)(gradient, begun(name), PARAMS)
    state = optimizers.resume(begun(name), carried, jnp.array(True))
    found, _ = update(name)(gradient, state, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_settled_moments_resume_as_if_nothing_had_happened(name: str):
    """Corrected for their start, moments of long ago and of a leg before are the same."""
    state = after(name, 3)
    settled = resumed(name, state)
    (gradient,) = gradients(1, seed=1)
    ahead, _ = update(name)(gradient, settled, PARAMS)
    again, _ = update(name)(gradient, resumed(name, settled), PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), again, ahead)
    if name == "sgd":  # keeps a sum and no average, so there is nothing to correct
        expected, _ = update(name)(gradient, state, PARAMS)
        jax.tree.map(np.testing.assert_array_equal, ahead, expected)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_steady_gradient_is_followed_exactly_however_short_the_leg(name: str):
    (gradient,), state = gradients(1), begun(name)
    for _ in range(2):
        _, state = update(name)(gradient, state, PARAMS)
    expected, _ = update(name)(gradient, state, PARAMS)
    found, _ = update(name)(gradient, resumed(name, state), PARAMS)
    # Nesterov's first moment is corrected for one step more than it has seen.
    tolerance = {"adamw": 1e-4, "muon": 0.2}[name]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=0.02), found, expected)


def resumed_adam(means: list[float], roots: list[float], memory: float = MEMORY):
    """AdamW without decay for one array, and its state from moments as they may arrive."""
    adam, carried = OPTIMIZERS["adamw"](MOMENTUM, memory, 0.0), [{"w": jnp.array(x)} for x in (means, roots)]
    return adam, optimizers.resume(adam.init(carried[0]), carried, jnp.array(False))


def test_what_rounding_makes_of_second_moments_lengthens_no_step():
    """No root, or one below zero, beside a first moment of 0.1: a direction must not be 10⁸ times that."""
    adam, state = resumed_adam([0.1, 0.1, 0.1, 0.0], [0.5, 0.0, -0.001, -0.001])
    nothing = {"w": jnp.zeros(4)}  # the gradient, as for a token that does not come up
    direction, state = adam.update(nothing, state, nothing)
    longest = optimizers.LONGEST
    np.testing.assert_allclose(
        direction["w"], 0.9 / 0.99**0.5 * np.array([0.1 / 0.5, longest, longest, 0.0]), rtol=1e-4
    )
    for gradient in (0.0, 1e-3, 1.0):
        direction, state = adam.update({"w": jnp.full(4, gradient)}, state, nothing)
        assert (np.abs(direction["w"]) <= longest).all()


@pytest.mark.parametrize(("memory", "longest"), [(0.99, 2.3), (0.999, 7.3)])
def test_moments_that_were_not_rounded_are_not_bounded(memory: float, longest: float):
    """Gradients that grow by memory / momentum make Adam's longest step: Cauchy and Schwarz's equality."""
    adam, state = resumed_adam([0.0], [0.0], memory)
    params, update = {"w": jnp.zeros(1)}, jax.jit(adam.update)
    for age in range(150, -1, -1):
        direction, state = update({"w": jnp.full(1, (MOMENTUM / memory) ** age)}, state, params)
    np.testing.assert_allclose(direction["w"], longest, rtol=0.02)
    carried = optimizers.moments(state, MOMENTUM, memory)
    back = optimizers.resume(adam.init(params), carried, jnp.array(False))
    for found, expected in zip(optimizers.moments(back, MOMENTUM, memory), carried, strict=True):
        np.testing.assert_allclose(found["w"], expected["w"], rtol=1e-5)


def trained(task, settings: LegSettings, legs: int, coder=None) -> list[np.ndarray]:
    """The parameters after each leg of the third participant, whose batches are all alike."""
    leg, shard = Leg(task, settings), place_shards(task)[2]
    theta, found = leg.genesis(task.init(jax.random.key(0))), []
    for number in range(legs):
        child = theta + np.asarray(leg(theta, shard, jax.random.key(number), number, legs)[0])
        theta = child if coder is None else coder.apply(coder.encode(theta, child), theta)
        found.append(theta[: leg.baton.params.size])
    return found


PLAIN = LegSettings(
    steps=24, batch_size=2, objective="plain", anchor=0.0, schedule="constant", learning_rate=0.01, memory=0.9
)


@pytest.mark.parametrize(("name", "tolerance"), [("sgd", 1e-5), ("adamw", 0.04), ("muon", 0.04)])
def test_two_legs_with_carried_moments_are_one_long_leg(toy, name: str, tolerance: float):
    """With SGD up to rounding; the others take carried averages for settled ones, which after 24 steps
    leaves 0.9²⁴ = 0.08 of their correction undone."""
    settings = dataclasses.replace(PLAIN, optimizer=name, optimizer_state="carried")
    (whole,) = trained(toy.task, dataclasses.replace(settings, steps=48), 1)
    first, carried = trained(toy.task, settings, 2)
    _, reset = trained(toy.task, dataclasses.replace(settings, optimizer_state="reset"), 2)
    second_leg = np.linalg.norm(whole - first)
    assert np.linalg.norm(carried - whole) < tolerance * second_leg
    assert np.linalg.norm(reset - whole) > 3 * tolerance * second_leg


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_carried_moments_survive_a_lossy_codec(toy, name: str):
    settings = dataclasses.replace(PLAIN, optimizer=name, optimizer_state="carried", memory=0.99)
    task = dataclasses.replace(toy.task, shards=toy.task.shards[::-1])
    exact, coded = (trained(task, settings, 6, coder) for coder in (None, codec.get("mxint8")))
    moved = np.abs(exact[-1] - exact[0]).max()
    assert 0.05 < moved < 3
    assert np.abs(coded[-1] - exact[-1]).max() < 0.2 * moved
