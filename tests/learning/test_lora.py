from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from jax.tree_util import Partial

from relayjax import backend, settings
from relayjax.config import Config
from relayjax.errors import ConfigError, DataError
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.frozen import Frozen
from relayjax.learning.interchange import save_weights
from relayjax.learning.layout import Layout
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.lora import LoRA, lora, merge
from relayjax.learning.mesh import device_mesh
from relayjax.learning.models import TransformerSettings
from relayjax.learning.placement import place, place_shards
from relayjax.learning.task import Task
from relayjax.learning.tasks.digits import Digits
from relayjax.learning.tasks.text import Text
from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.valuation.games import sweep
from relayjax.weights import digest

SMALL = TransformerSettings(layers=2, width=32, heads=2, context=15)
TEXT = Text(kinds=("python",), kind_bytes=20_000, validation=10, test=10, model=SMALL)


@pytest.fixture(scope="module")
def text() -> Task:
    return TEXT.build(1, seed=0)


@pytest.fixture
def base(text: Task):
    return text.init(jax.random.key(5))


def adapted(task: Task, base, **changes) -> Task:
    return lora(task, base, **({"rank": 2, "alpha": 4.0, "match": "kernel$"} | changes))


def moved(params):
    """Adapters away from their start, where B is zeros and A does nothing."""
    return jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape), params)


def test_adapters_start_as_the_base_and_are_few(text: Task, base):
    task = adapted(text, base, match="(query|value)/kernel$")
    assert len(task.frozen) == 1 and text.frozen == ()
    params = task.init(jax.random.key(1))
    assert {leaf["name"]: leaf["shape"] for leaf in Layout.of(params).describe()} == {
        "blocks/attention/query/kernel/a": [2, 32, 2],
        "blocks/attention/query/kernel/b": [2, 2, 32],
        "blocks/attention/value/kernel/a": [2, 32, 2],
        "blocks/attention/value/kernel/b": [2, 2, 32],
    }
    np.testing.assert_array_equal(task.losses(params, text.test), text.losses(base, text.test))
    metrics = task.metrics(params, text.test)
    np.testing.assert_array_equal(metrics["loss"], text.losses(base, text.test))
    assert float(jnp.std(params["blocks/attention/query/kernel"]["a"])) == pytest.approx(32**-0.5, rel=0.3)


def test_the_loss_is_that_of_the_merged_model(text: Task, base):
    task = adapted(text, base)
    params = moved(task.init(jax.random.key(1)))
    merged = merge(base, params, 4.0)
    assert Layout.of(merged) == Layout.of(base)
    np.testing.assert_allclose(task.losses(params, text.test), text.losses(merged, text.test), rtol=1e-6)
    np.testing.assert_allclose(task.logits(params, text.test), text.logits(merged, text.test), atol=1e-5)
    # Each layer by hand; what does not match stays as it was.
    name = "blocks/mlp/down/kernel"
    for layer in range(2):
        product = np.asarray(params[name]["a"][layer]) @ np.asarray(params[name]["b"][layer])
        expected = base["blocks"]["mlp"]["down"]["kernel"][layer] + 4.0 / 2 * product
        np.testing.assert_allclose(merged["blocks"]["mlp"]["down"]["kernel"][layer], expected, atol=1e-5)
    np.testing.assert_array_equal(merged["embedding"]["embedding"], base["embedding"]["embedding"])


def test_a_convolution_is_one_matrix(text: Task):
    window = {"kernel": jnp.zeros((3, 3, 4, 5)), "bias": jnp.ones(5)}
    task = dataclasses.replace(text, losses=lambda params, batch: params["kernel"].sum() + params["bias"])
    params = moved(adapted(task, window).init(jax.random.key(0)))
    assert (params["kernel"]["a"].shape, params["kernel"]["b"].shape) == ((36, 2), (2, 5))
    expected = 2 * np.asarray(params["kernel"]["a"]) @ np.asarray(params["kernel"]["b"])
    merged = merge(window, params, 4.0)
    np.testing.assert_allclose(merged["kernel"], expected.reshape(3, 3, 4, 5), atol=1e-5)
    assert np.linalg.matrix_rank(merged["kernel"].reshape(36, 5)) == 2


def test_the_base_is_no_part_of_the_program(text: Task, base):
    task, size = adapted(text, base), sum(leaf.nbytes for leaf in jax.tree.leaves(base))
    params = task.init(jax.random.key(0))
    program = jax.jit(task.losses).lower(params, text.test).as_text()
    assert len(program) < size, "every number of a constant takes eight digits"
    assert len(jax.jit(lambda batch: text.losses(base, batch)).lower(text.test).as_text()) > 2 * size


