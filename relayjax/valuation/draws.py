"""Random numbers on the host that depend on a key alone: not on jax's version, numpy's or the machine.

Who re-derives a posted estimate must draw the coalitions that were drawn then. Neither `jax.random` nor
`numpy.random.Generator` promises its sequences to later versions; numpy's bit generators do, so everything
here is made from their words.

Shapes: R orders, N participants.
"""

from __future__ import annotations

import math

import jax
import numpy as np
from scipy.special import ndtri


class Draws:
    """A stream of random numbers: to draw fewer of them is to draw the first of what drawing more gives."""

    def __init__(self, key: jax.Array):
        """Starts the stream of a key.

        Args:
          key: `jax.random.key`, of any implementation.
        """
        words = np.asarray(jax.random.key_data(key)).ravel().tolist()
        self._bits = np.random.Philox(np.random.SeedSequence(words))

    def uniform(self, *shape: int) -> np.ndarray:
        """Uniform on the multiples of 2⁻⁵³ in [0, 1), float64."""
        words = np.asarray(self._bits.random_raw(math.prod(shape)), dtype=np.uint64)
        return (words >> np.uint64(11)).reshape(shape) * 2.0**-53

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal, by the inverse distribution function, float64."""
        return ndtri(self.uniform(*shape) + 2.0**-54)

    def orders(self, count: int, participants: int) -> np.ndarray:
        """Uniform orders, int [R, N]: who comes first, second, ..."""
        return self.uniform(count, participants).argsort(axis=1, kind="stable")
