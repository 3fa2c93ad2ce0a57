"""A model version as an Orbax checkpoint in a directory: for clusters, and for other programs.

    FOLDER/weights/0, 1, ...   the flat parameters, little-endian float32: zarr, plain, a file a shard
    FOLDER/…                   what Orbax keeps beside them: it can restore the checkpoint without us
    FOLDER/relayjax            a pack without its parameters (`relayjax.pack`): digests of their chunks

One flat array costs what its bytes cost, however many parameters it holds. Orbax and TensorStore restore
flipped bits silently and believe whatever metadata says. So nothing but the shards is read here, and each
chunk is verified against the ledger while it is still in the cache.

P: parameters and what is carried beside them.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from relayjax import files, hashing
from relayjax.errors import DiskError, IntegrityError, WorkdirError
from relayjax.hashing import CHUNK
from relayjax.kernels import threads
from relayjax.pack import Chunks, ModelVersion, decode_chunks
from relayjax.weights import as_bytes, empty

MANIFEST = "relayjax"
_ARRAY = "weights"
_MULTIPLE = 256  # devices that can share a padded vector evenly
_REMEDY = "see that the disk has space and works, then save it again"

# Orbax warns at every save that there are no OCDBT files to merge; that is what was asked for.
logging.getLogger("absl").addFilter(lambda record: "OCDBT" not in record.getMessage())


def save(
    theta: np.ndarray | jax.Array, version: ModelVersion, folder: Path, sharding: Sharding | None = None
) -> None:
    """Saves a version durably; it is hashed while it is written. The folder is seen whole or not at all.

    Over several hosts, all of which call this and see the same file system, each writes the shards of its
    devices and hashes its part of the chunks.

    Args:
      theta: float32 [P]: on the host, or on devices of this process under any sharding. Over several hosts,
        each has all of it.
      version: what it is.
      folder: must not exist.
      sharding: decides into how many files it goes, and which host writes them; as the parameters lie by
        default.

    Raises:
      WorkdirError: the folder exists.
      IntegrityError: these are not the version's parameters.
      DiskError: the disk refused.
    """
    folder, host = folder.absolute(), np.asarray(theta)
    if folder.exists():
        raise WorkdirError(f"{folder}: exists; choose another folder")
    work = folder.with_name(f".{folder.name}.{version.weights[:8]}.tmp")
    try:
        if jax.process_index() == 0:
            files.make_directory(folder.parent)
            _remove(work)
        _meet("ready to save")
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(_write, _placed(theta, host, sharding), work, folder)
            own = _own_digests(as_bytes(host), version.chunks)
            writing.result()
        chunks = Chunks(version, tuple(_gathered(own, version.chunks)))
        files.settle_files(work)
        _meet("all shards are durable")
        if jax.process_index() == 0:
            files.write_atomic(work / MANIFEST, chunks.encode())
            files.publish(work, folder)
        _meet("saved")
    finally:
        if jax.process_index() == 0:
            _remove(work)


def restore(folder: Path, version: ModelVersion, sharding: Sharding | None = None) -> np.ndarray | jax.Array:
    """Restores a version that `save` saved here or elsewhere; every chunk that is needed is verified.

    Args:
      folder: of the checkpoint.
      version: what it must be, from the ledger.
      sharding: where the parameters are to lie; each host reads what its devices hold. None: on the host.

    Returns:
      Parameters, float32 [P].

    Raises:
      FormatError: the manifest is malformed.
      IntegrityError: a file is missing, or a chunk is not the version's.
      DiskError: a file can't be read.
    """
    if not (folder / MANIFEST).is_file():
        raise IntegrityError(str(folder / MANIFEST), "is missing; the checkpoint was not saved to its end")
    shards = _Shards.of(folder, decode_chunks(files.read(folder / MANIFEST), version))
    if sharding is None:
        return shards.read(0, version.size)
    length = version.size + -version.size % _MULTIPLE
    there: dict[tuple[int, int], np.ndarray] = {}

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        start, stop, _ = (index[0] if index else slice(None)).indices(length)
        if (start, stop) not in there:
            found = shards.read(min(start, version.size), min(stop, version.size))
            there[start, stop] = np.pad(found, (0, stop - start - len(found)))
        return there[start, stop]

    return jax.make_array_from_callback((length,), sharding, part)[: version.size]


@dataclass(frozen=True)
class _Shards:
    """The parameters as they lie in files.

    Attributes:
      paths: of the files, in order.
      starts: of each file, its first byte among all of them; and the number of all.
      chunks: what they must be.
    """

    paths: tuple[Path, ...]
    starts: tuple[int, ...]
    chunks: Chunks

    @classmethod
    def of(cls, folder: Path, chunks: Chunks) -> _Shards:
        missing, paths = 4 * chunks.version.size, list[Path]()
        sizes = list[int]()
        while missing > 0:
            path = folder / _ARRAY / str(len(paths))
            size = path.stat().st_size if path.is_file() else 0
            if not 0 < size <= missing:
                raise IntegrityError(str(path), f"{size} bytes, expected some, and at most {missing}")
            paths.append(path)
            sizes.append(size)
            missing -= size
        return cls(tuple(paths), tuple(accumulate(sizes, initial=0)), chunks)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Reads and verifies on all cores; returns numbers `start` to `stop`, float32."""
        first, last = 4 * start // CHUNK, -(-4 * stop // CHUNK)
        begin, end = CHUNK * first, min(CHUNK * last, self.starts[-1])
        numbers = empty(max(0, end - begin) // 4)
        target = numbers.data.cast("B")

        def fill(a: int, b: int) -> None:
            for number in range(first + a, first + b):
                chunk = target[CHUNK * number - begin : CHUNK * (number + 1) - begin]
                self._fill(CHUNK * number, chunk)
                self.chunks.verify(number, chunk)

        threads.run_ranges(fill, last - first, threads.cores() if last - first > 1 else 1)
        return numbers[start - begin // 4 : stop - begin // 4].astype(np.float32, copy=False)

    def _fill(self, offset: int, target: memoryview) -> None:
        """Reads bytes from `offset` on, across files."""
        for path, (start, end) in zip(self.paths, pairwise(self.starts), strict=True):
            if start < offset + len(target) and offset < end:
                a, b = max(start, offset), min(end, offset + len(target))
                files.read_into(path, a - start, target[a - offset : b - offset])


def _placed(theta: np.ndarray | jax.Array, host: np.ndarray, sharding: Sharding | None) -> jax.Array:
    """The parameters as Orbax is to write them; on the host's own device nothing is copied."""
    if sharding is None:
        return jax.device_put(theta)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _own_digests(data: memoryview, chunks: int) -> list[bytes]:
    """Digests of the chunks that this process hashes; the last processes have none if there are too few."""
    each = -(-chunks // jax.process_count())
    first, last = (min(chunks, each * rank) for rank in (jax.process_index(), jax.process_index() + 1))
    return hashing.chunk_digests(data[CHUNK * first : CHUNK * last]) if first < last else []


def _gathered(own: list[bytes], chunks: int) -> list[bytes]:
    """What all processes have hashed, in order. None of them may be within Orbax, which gathers, too."""
    if jax.process_count() == 1:
        return own
    rows = np.zeros((-(-chunks // jax.process_count()), 32), np.uint8)
    rows[: len(own)] = np.frombuffer(b"".join(own), np.uint8).reshape(-1, 32)
    everybody = np.asarray(multihost_utils.process_allgather(rows)).reshape(-1, 32)
    return [row.tobytes() for row in everybody[:chunks]]


def _meet(where: str) -> None:
    """Returns when every process has come to the same place."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"relayjax handoff: {where}")


def _remove(work: Path) -> None:
    """Removes what a save that was cut short has left; Orbax, too, has temporary names."""
    for left in work.parent.glob(f"{work.name}*"):
        files.remove_tree(left)


def _write(array: jax.Array, work: Path, folder: Path) -> None:
    """Has Orbax write one array as plain zarr files, to where they are prepared for a folder."""
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=False, use_compression=False)
    try:
        with ocp.Checkpointer(handler) as checkpointer:
            checkpointer.save(work, args=ocp.args.PyTreeSave({_ARRAY: array}))
    except Exception as error:  # TensorStore says in words of its own that a disk is full
        raise DiskError(str(folder), f"Orbax can't save there ({str(error)[:200]})", _REMEDY) from error
