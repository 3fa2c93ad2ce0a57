from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.learning.layout import Layout
from relayjax.learning.models import Transformer, TransformerSettings, flops_per_token
from relayjax.learning.models.functional import Functional

TINY = TransformerSettings(layers=2, width=32, heads=4, context=12)


def network(settings: TransformerSettings) -> Functional:
    return Functional.of(lambda rngs: Transformer(settings, rngs=rngs))


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 12), np.uint8)


def test_parameters_have_the_names_that_rules_match_on():
    shapes = jax.eval_shape(network(TINY).init, jax.random.key(0))
    found = {leaf["name"]: leaf["shape"] for leaf in Layout.of(shapes).describe()}
    assert found == {
        "blocks/attention/key/kernel": [2, 32, 32],
        "blocks/attention/out/kernel": [2, 32, 32],
        "blocks/attention/query/kernel": [2, 32, 32],
        "blocks/attention/value/kernel": [2, 32, 32],
        "blocks/attention_norm/scale": [2, 32],
        "blocks/mlp/down/kernel": [2, 96, 32],
        "blocks/mlp/gate/kernel": [2, 32, 96],
        "blocks/mlp/up/kernel": [2, 32, 96],
        "blocks/mlp_norm/scale": [2, 32],
        "embedding/embedding": [256, 32],
        "head/kernel": [32, 256],
        "norm/scale": [32],
    }
    tied = jax.eval_shape(network(dataclasses.replace(TINY, tied=True)).init, jax.random.key(0))
    assert set(found) - set(Layout.of(tied).names) == {"head/kernel"}


def _reference(params, tokens: np.ndarray) -> np.ndarray:
    """The logits in plain NumPy, float64, one head and one position at a time."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    heads, each = TINY.heads, TINY.width // TINY.heads

    def norm(x, scale):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6) * scale

    def turned(vector, position):
        pairs = vector[: each // 2] + 1j * vector[each // 2 :]
        pairs = pairs * np.exp(1j * position * 10_000.0 ** (-np.arange(0, each, 2) / each))
        return np.concatenate([pairs.real, pairs.imag])

    x = params["embedding"]["embedding"][tokens]
    for layer in range(TINY.layers):
        block = jax.tree.map(lambda leaf, layer=layer: leaf[layer], params["blocks"])
        attention, mlp = block["attention"], block["mlp"]
        y = norm(x, block["attention_norm"]["scale"])
        query, key, value = (y @ attention[name]["kernel"] for name in ("query", "key", "value"))
        mixed = np.zeros_like(y)
        for head in range(heads):
            part = slice(head * each, (head + 1) * each)
            for now in range(len(tokens)):
                asked = turned(query[now, part], now)
                scores = [asked @ turned(key[then, part], then) / np.sqrt(each) for then in range(now + 1)]
                chances = np.exp(scores) / np.sum(np.exp(scores))
                mixed[now, part] = chances @ value[: now + 1, part]
        x = x + mixed @ attention["out"]["kernel"]
        y = norm(x, block["mlp_norm"]["scale"])
        gate = y @ mlp["gate"]["kernel"]
        x = x + (gate / (1 + np.exp(-gate)) * (y @ mlp["up"]["kernel"])) @ mlp["down"]["kernel"]
    return norm(x, params["norm"]["scale"]) @ params["head"]["kernel"]


def test_it_computes_what_the_formula_says(tokens: np.ndarray):
    model = network(TINY)
    params = model.init(jax.random.key(0))
    # Scales differ from one, so that a norm left out would show.
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape), params)
    logits = model.apply(params, tokens)
    assert logits.shape == (3, 12, 256) and logits.dtype == jnp.float32
    for i in range(3):
        np.testing.assert_allclose(logits[i], _reference(params, tokens[i]), atol=2e-3, rtol=1e-3)


def test_no_token_sees_what_follows(tokens: np.ndarray):
    model = network(TINY)
    params = model.init(jax.random.key(0))
    changed = tokens.copy()
    changed[:, 7] ^= 1
    before, after = model.apply(params, tokens), model.apply(params, changed)
    np.testing.assert_allclose(after[:, :7], before[:, :7], atol=1e-6)
    assert (jnp.abs(after[:, 7:] - before[:, 7:]).max(axis=(0, 2)) > 1e-4).all()


def test_remat_changes_memory_and_nothing_else(tokens: np.ndarray):
    def gradient(settings: TransformerSettings):
        model = network(settings)
        params = model.init(jax.random.key(0))
        return jax.grad(lambda p: jnp.mean(jnp.square(model.apply(p, tokens))))(params)

    saved = gradient(dataclasses.replace(TINY, remat=True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gradient(TINY), saved)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(saved))


def test_bfloat16_inside_and_float32_outside(tokens: np.ndarray):
    rough = network(dataclasses.replace(TINY, compute="bfloat16"))
    params = rough.init(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    logits, exact = rough.apply(params, tokens), network(TINY).apply(params, tokens)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, exact, atol=0.05)
    assert not np.array_equal(logits.astype(jnp.bfloat16).astype(jnp.float32), logits), "logits were rounded"


def test_a_new_model_gives_every_token_about_the_same_chance(tokens: np.ndarray):
    for tied in (False, True):
        model = network(dataclasses.replace(TINY, layers=6, tied=tied))
        chances = jax.nn.log_softmax(model.apply(model.init(jax.random.key(0)), tokens))
        loss = -jnp.take_along_axis(chances[:, :-1], tokens[:, 1:, None].astype(np.int32), axis=-1).mean()
        assert abs(float(loss) - np.log(256)) < 0.7


def test_every_layer_is_drawn_anew():
    kernels = network(TINY).init(jax.random.key(0))["blocks"]["attention"]["query"]["kernel"]
    assert not np.array_equal(kernels[0], kernels[1])
    np.testing.assert_allclose(np.std(kernels), 32**-0.5, rtol=0.1)


def test_the_operations_are_those_that_xla_counts():
    # Wide and short, so that what is not counted (norms, softmax, masked scores) is little.
    settings = TransformerSettings(layers=1, width=256, heads=2, context=8)
    model = network(settings)
    params = jax.eval_shape(model.init, jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((4, 8), jnp.int32)
    compiled = jax.jit(model.apply).lower(params, tokens).compile()
    per_token = compiled.cost_analysis()["flops"] / (4 * 8)
    assert flops_per_token(settings) / 3 == pytest.approx(per_token, rel=0.05)
    longer = dataclasses.replace(settings, context=1008)
    assert flops_per_token(longer) - flops_per_token(settings) == 3 * 2 * 256 * 1000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": 5}, "heads=5: must divide width=96"),
        ({"width": 36, "heads": 12}, "even parts"),
        ({"compute": "float16"}, "compute='float16'"),
        ({"attention": "cudnn"}, "compute=bfloat16"),
        ({"layers": 0}, "layers=0"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict, said: str):
    with pytest.raises(ConfigError, match=said):
        TransformerSettings(**changes)


def test_the_hidden_width_is_given_or_derived():
    assert TransformerSettings().hidden_width == 256
    assert TransformerSettings(width=768, heads=12).hidden_width == 2048
    assert TransformerSettings(hidden=100).hidden_width == 100
