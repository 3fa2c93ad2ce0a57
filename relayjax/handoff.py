"""Passing a model version on: saved with Orbax, packed behind digests, restored under any sharding.

Orbax restores flipped bits silently, so nothing of a pack is opened before every file in it has matched its
digest; afterwards the restored weights must match the version's own digest, which the ledger names.
Orbax's files are not byte-reproducible, so the ledger names the weights and never the pack.

The checkpoint holds one array, the flat parameters padded with zeros to a multiple of 256 so that any
mesh of up to 256 devices can share it evenly. P: parameters.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Sharding, SingleDeviceSharding

from relayjax.errors import IntegrityError
from relayjax.pack import ModelVersion, encode_pack, verify_pack
from relayjax.weights import CARRIED, digest

_MULTIPLE = 256

# Orbax warns at every save that there are no OCDBT files to merge; that is what was asked for.
logging.getLogger("absl").addFilter(lambda record: "OCDBT" not in record.getMessage())


def pack(theta: np.ndarray | jax.Array, version: ModelVersion, scratch: Path) -> bytes:
    """Saves parameters with Orbax and packs the checkpoint's files behind their manifest.

    Args:
      theta: float32 [P], on the host or on devices under any sharding.
      version: what it is.
      scratch: a private directory for the plaintext files; they are gone on return.

    Returns:
      The pack.
    """
    folder = (scratch / f"pack-{version.number}").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    padding = -version.size % _MULTIPLE
    try:
        with _checkpointer() as checkpointer:
            padded = jnp.pad(jnp.asarray(theta), (0, padding))
            checkpointer.save(folder, args=ocp.args.PyTreeSave({"weights": padded}))
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return encode_pack(files, version)


def unpack(data: bytes, version: ModelVersion, scratch: Path, sharding: Sharding | None = None) -> jax.Array:
    """Checks a pack and restores the parameters in it.

    Args:
      data: the pack, from whoever.
      version: what it must be, from the ledger.
      scratch: a private directory for the plaintext files; they are gone on return.
      sharding: where the padded vector is to lie; the default device if None.

    Returns:
      Parameters, float32 [P].

    Raises:
      FormatError: not a pack, or its manifest is malformed.
      IntegrityError: a file, the layout or the weights are not those of the version.
    """
    files, where = verify_pack(data, version), f"model checkpoint of version {version.number}"
    folder = (scratch / f"unpack-{version.number}").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        sharding = sharding or SingleDeviceSharding(jax.devices()[0])
        length = version.size + -version.size % _MULTIPLE
        target = {"weights": jax.ShapeDtypeStruct((length,), jnp.float32, sharding=sharding)}
        with _checkpointer() as checkpointer:
            args = ocp.args.PyTreeRestore(
                item=target, restore_args=ocp.checkpoint_utils.construct_restore_args(target)
            )
            padded = checkpointer.restore(folder, args=args)["weights"]
    except (OSError, MemoryError):
        raise  # a full disk is no forgery
    except Exception as error:  # Orbax and TensorStore have no base class of their own
        raise IntegrityError(where, f"Orbax cannot restore it ({str(error)[:200]})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    theta = padded[: version.size]
    if digest(np.asarray(theta)) != version.weights:
        raise IntegrityError(where, "restored other weights")
    return theta


def parameters(data: bytes, version: ModelVersion) -> dict[str, np.ndarray]:
    """Checks a pack and gives its parameters by name, float32, without what optimizers carry.

    Raises:
      FormatError, IntegrityError: see `unpack`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        theta = np.asarray(unpack(data, version, Path(scratch)))
    sizes = np.cumsum([int(np.prod(leaf["shape"])) for leaf in version.layout])
    return {
        leaf["name"]: part.reshape(leaf["shape"])
        for leaf, part in zip(version.layout, np.split(theta, sizes[:-1]), strict=True)
        if not leaf["name"].startswith(CARRIED)
    }


def _checkpointer() -> ocp.Checkpointer:
    """Plain zarr files: a model is one array, so a database of chunks (OCDBT) would only add files."""
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=True))
