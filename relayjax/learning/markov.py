"""Texts that participants tell each other before the relay: drawn from a Markov chain of their own texts.

What a sketch (`sketches.py`) is for labels. Each participant writes sequences in which every byte follows
the few before it as often as in its own texts, and gives them to all; a leg rehearses from those of all
participants beside its own texts, so that no kind is unlearnt. What is said there holds here: **it tells
something**, every run of `order` + 1 bytes in it stands in the teller's texts, names included, and with a
long order whole phrases do; and it is believed.

Shapes: n sequences of L bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from relayjax.errors import DataError
from relayjax.learning.task import Batch


def tell(texts: np.ndarray, order: int, count: int, seed: int) -> np.ndarray:
    """Draws sequences from a Markov chain.

    Args:
      texts: uint8 [n, L].
      order: bytes that the next one depends on, 1 to 7 and below L.
      count: sequences to draw.
      seed: of the draw.

    Returns:
      uint8 [count, L]; each begins as one of the texts does. Where no text goes on after the last bytes, as
      may be at the end of one, any byte of the texts comes next.

    Raises:
      DataError: there are no texts, or the order is not one of them.
    """
    n, length = texts.shape
    if not n or not 1 <= order < min(length, 8):
        raise DataError(f"markov: takes texts longer than the order, and an order of 1 to 7, not {order}")
    places = np.lib.stride_tricks.sliding_window_view(texts, order + 1, axis=1).reshape(-1, order + 1)
    powers = 256 ** np.arange(order, dtype=np.int64)
    contexts = places[:, :order] @ powers
    by_context = np.argsort(contexts, kind="stable")
    contexts, following = contexts[by_context], places[by_context, order]
    rng = np.random.default_rng(seed)
    told = np.zeros((count, length), np.uint8)
    told[:, :order] = texts[rng.integers(0, n, count), :order]
    for place in range(order, length):
        now = told[:, place - order : place] @ powers
        first, last = (np.searchsorted(contexts, now, side=side) for side in ("left", "right"))
        known = last > first
        first, last = np.where(known, first, 0), np.where(known, last, len(contexts))
        told[:, place] = following[rng.integers(first, last)]
    return told


class Rehearsal:
    """Draws sequences that were told, those of every participant as often as any other's.

    Attributes:
      nbytes: bytes that each participant has to be told for it.
    """

    def __init__(self, told: Sequence[np.ndarray], kinds: Sequence[int]):
        """Prepares.

        Args:
          told: of each participant, uint8 [count, L], equally many.
          kinds: the number of each one's kind of text.

        Raises:
          DataError: they are not equally many, or not equally long.
        """
        if len({each.shape for each in told}) != 1 or len(kinds) != len(told):
            raise DataError(
                "markov: participants tell equally many sequences, equally long; agree on both before"
            )
        self._told, self._kinds = jnp.asarray(np.stack(told)), jnp.asarray(kinds, jnp.int32)
        self.nbytes = int(self._told.nbytes)

    def __call__(self, key: jax.Array, count: int) -> Batch:
        """Draws a batch: "tokens" uint8 [count, L], "kind" int32 [count]; pure, and traced by `jax.jit`."""
        teller_key, place_key = jax.random.split(key)
        participants, sequences, _ = self._told.shape
        teller = jax.random.randint(teller_key, (count,), 0, participants)
        place = jax.random.randint(place_key, (count,), 0, sequences)
        return {"tokens": self._told[teller, place], "kind": self._kinds[teller]}
