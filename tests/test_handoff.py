"""Orbax checkpoints of versions: the same bits under any sharding, ours and Orbax's own; nothing believed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from two_processes import together

from relayjax import files, handoff
from relayjax.errors import DiskError, IntegrityError, RelayError, WorkdirError
from relayjax.filesystem import Filesystem
from relayjax.hashing import CHUNK
from relayjax.pack import ModelVersion
from relayjax.weights import digest

# Two chunks and a part of a third.
THETA = np.random.default_rng(0).standard_normal(2 * CHUNK // 4 + 1_001, np.float32)
VERSION = ModelVersion(
    2, digest(THETA), [{"name": "w", "shape": [THETA.size - 1]}, {"name": "b", "shape": []}]
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handoff") / "checkpoint"
    handoff.save(THETA, VERSION, folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_round_trip(saved: Path):
    restored = handoff.restore(saved, VERSION)
    assert isinstance(restored, np.ndarray) and restored.tobytes() == THETA.tobytes()
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint"]
    assert (saved / "weights" / "0").read_bytes() == THETA.astype("<f4").tobytes()


def test_orbax_restores_it_without_us(saved: Path):
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        restored = checkpointer.restore(saved)
    assert list(restored) == ["weights"]
    assert np.asarray(restored["weights"]).tobytes() == THETA.tobytes()


@pytest.mark.parametrize(
    "theta", [np.zeros(6, np.float32), np.array([-0.0, 1e-45, 3.4e38, np.nan, np.inf, 1], np.float32)]
)
def test_special_values_keep_their_bits(theta: np.ndarray, tmp_path: Path):
    version = ModelVersion(0, digest(theta), [{"name": "w", "shape": [6]}])
    handoff.save(theta, version, tmp_path / "a" / "b")
    assert np.asarray(handoff.restore(tmp_path / "a" / "b", version)).tobytes() == theta.tobytes()


def test_no_flipped_bit_comes_back(copy: Path):
    """What Orbax keeps beside the parameters is never read; everything else is found."""
    for name in ("weights/0", handoff.MANIFEST):
        path = copy / name
        whole = path.read_bytes()
        for bit in range(0, 8 * len(whole), 8 * len(whole) // 50 + 1):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(RelayError):
                handoff.restore(copy, VERSION)
        path.write_bytes(whole)
    (copy / "weights" / ".zarray").write_text("{}")
    assert np.asarray(handoff.restore(copy, VERSION)).tobytes() == THETA.tobytes()


def test_the_bad_chunk_is_named(copy: Path):
    path = copy / "weights" / "0"
    damaged = bytearray(path.read_bytes())
    damaged[CHUNK + 1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match="chunk 1 is not"):
        handoff.restore(copy, VERSION)


@pytest.mark.parametrize("name", ["weights/0", handoff.MANIFEST])
def test_a_missing_short_or_long_file_is_named(copy: Path, name: str):
    whole = (copy / name).read_bytes()
    for content in (whole[:-1], whole + b"\0", b""):
        (copy / name).write_bytes(content)
        with pytest.raises(RelayError):
            handoff.restore(copy, VERSION)
    (copy / name).unlink()
    with pytest.raises(IntegrityError) as caught:
        handoff.restore(copy, VERSION)
    assert caught.value.where == str(copy / name)


def test_another_version_is_refused(saved: Path):
    other = np.zeros_like(THETA)
    with pytest.raises(IntegrityError, match="another version"):
        handoff.restore(saved, ModelVersion(2, digest(other), VERSION.layout))


def test_other_parameters_are_not_saved_and_nothing_is_overwritten(saved: Path, tmp_path: Path):
    with pytest.raises(IntegrityError):
        handoff.save(THETA + 1, VERSION, tmp_path / "other")
    assert not list(tmp_path.iterdir())
    with pytest.raises(WorkdirError, match="exists"):
        handoff.save(THETA, VERSION, saved)
    assert np.asarray(handoff.restore(saved, VERSION)).tobytes() == THETA.tobytes()


def test_a_disk_that_refuses_to_flush_or_to_read_is_named(saved: Path, tmp_path: Path):
    class Broken(Filesystem):
        def fsync_file(self, path: Path) -> None:
            raise OSError(5, "Input/output error")

        def read_into(self, path: Path, offset: int, target: memoryview) -> int:
            raise OSError(5, "Input/output error")

    with files.using(Broken()):
        with pytest.raises(DiskError, match=str(tmp_path / r".new")):
            handoff.save(THETA, VERSION, tmp_path / "new")
        with pytest.raises(DiskError, match=r"weights/0"):
            handoff.restore(saved, VERSION)
    assert not list(tmp_path.iterdir())


def on_eight_devices(program: str, folder: Path) -> None:
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


PROGRAM = """
import sys
from pathlib import Path
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import orbax.checkpoint as ocp
from relayjax import handoff
from relayjax.errors import IntegrityError
from relayjax.hashing import CHUNK
from relayjax.pack import ModelVersion
from relayjax.weights import digest

