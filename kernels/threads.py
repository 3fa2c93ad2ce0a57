"""A kernel over all blocks of a vector, on several threads where that pays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar, cast

import numpy as np

Result = TypeVar("Result")
Item = TypeVar("Item")

PARALLEL_FROM = 1 << 21  # values; below this, waking threads costs more than they save
STREAM_FROM = 1 << 22  # values; from here on no cache holds what is written until it is read again
GROUP = 16  # blocks that no two threads share: what is streamed by cache lines starts on one in every thread
MAX_THREADS = 4  # a few cores saturate the memory bus


def workers(size: int) -> int:
    """Returns how many threads share `size` values."""
    return cores() if size >= PARALLEL_FROM else 1


def cores() -> int:
    """Returns how many threads a large piece of work is cut for."""
    return min(os.cpu_count() or 1, MAX_THREADS)


def streams(array: np.ndarray, size: int, alignment: int = 16) -> bool:
    """Whether to write `array`, of `size` values, past the caches: it is large and its address is aligned."""
    return size >= STREAM_FROM and array.ctypes.data % alignment == 0


def over_blocks(kernel: Callable[..., None], size: int, block: int, *arrays: np.ndarray | bool) -> None:
    """Calls `kernel(*arrays, first, last)` for ranges of blocks that cover `size` values.

    Threads that are kept, but not OpenMP's: those spin while they wait, which on a busy host costs more than
    the work itself, and they do not survive a fork.

    Args:
      kernel: compiled without the interpreter's lock.
      size: values in the whole vector.
      block: values in a block.
      *arrays: whatever else the kernel takes.
    """
    count, parts = -(-size // block), workers(size)
    if parts == 1:
        kernel(*arrays, 0, count)
        return
    groups = -(-count // GROUP)
    ranges = [(GROUP * first, min(count, GROUP * last)) for first, last in _ranges(groups, parts)]
    futures = [_kept().submit(kernel, *arrays, *bounds) for bounds in ranges]
    try:
        for future in futures:
            future.result()
    finally:
        wait(futures)  # none may write when this has returned


def run_ranges(call: Callable[[int, int], Result], count: int, parts: int) -> list[Result]:
    """Cuts `count` items into `parts` ranges and returns what `call(first, last)` gives, in order.

    Its threads last for one call, so that `call` may itself wait for kernels on several threads.
    """
    if parts == 1:
        return [call(0, count)]
    with ThreadPoolExecutor(parts) as pool:
        futures = [pool.submit(call, first, last) for first, last in _ranges(count, parts)]
    return [future.result() for future in futures]


def _ranges(count: int, parts: int) -> Iterable[tuple[int, int]]:
    return pairwise(count * i // parts for i in range(parts + 1))


@lru_cache(maxsize=1)
def _kept() -> ThreadPoolExecutor:
    """Returns the threads of kernels. They wait for nothing but memory, so that they always come free."""
    return ThreadPoolExecutor(cores(), thread_name_prefix="kernels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.cache_clear)  # a fork takes none of the threads along


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yields items one by one while the next one is already made, by another thread."""
    left, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, left, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, left, end)
            yield cast(Item, item)
