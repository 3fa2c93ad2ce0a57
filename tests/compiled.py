"""What the tests compile they compile once: the workers and the processes they start share JAX's cache.

Many tests play relays of the same shapes, and compiling took a third of their time. The cache is new in every
session, so nothing is run that another version of the code or of a library has compiled. Who sets
`JAX_COMPILATION_CACHE_DIR` keeps it.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_KEPT = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
_MADE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Makes the cache before workers are started and JAX is imported."""
    if _VARIABLE not in os.environ:
        config.stash[_MADE] = os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="relayjax-compiled-")
        os.environ |= _KEPT


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes it."""
    if made := config.stash.get(_MADE, None):
        shutil.rmtree(made, ignore_errors=True)
