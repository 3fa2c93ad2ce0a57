"""Passing a model version on: saved with Orbax, packed behind digests, restored under any sharding.

Orbax restores flipped bits silently, so nothing of a pack is opened before every file in it has matched its
digest; afterwards the restored weights must match the version's own digest, which the ledger names.
Orbax's files are not byte-reproducible, so the ledger names the weights and never the pack.

The checkpoint holds one array, the flat parameters padded with zeros to a multiple of 256 so that any
mesh of up to 256 devices can share it evenly. P: parameters.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Sharding, SingleDeviceSharding

from relayjax import files
from relayjax.errors import DiskError, IntegrityError
from relayjax.pack import ModelVersion, encode_pack, verify_pack
from relayjax.weights import CARRIED, digest

_MULTIPLE = 256
_REMEDY = "see that the disk has space and works, then go on with the same command"

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

    Raises:
      DiskError: Orbax could not save them.
    """
    padded = jnp.pad(jnp.asarray(theta), (0, -version.size % _MULTIPLE))
    with _emptied(scratch / f"pack-{version.number}") as folder:
        try:
            with _checkpointer() as checkpointer:
                checkpointer.save(folder, args=ocp.args.PyTreeSave({"weights": padded}))
        except Exception as error:  # TensorStore says in words of its own that a disk is full
            raise DiskError(str(folder), f"Orbax can't save there ({str(error)[:200]})", _REMEDY) from error
        saved = {
            path.relative_to(folder).as_posix(): files.read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    return encode_pack(saved, version)


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
      DiskError: the disk refused.
      FormatError: not a pack, or its manifest is malformed.
      IntegrityError: a file, the layout or the weights are not those of the version.
    """
    content, where = verify_pack(data, version), f"model checkpoint of version {version.number}"
    sharding = sharding or SingleDeviceSharding(jax.devices()[0])
    length = version.size + -version.size % _MULTIPLE
    target = {"weights": jax.ShapeDtypeStruct((length,), jnp.float32, sharding=sharding)}
    with _emptied(scratch / f"unpack-{version.number}") as folder:
        for path, part in content.items():
            files.write_scratch(folder / path, part)
        try:
            with _checkpointer() as checkpointer:
                args = ocp.args.PyTreeRestore(
                    item=target, restore_args=ocp.checkpoint_utils.construct_restore_args(target)
                )
                padded = checkpointer.restore(folder, args=args)["weights"]
        except MemoryError:
            raise  # no forgery
        except OSError as error:
            raise DiskError(str(folder), f"can't be read back ({error})", _REMEDY) from error
        except Exception as error:  # Orbax and TensorStore have no base class of their own
            raise IntegrityError(where, f"Orbax cannot restore it ({str(error)[:200]})") from error
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


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """Where a checkpoint can lie, absolute; it and what Orbax puts beside it are gone afterwards."""
    folder = folder.absolute()
    files.remove_tree(folder)
    try:
        yield folder / "checkpoint"
    finally:
        with suppress(DiskError):  # whoever owns the scratch directory empties it
            files.remove_tree(folder)


def _checkpointer() -> ocp.Checkpointer:
    """Plain zarr files: a model is one array, so a database of chunks (OCDBT) would only add files."""
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=True))
