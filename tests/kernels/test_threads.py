"""Threads that kernels keep, and memory that starts on a cache line."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from relayjax.kernels import buffers, mxint8, threads


def test_blocks_are_covered_once_by_every_number_of_threads(monkeypatch):
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1)
    for size in (1, 31, 32, 33, 1000, 4096):
        seen = np.zeros(-(-size // 32), int)

        def touch(count, first, last):
            count[first:last] += 1

        threads.over_blocks(touch, size, 32, seen)
        assert (seen == 1).all()


def test_an_error_in_a_kernel_reaches_the_caller_and_the_threads_go_on(monkeypatch):
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1)

    def fail(first, last):
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            threads.over_blocks(fail, 64, 1)
    names: list[str] = []
    threads.over_blocks(lambda first, last: names.append(threading.current_thread().name), 64, 1)
    assert len(names) == threads.cores()  # some of them have nothing to do
    assert all(name.startswith("kernels") for name in names) or threads.cores() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_kernels_work_in_a_fork_of_a_process_that_has_used_them(monkeypatch):
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1)
    x = np.random.default_rng(0).standard_normal(4096, np.float32)
    scales, elements = buffers.empty(128), buffers.empty(4096, np.int8)
    mxint8.encode(x, scales, elements)
    expected = elements.tobytes()
    child = os.fork()
    if not child:  # nothing but the kernel: a test that failed here would run the rest of the suite
        elements[:] = 0
        mxint8.encode(x, scales, elements)
        os._exit(0 if elements.tobytes() == expected else 1)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        threading.Event().wait(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the kernel waits in the fork for threads that it does not have")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 1000, 100_000])
def test_buffers_start_on_a_cache_line(dtype, size):
    for _ in range(8):
        buffer = buffers.empty(size, dtype)
        assert buffer.shape == (size,)
        assert buffer.dtype == dtype
        assert buffer.ctypes.data % buffers.LINE == 0 or size == 0
