"""A kernel over all blocks of a vector, on several threads where that pays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar, cast

import numpy as np

Result = TypeVar("Result")
Item = TypeVar("Item")

PARALLEL_FROM = 1 << 21  # values; below this, starting threads costs more than they save
STREAM_FROM = 1 << 22  # values; from here on no cache holds what is written until it is read again
MAX_THREADS = 4  # a few cores saturate the memory bus


def workers(size: int) -> int:
    """Returns how many threads share `size` values."""
    return cores() if size >= PARALLEL_FROM else 1


def cores() -> int:
    """Returns how many threads a large piece of work is cut for."""
    return min(os.cpu_count() or 1, MAX_THREADS)


def streams(array: np.ndarray, size: int) -> bool:
    """Whether to write `array`, of `size` values, past the caches: it is large and 16 divides its address."""
    return size >= STREAM_FROM and array.ctypes.data % 16 == 0


def over_blocks(kernel: Callable[..., None], size: int, block: int, *arrays: np.ndarray | bool) -> None:
    """Calls `kernel(*arrays, first, last)` for ranges of blocks that cover `size` values.

    Threads that last for one call, not OpenMP's: those spin while they wait, which on a busy host costs more
    than the work itself, and they do not survive a fork.

    Args:
      kernel: compiled without the interpreter's lock.
      size: values in the whole vector.
      block: values in a block.
      *arrays: whatever else the kernel takes.
    """
    run_ranges(lambda first, last: kernel(*arrays, first, last), -(-size // block), workers(size))


def run_ranges(call: Callable[[int, int], Result], count: int, parts: int) -> list[Result]:
    """Cuts `count` items into `parts` ranges and returns what `call(first, last)` gives, in order."""
    if parts == 1:
        return [call(0, count)]
    bounds = [count * i // parts for i in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        futures = [pool.submit(call, first, last) for first, last in pairwise(bounds)]
    return [future.result() for future in futures]


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yields items one by one while the next one is already made, by another thread."""
    left, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, left, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, left, end)
            yield cast(Item, item)
