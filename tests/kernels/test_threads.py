"""Threads that kernels keep, and memory that starts on a cache line."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from relayjax.kernels import buffers, mxfp4, mxfp4_reference, mxint8, mxint8_reference, threads


@pytest.fixture(params=[1, 2, 3, 4])
def cores(request, monkeypatch):
    """As many threads as on a machine of so many cores."""
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: request.param)
    threads._kept.cache_clear()
    yield request.param
    threads._kept.cache_clear()


def test_blocks_are_covered_once_by_every_number_of_threads(cores):
    for size in (1, 31, 32, 33, 1000, 4096):
        seen = np.zeros(-(-size // 32), int)

        def touch(count, first, last):
            count[first:last] += 1

        threads.over_blocks(touch, size, 32, seen)
        assert (seen == 1).all()


@pytest.mark.parametrize("size", [512 * 9, 32 * 66, 32 * 77 + 5, 32 * 2])
def test_every_number_of_threads_streams_the_same_bytes(cores, size, monkeypatch):
    monkeypatch.setattr(threads, "STREAM_FROM", 1)
    x = np.random.default_rng(0).standard_normal(size, np.float32)
    for kernel, reference in ((mxfp4, mxfp4_reference), (mxint8, mxint8_reference)):
        scales = buffers.empty(kernel.block_count(size))
        elements = buffers.empty(kernel.element_count(size), kernel.ELEMENT)
        kernel.encode(x, scales, elements)
        other = np.empty_like(scales), np.empty_like(elements)
        reference.encode(x, *other)
        assert (scales.tobytes(), elements.tobytes()) == (other[0].tobytes(), other[1].tobytes())


def test_nothing_is_written_any_more_when_one_thread_has_failed(cores):
    seen: list[int] = []

    def one_fails(first, last):
        if first == 0:
            raise ValueError("no")
        threading.Event().wait(0.2)
        seen.append(first)

    with pytest.raises(ValueError, match="no"):
        threads.over_blocks(one_fails, 16 * 64, 1)
    assert len(seen) == cores - 1


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
