from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from relayjax.errors import ConfigError
from relayjax.learning.layout import Layout
from relayjax.learning.models import CNN, MLP
from relayjax.learning.models.cnn import Convolution
from relayjax.learning.models.functional import Functional

MODELS = {
    "mlp": lambda dtype: lambda rngs: MLP(28 * 28, (32,), 10, dtype=dtype, rngs=rngs),
    "cnn": lambda dtype: lambda rngs: CNN(28, 28, 10, dtype=dtype, rngs=rngs),
}


@pytest.fixture
def pictures() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).random((5, 28, 28), np.float32))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_travels_as_float32_and_answers_in_it(name: str, pictures: jax.Array):
    exact, rough = (Functional.of(MODELS[name](dtype)) for dtype in (jnp.float32, jnp.bfloat16))
    params = exact.init(jax.random.key(0))
    assert Layout.of(params) == Layout.of(rough.init(jax.random.key(0)))
    logits, approximate = exact.apply(params, pictures), rough.apply(params, pictures)
    assert logits.shape == (5, 10) and logits.dtype == approximate.dtype == jnp.float32
    np.testing.assert_allclose(approximate, logits, atol=0.05)
    assert not np.array_equal(approximate, logits), "it computed in float32"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_learns_a_batch_by_heart(name: str, pictures: jax.Array):
    network, labels = Functional.of(MODELS[name](jnp.float32)), jnp.arange(5)

    def loss(params):
        logits = network.apply(params, pictures)
        return -jnp.mean(jax.nn.log_softmax(logits)[labels, labels])

    @jax.jit
    def step(params):
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, jax.grad(loss)(params))

    params = network.init(jax.random.key(0))
    before = loss(params)
    for _ in range(60):
        params = step(params)
    assert loss(params) < before / 4
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), params, network.init(jax.random.key(0)))
    assert all(jax.tree.leaves(changed)), f"parameters without a gradient: {changed}"


@pytest.mark.parametrize(("side", "height", "width"), [(5, 28, 28), (3, 14, 14), (3, 7, 9), (1, 4, 4)])
def test_patches_make_the_convolution_that_xla_computes(side: int, height: int, width: int):
    layer = Convolution(side, 3, 4, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(4.0)
    x = jax.random.normal(jax.random.key(1), (2, height, width, 3))
    expected = jax.lax.conv_general_dilated(
        x, layer.kernel[...], (2, 2), [(side // 2, side // 2)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(layer(x), expected + layer.bias[...], atol=1e-5)


def test_a_model_that_keeps_other_state_is_refused():
    with pytest.raises(ConfigError, match="not a parameter: rngs/count, rngs/key"):
        Functional.of(lambda rngs: nnx.Dropout(0.5, rngs=rngs))


def test_the_output_shape_is_known_without_computing():
    network = Functional.of(MODELS["cnn"](jnp.float32))
    params = jax.eval_shape(network.init, jax.random.key(0))
    assert network.output_shape(params, jax.ShapeDtypeStruct((7, 28, 28), jnp.float32)) == (7, 10)
