"""The baton: two trees as one vector, and what its parts are called."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relayjax.errors import ConfigError, FormatError
from relayjax.learning.baton import Baton
from relayjax.learning.layout import Layout

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(2)}
CARRIED = {"moments": [jax.tree.map(lambda leaf: 10 + leaf, PARAMS)], "fisher": {"w": jnp.zeros(1)}}


def test_parameters_come_first_and_both_trees_come_back():
    baton = Baton.of(PARAMS, CARRIED)
    flat = baton.flatten(PARAMS, CARRIED)
    assert flat.shape == (baton.size,) == (17,) and flat.dtype == jnp.float32
    np.testing.assert_array_equal(flat[:8], Layout.of(PARAMS).flatten(PARAMS))
    for found, given in zip(baton.unflatten(flat), (PARAMS, CARRIED), strict=True):
        assert jax.tree.structure(found) == jax.tree.structure(given)
        jax.tree.map(np.testing.assert_array_equal, found, given)


@pytest.mark.parametrize("nothing", [(), {}, {"moments": []}])
def test_where_nothing_is_carried_the_baton_is_the_parameters(nothing):
    baton = Baton.of(PARAMS, nothing)
    assert baton.carried is None and baton.size == 8
    flat = baton.flatten(PARAMS, nothing)
    assert baton.unflatten(flat)[1] == ()
    assert baton.describe() == Layout.of(PARAMS).describe()


def test_every_number_has_a_name():
    baton = Baton.of(PARAMS, CARRIED)
    described = baton.describe()
    names = [leaf["name"] for leaf in described]
    assert names == ["b", "w", "carried/fisher/w", "carried/moments/0/b", "carried/moments/0/w"]
    sizes = [np.prod(leaf["shape"]) for leaf in described]
    assert [baton.name_at(index) for index in range(baton.size)] == np.repeat(names, sizes).tolist()
    for index in (-1, baton.size):
        with pytest.raises(FormatError, match="no parameter at index"):
            baton.name_at(index)


def test_another_models_baton_is_refused():
    baton = Baton.of(PARAMS, CARRIED)
    with pytest.raises(FormatError, match=r"has \(8,\) numbers; this leg takes \(17,\)"):
        baton.unflatten(jnp.zeros(8))
    with pytest.raises(FormatError):
        baton.flatten(PARAMS, ())


def test_a_parameter_must_not_be_named_like_what_is_carried():
    with pytest.raises(ConfigError, match=r"parameter carried/w: .*rename"):
        Baton.of({"carried": {"w": jnp.ones(1)}})
