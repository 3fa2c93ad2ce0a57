"""Handing a version on: the same bits under any sharding, and nothing opened that was not checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from relayjax import handoff
from relayjax.errors import IntegrityError, RelayError
from relayjax.pack import ModelVersion, encode_pack, verify_pack
from relayjax.weights import digest

THETA = np.random.default_rng(0).normal(size=1_000).astype(np.float32)
VERSION = ModelVersion(2, digest(THETA), [{"name": "w", "shape": [10, 99]}, {"name": "b", "shape": [10]}])


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return handoff.pack(THETA, VERSION, tmp_path_factory.mktemp("scratch"))


def test_round_trip_leaves_nothing_behind(tmp_path: Path):
    pack = handoff.pack(THETA, VERSION, tmp_path)
    restored = handoff.unpack(pack, VERSION, tmp_path)
    assert np.asarray(restored).tobytes() == THETA.tobytes()
    assert not list(tmp_path.iterdir())


def test_special_values_keep_their_bits(tmp_path: Path):
    theta = np.array([0.0, -0.0, 1e-45, -1e-45, 3.4e38, 1.0], np.float32)
    version = ModelVersion(0, digest(theta), [{"name": "w", "shape": [6]}])
    restored = handoff.unpack(handoff.pack(theta, version, tmp_path), version, tmp_path)
    assert np.asarray(restored).tobytes() == theta.tobytes()


def test_nothing_damaged_is_ever_opened(packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened = []
    monkeypatch.setattr(handoff, "_checkpointer", lambda: opened.append(1))
    for bit in range(0, 8 * len(packed), 61):  # 61 is coprime to 8: every bit position, all over the file
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RelayError):
            handoff.unpack(bytes(flipped), VERSION, tmp_path)
    escaping = packed.replace(b'"path":"_METADATA"', b'"path":"../TADATA"')
    assert escaping != packed
    with pytest.raises(RelayError):
        handoff.unpack(escaping, VERSION, tmp_path)
    assert not opened and not list(tmp_path.iterdir())


def test_other_weights_under_right_digests_are_refused(packed: bytes, tmp_path: Path):
    """Whoever packs can put anything behind a manifest; what counts is the digest in the ledger."""
    liar = ModelVersion(2, "ab" * 32, VERSION.layout)
    files = verify_pack(packed, VERSION)
    with pytest.raises(IntegrityError, match="restored other weights"):
        handoff.unpack(encode_pack(files, liar), liar, tmp_path)
    assert not list(tmp_path.iterdir())


def on_eight_devices(program: str, scratch: Path) -> None:
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(scratch)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


PROGRAM = """
import sys
from pathlib import Path
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from relayjax import handoff
from relayjax.pack import ModelVersion
from relayjax.weights import digest

scratch, devices = Path(sys.argv[1]), np.array(jax.devices())
assert len(devices) == 8
theta = np.random.default_rng(1).normal(size=1_024).astype(np.float32)
version = ModelVersion(1, digest(theta), [{"name": "w", "shape": [1_024]}])
eight = NamedSharding(Mesh(devices, "x"), P("x"))
pack = handoff.pack(jax.device_put(theta, eight), version, scratch)
two = Mesh(devices[:2], "x")
for sharding in (NamedSharding(two, P("x")), NamedSharding(two, P()), eight, None):
    restored = handoff.unpack(pack, version, scratch, sharding)
    assert np.asarray(restored).tobytes() == theta.tobytes()
    if sharding is not None:
        assert restored.sharding.is_equivalent_to(sharding, 1), restored.sharding
assert not list(scratch.iterdir())
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

scratch, key = Path(sys.argv[1]), jax.random.key(0)
task = Digits(hidden=(16,)).build(2, 0)
legs, shards = [], []
for devices, preset in ((8, "fsdp"), (2, "replicated")):
    mesh, sharding = device_mesh(1, jax.devices()[:devices]), ShardingSettings(parameters=preset)
    legs.append(Leg(task, LegSettings(steps=5, batch_size=16, sharding=sharding), mesh))
    shards.append(place_shards(task, mesh)[len(shards)])

# The first participant trains with its parameters over eight devices, and packs what it hands on.
genesis = legs[0].genesis(task.init(key))
head = genesis + np.asarray(legs[0](genesis, shards[0], key, 0, 2)[0])
version = ModelVersion(1, digest(head), legs[0].baton.describe())
pack = handoff.pack(head, version, scratch)

# The second has two; what it unpacks there, it trains on.
received = handoff.unpack(pack, version, scratch, NamedSharding(mesh, P("data")))
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

scratch, theta = Path(sys.argv[1]), np.random.default_rng(0).normal(size=100_000).astype(np.float32)
version = ModelVersion(2, digest(theta), [{"name": "w", "shape": [100_000]}])
pack = handoff.pack(theta, version, scratch)
for limit in (0, 100, 1_000, 300_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for passing_on in (handoff.pack, handoff.unpack):
        try:
            passing_on(theta if passing_on is handoff.pack else pack, version, scratch)
        except DiskError as error:
            assert str(scratch) in str(error)
        else:
            raise SystemExit(f"{passing_on.__name__} wrote more than {limit} bytes")
        assert not list(scratch.iterdir()), "weights in the clear are left"
"""


def test_a_disk_that_takes_no_more_is_named_and_left_empty(tmp_path: Path):
    """The operating system refuses longer files, to Orbax and TensorStore too."""
    on_eight_devices(FULL, tmp_path)