def test_a_leg_trains_the_adapters_alone(text: Task, base):
    before = jax.tree.map(np.asarray, base)
    task = adapted(text, base)
    layout = Layout.of(params := task.init(jax.random.key(1)))
    leg = Leg(task, LegSettings(steps=40, batch_size=16, learning_rate=0.1, anchor=0.0))
    theta, evaluator = np.asarray(layout.flatten(params)), Evaluator(task, layout)
    (shard,), test = place_shards(task), place(dict(task.test))
    delta, _ = leg(theta, shard, jax.random.key(2), 0, 1)
    assert delta.shape == theta.shape and layout.size < Layout.of(base).size / 3
    everything = np.arange(len(text.test["kind"]))
    then, now = (evaluator.mean_loss(t, test, everything) for t in (theta, theta + delta))
    assert now < then - 0.3
    jax.tree.map(np.testing.assert_array_equal, base, before)
    again, _ = leg(theta, shard, jax.random.key(2), 0, 1)
    np.testing.assert_array_equal(again, delta)


def test_what_valuation_does_with_losses_works(text: Task, base):
    task = adapted(text, base)
    layout = Layout.of(params := task.init(jax.random.key(1)))
    losses = Evaluator(task, layout).losses_on(place(dict(task.test)), np.arange(4))
    assert isinstance(losses, Partial)
    theta = layout.flatten(moved(params))

    @jax.jit
    def slopes(losses, theta):
        each = jax.lax.map(losses, jnp.stack([theta, 0.5 * theta]))
        return each, jax.vmap(losses)(theta[None]), jax.jvp(losses, (theta,), (theta,))[1]

    each, batched, slope = slopes(losses, theta)
    np.testing.assert_allclose(each[0], batched[0], rtol=1e-5)
    nearby = (losses(1.01 * theta) - losses(0.99 * theta)) / 0.02
    np.testing.assert_allclose(slope, nearby, atol=0.02)


def test_the_prior_correction_reaches_the_adapted_model():
    digits = Digits(hidden=(16,)).build(2, seed=0)
    task = adapted(digits, digits.init(jax.random.key(0)))
    params, prior = task.init(jax.random.key(1)), task.context(task.shards[0])
    expected = digits.objective(digits.init(jax.random.key(0)), digits.test, prior)
    np.testing.assert_allclose(task.objective(params, digits.test, prior), expected, rtol=1e-6)


def test_frozen_arrays_are_copies_that_stay():
    array = np.ones(1000, np.float32)
    frozen = Frozen({"w": array})
    array[0] = 7
    np.testing.assert_array_equal(frozen.read()["w"], np.ones(1000))
    mesh = device_mesh()
    spread = Frozen({"w": array}, NamedSharding(mesh, PartitionSpec("data")))
    assert spread.read()["w"].sharding.spec == PartitionSpec("data")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"match": "kernels"}, "match='kernels': no parameter .*; there are blocks/attention/key/kernel"),
        ({"match": "^norm/scale$"}, "no parameter of two axes"),
        ({"rank": 32}, r"rank=32: must be below 32 to adapt blocks/attention/key/kernel \[2, 32, 32\]"),
    ],
)
def test_adapters_that_cannot_be_are_refused(text: Task, base, changes: dict, said: str):
    with pytest.raises(ConfigError, match=said):
        adapted(text, base, **changes)


def test_the_weights_of_a_file_are_checked(tmp_path: Path, text: Task, base):
    layout, path = Layout.of(base), tmp_path / "base.safetensors"
    named = dict(zip(layout.names, map(np.asarray, jax.tree.leaves(base)), strict=True))
    save_weights(path, named, {})
    right = digest(np.asarray(layout.flatten(base)))
    chosen = LoRA(task=TEXT, rank=2, weights=str(path))
    with pytest.raises(DataError, match=f"digest {right}, where the config says nothing; .* set digest"):
        chosen.build(1, seed=0)
    task = dataclasses.replace(chosen, digest=right).build(1, seed=0)
    losses = task.losses(task.init(jax.random.key(0)), text.test)
    np.testing.assert_array_equal(losses, text.losses(base, text.test))
    save_weights(path, named | {"norm/scale": np.zeros(32, np.float32)}, {})
    with pytest.raises(DataError, match=f"the config says {right}"):
        dataclasses.replace(chosen, digest=right).build(1, seed=0)