folder, devices = Path(sys.argv[1]), np.array(jax.devices())
assert len(devices) == 8
eight, two = Mesh(devices, "x"), Mesh(devices[:2], "x")
# Neither files nor parts end where chunks do; the second size is one that eight devices can't share evenly.
for size in (CHUNK // 4 + 1_024, CHUNK // 2 + 1_001):
    theta = np.random.default_rng(1).standard_normal(size, np.float32)
    version = ModelVersion(1, digest(theta), [{"name": "w", "shape": [size]}])
    cut = NamedSharding(eight, P("x") if size % 8 == 0 else P())
    there = folder / str(size)
    handoff.save(jax.device_put(theta, cut), version, there)
    shards = sorted(path.name for path in (there / "weights").glob("[0-9]*"))
    assert shards == [str(i) for i in range(8 if size % 8 == 0 else 1)], shards
    for mesh, spec in ((eight, P("x")), (two, P("x")), (two, P()), (eight, P())):
        sharding = NamedSharding(mesh, spec)
        restored = handoff.restore(there, version, sharding)
        assert np.asarray(restored).tobytes() == theta.tobytes()
        if size % 8 == 0:
            assert restored.sharding.is_equivalent_to(sharding, 1), restored.sharding
    assert handoff.restore(there, version).tobytes() == theta.tobytes()
    if size % 8 == 0:
        target = {"weights": jax.ShapeDtypeStruct((size,), np.float32, sharding=NamedSharding(two, P("x")))}
        arguments = ocp.args.PyTreeRestore(
            item=target, restore_args=ocp.checkpoint_utils.construct_restore_args(target)
        )
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            theirs = checkpointer.restore(there, args=arguments)["weights"]
        assert np.asarray(theirs).tobytes() == theta.tobytes()
        first, second = there / "weights" / "1", there / "weights" / "2"
        first.rename(there / "x"), second.rename(first), (there / "x").rename(second)
        try:
            handoff.restore(there, version)
        except IntegrityError:
            continue
        raise SystemExit("swapped files were not noticed")
"""


def test_saved_on_eight_devices_restored_on_two(tmp_path: Path):
    on_eight_devices(PROGRAM, tmp_path)


RELAY = """
import sys
from pathlib import Path
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from relayjax import handoff
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.mesh import device_mesh
from relayjax.learning.placement import place_shards
from relayjax.learning.sharding import ShardingSettings
from relayjax.learning.tasks.digits import Digits
from relayjax.pack import ModelVersion
from relayjax.weights import digest

folder, key = Path(sys.argv[1]) / "head", jax.random.key(0)
task = Digits(hidden=(16,)).build(2, 0)
legs, shards = [], []
for devices, preset in ((8, "fsdp"), (2, "replicated")):
    mesh, sharding = device_mesh(1, jax.devices()[:devices]), ShardingSettings(parameters=preset)
    legs.append(Leg(task, LegSettings(steps=5, batch_size=16, sharding=sharding), mesh))
    shards.append(place_shards(task, mesh)[len(shards)])

# The first participant trains with its parameters over eight devices, and saves what it hands on.
genesis = legs[0].genesis(task.init(key))
head = genesis + np.asarray(legs[0](genesis, shards[0], key, 0, 2)[0])
version = ModelVersion(1, digest(head), legs[0].baton.describe())
handoff.save(head, version, folder)

# The second has two; what it restores there, it trains on.
received = handoff.restore(folder, version, NamedSharding(mesh, P("data")))
assert len(received.sharding.device_set) == 2
assert np.asarray(received).tobytes() == head.tobytes()
delta, _ = legs[1](received, shards[1], key, 1, 2)
again, _ = legs[1](head, shards[1], key, 1, 2)
assert np.abs(np.asarray(delta)).max() > 0
np.testing.assert_allclose(delta, again, atol=1e-6)
"""


def test_trained_over_eight_devices_handed_on_to_two(tmp_path: Path):
    on_eight_devices(RELAY, tmp_path)


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from relayjax import handoff
from relayjax.errors import DiskError
from relayjax.pack import ModelVersion
from relayjax.weights import digest

folder, theta = Path(sys.argv[1]) / "head", np.random.default_rng(0).normal(size=100_000).astype(np.float32)
version = ModelVersion(2, digest(theta), [{"name": "w", "shape": [100_000]}])
for limit in (0, 100, 1_000, 300_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        handoff.save(theta, version, folder)
    except DiskError as error:
        assert str(folder) in str(error)
    else:
        raise SystemExit(f"it wrote more than {limit} bytes")
    assert not list(folder.parent.iterdir()), list(folder.parent.iterdir())
"""


def test_a_disk_that_takes_no_more_is_named_and_left_empty(tmp_path: Path):
    """The operating system refuses longer files, to Orbax and TensorStore too."""
    on_eight_devices(FULL, tmp_path)


HOSTS = """
import sys
from pathlib import Path
import jax, numpy as np

folder, port, rank = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)

from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from relayjax import files, handoff, hashing
from relayjax.errors import IntegrityError
from relayjax.filesystem import Filesystem
from relayjax.hashing import CHUNK
from relayjax.pack import ModelVersion
from relayjax.weights import digest

size = 15 * CHUNK // 4 + 512
theta = np.random.default_rng(1).standard_normal(size, np.float32)
version = ModelVersion(1, digest(theta), [{"name": "w", "shape": [size]}])
both = NamedSharding(Mesh(np.array(jax.devices()), "x"), P("x"))
hashed, chunk_digests = [], hashing.chunk_digests

def counting(data):
    found = chunk_digests(data)
    hashed.append(len(found))
    return found

hashing.chunk_digests = counting
handoff.save(theta, version, folder / "head", both)
assert hashed == [8], hashed  # half of sixteen chunks each
assert sorted(path.name for path in (folder / "head" / "weights").glob("[0-9]*")) == ["0", "1"]

class Watching(Filesystem):
    read_bytes = 0

    def read_into(self, path, offset, target):
        self.read_bytes += len(target)
        return super().read_into(path, offset, target)

watching = Watching()
with files.using(watching):
    restored = handoff.restore(folder / "head", version, both)
start = rank * (restored.shape[0] // 2)
(shard,) = restored.addressable_shards
assert np.asarray(shard.data).tobytes() == theta[shard.index[0]].tobytes()
assert watching.read_bytes <= 2 * size + 2 * CHUNK < 4 * size, watching.read_bytes
"""


def test_two_hosts_save_and_restore_their_own_parts(tmp_path: Path):
    together(HOSTS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head"]
