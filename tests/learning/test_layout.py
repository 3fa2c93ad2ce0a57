from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax.errors import ConfigError, FormatError
from relayjax.learning.layout import Layout

shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=6)


def tree_of(shapes: list[tuple[int, ...]]):
    cuts = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    parts = np.split(np.arange(cuts[-1], dtype=np.float32), cuts[:-1])
    leaves = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return {"layers": dict(enumerate(leaves))}, int(cuts[-1])


@settings(max_examples=12, deadline=None)
@given(shapes)
def test_flat_vector_and_tree_are_one_to_one(shapes):
    tree, size = tree_of(shapes)
    layout = Layout.of(tree)
    assert layout.size == size
    np.testing.assert_array_equal(layout.flatten(tree), np.arange(size))
    jax.tree.map(np.testing.assert_array_equal, layout.unflatten(layout.flatten(tree)), tree)
    for name, leaf in zip(layout.names, jax.tree.leaves(tree), strict=True):
        assert all(layout.name_at(int(index)) == name for index in leaf.flat)


def test_gradient_of_the_flat_vector_is_the_flattened_gradient():
    tree, size = tree_of([(2, 3), (), (4,)])
    layout = Layout.of(tree)

    def squares(params):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    theta = layout.flatten(tree)
    gradient = jax.jit(jax.grad(lambda flat: squares(layout.unflatten(flat))))(theta)
    np.testing.assert_allclose(gradient, layout.flatten(jax.grad(squares)(tree)))
    assert gradient.shape == (size,)


def test_description_is_json_with_path_names():
    params = {"dense_0": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
    assert json.loads(json.dumps(Layout.of(params).describe())) == [
        {"name": "dense_0/bias", "shape": [3]},
        {"name": "dense_0/kernel", "shape": [2, 3]},
    ]


def test_other_types_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"dense/kernel is bfloat16"):
        Layout.of({"dense": {"bias": jnp.ones(2), "kernel": jnp.ones(2, jnp.bfloat16)}})
    with pytest.raises(ConfigError, match="no parameters"):
        Layout.of({})


def test_strangers_are_refused():
    layout = Layout.of({"w": jnp.ones((2, 3))})
    with pytest.raises(FormatError, match=r"takes float32\[6\]"):
        layout.unflatten(jnp.ones(5))
    with pytest.raises(FormatError, match="another model"):
        layout.flatten({"w": jnp.ones((3, 2))})
    with pytest.raises(FormatError, match="index 6"):
        layout.name_at(6)