def test_rank_zero_trains_the_task_as_it_is():
    plain, same = (chosen.build(2, seed=3) for chosen in (Digits(), LoRA(task=Digits(), rank=0)))
    assert plain.name == same.name
    a, b = (task.init(jax.random.key(0)) for task in (plain, same))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_settings_are_one_line_of_a_config():
    config = Config(task=LoRA(task=Digits(hidden=(32,)), rank=4))
    changed = settings.override(config, {"task.rank": "2", "task.task.alpha": "0.5"})
    assert settings.decode(settings.encode(changed), Config) == changed
    assert changed.task == LoRA(task=Digits(hidden=(32,), alpha=0.5), rank=2)
    with pytest.raises(ConfigError, match=re.escape("match='(': not a regular expression")):
        LoRA(match="(")


ADAPTED = Config(
    task=LoRA(task=Digits(hidden=(16,)), rank=2),
    leg=LegSettings(steps=3, batch_size=8),
    relay=Schedule(rounds=3, participants=9, validators=2, braid_rounds=(1,), draw=20),
    rules=RelayJAXRules(tolerance=10**9),
    seed=7,
)


def test_one_thread_calls_what_reads_the_frozen_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two at once would find that the other one has taken them."""
    threads = set[str]()
    # Of nine participants there are so many coalitions that several threads would share them.
    calls: list[tuple[Any, str]] = [
        (Leg, "__call__"),
        (Evaluator, "metrics"),
        (Evaluator, "losses"),
        (sweep, "_losses_of"),
    ]
    for owner, name in calls:
        call = getattr(owner, name)

        def noted(*arguments: Any, call: Callable[..., object] = call, **named: Any) -> object:
            threads.add(threading.current_thread().name)
            return call(*arguments, **named)

        monkeypatch.setattr(owner, name, noted)
    with backend.open_run(ADAPTED, tmp_path) as run:
        run.run()
    assert threads == {threading.current_thread().name}


def test_a_relay_hands_on_adapters_and_can_be_rescored(tmp_path: Path):
    with backend.open_run(ADAPTED, tmp_path) as run:
        run.run()
        assert len(run.head) == 2 * (64 + 16) + 2 * (16 + 10) and len(run.state.versions) > 1
    verified = backend.verify(tmp_path, rescored=True)
    assert verified.rescore is not None
    holder = next(name for name in verified.audit.history.state.licences if name.startswith("p"))
    adapters = backend.open_head(tmp_path, backend.Keys.load(tmp_path / "keys", holder))
    assert sorted(adapters) == [f"layers/{layer}/kernel/{part}" for layer in "01" for part in "ab"]


FOUR = """
import sys
from dataclasses import replace
import jax, numpy as np
from relayjax import backend
from relayjax.config import Config
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.lora import LoRA
from relayjax.learning.mesh import device_mesh
from relayjax.learning.placement import place_shards
from relayjax.learning.sharding import ShardingSettings
from relayjax.learning.tasks.digits import Digits
from relayjax.mechanism.rules import RelayJAXRules, Schedule

assert jax.device_count() == 4
config = Config(
    task=LoRA(task=Digits(hidden=(16,)), rank=2),
    leg=LegSettings(steps=20, batch_size=16),
    relay=Schedule(rounds=2, participants=3, validators=1, braid_rounds=(1,), draw=20),
    rules=RelayJAXRules(tolerance=10**9),
)
deltas, key = [], jax.random.key(0)
for mesh, preset in ((None, "replicated"), (device_mesh(), "replicated"), (device_mesh(), "fsdp")):
    settings, task = replace(config.leg, sharding=ShardingSettings(preset)), config.task.build(3, 0)
    if mesh is not None:
        (frozen,) = task.frozen
        frozen.place(mesh, settings.sharding)
        part = frozen.read()["layers"][0]["kernel"]
        assert len(part.sharding.device_set) == 4
        assert part.addressable_shards[0].data.size * {"replicated": 1, "fsdp": 4}[preset] == part.size
    leg = Leg(task, settings, mesh)
    delta, _ = leg(leg.genesis(task.init(key)), place_shards(task, mesh)[1], key, 0, 4)
    deltas.append(np.asarray(delta))
    assert np.abs(deltas[0]).max() > 0.1
    np.testing.assert_allclose(deltas[-1], deltas[0], atol=1e-5)

with backend.open_run(config, sys.argv[1]) as run:
    run.run()
    assert len(run.state.versions) == 3
assert backend.verify(sys.argv[1], rescored=True).rescore.scores
"""


def test_adapters_train_on_four_devices(tmp_path: Path):
    four = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", FOUR, str(tmp_path / "run")]
    done = subprocess.run(command, env=os.environ | four, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
