"""A leg that spans two processes computes what one process computes, and unlike inputs are noticed."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from two_processes import together

from relayjax.errors import DataError
from relayjax.learning.distributed import replicate, spread, to_host
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.mesh import device_mesh
from relayjax.learning.placement import Shard, place, place_shards
from relayjax.learning.tasks.digits import Digits

PROGRAM = """
import sys
from pathlib import Path
import jax, numpy as np

folder, port, rank = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)

from relayjax.errors import DataError
from relayjax.learning.distributed import replicate, spread, to_host
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.mesh import device_mesh
from relayjax.learning.placement import Shard, place_shards
from relayjax.learning.sharding import ShardingSettings
from relayjax.learning.tasks.digits import Digits

assert jax.device_count() == 2 and jax.local_device_count() == 1
task, mesh, key = Digits(hidden=(16,)).build(2, 0), device_mesh(), jax.random.key(0)

# Both processes hold the same shards, and half of the parameters each.
sharding = ShardingSettings(parameters="fsdp")
leg = Leg(task, LegSettings(steps=20, batch_size=16, accumulate=2, sharding=sharding), mesh)
theta = leg.genesis(task.init(key))
delta, _ = leg(theta, place_shards(task, mesh)[1], key, 0, 4)
assert leg._cut is not None
np.save(folder / f"fsdp-{rank}.npy", delta)

# Both hold all parameters, and half of a shard each.
own = {name: array[rank * 64 : (rank + 1) * 64] for name, array in task.validation.items()}
data = spread(own, mesh)
assert data["x"].shape == (128, 64) and data["x"].addressable_shards[0].data.shape == (64, 64)
np.testing.assert_array_equal(to_host(data["x"]), task.validation["x"][:128])
zero, size, prior = replicate((np.int32(0), np.int32(128), task.context(task.shards[0])), mesh)
leg = Leg(task, LegSettings(steps=20, batch_size=16), mesh)
delta, _ = leg(theta, Shard(data, zero, size, prior), key, 0, 4)
np.save(folder / f"spread-{rank}.npy", np.asarray(delta))

for wrong, said in (
    (lambda: replicate(np.full(3, rank), mesh), "given different arrays"),
    (lambda: spread({"x": np.zeros(2 + rank)}, mesh), "the processes hold 2, 3 examples"),
):
    try:
        wrong()
    except DataError as error:
        assert said in str(error), error
    else:
        raise AssertionError(said)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have computed together."""
    folder = tmp_path_factory.mktemp("processes")
    together(PROGRAM, folder)
    return folder


def alone(shard: int | None) -> np.ndarray:
    """The same leg in this process, on a shard of the task or on 128 validation examples."""
    task, key = Digits(hidden=(16,)).build(2, 0), jax.random.key(0)
    leg = Leg(task, LegSettings(steps=20, batch_size=16))
    shards = place_shards(task)
    if shard is None:
        data = place({name: array[:128] for name, array in task.validation.items()})
        given = Shard(data, *place((np.int32(0), np.int32(128))), shards[0].context)
    else:
        given = shards[shard]
    return np.asarray(leg(leg.genesis(task.init(key)), given, key, 0, 4)[0])


@pytest.mark.parametrize(("name", "shard"), [("fsdp", 1), ("spread", None)])
def test_two_processes_train_one_leg(folder: Path, name: str, shard: int | None):
    first, second = (np.load(folder / f"{name}-{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(first, second)
    expected = alone(shard)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(first, expected, atol=1e-5)


def test_one_process_needs_no_other():
    mesh = device_mesh(1, jax.devices()[:1])
    host = np.arange(1000, dtype=np.float32)
    copied = replicate({"x": host}, mesh)["x"]
    parts = spread({"x": host}, mesh)["x"]
    host[:] = 7
    for array in (copied, parts):
        np.testing.assert_array_equal(to_host(array), np.arange(1000))


def test_examples_that_do_not_divide_are_refused():
    class TwoDevices:
        shape = {"data": 2}  # noqa: RUF012
        devices = np.array([jax.devices()[0]])

    with pytest.raises(DataError, match=r"3 examples do not divide over the 2 devices .* leave 1 out"):
        spread({"x": np.zeros(3)}, TwoDevices())
