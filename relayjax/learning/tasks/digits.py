"""Handwritten digits that come with scikit-learn: 1 797 pictures of 8×8, ten labels, no download.

Split at random into training (1 197), validation (250) and test (350) examples.

References: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

from relayjax.learning.classification import classification
from relayjax.learning.data import dirichlet_shards, take
from relayjax.learning.models import MLP
from relayjax.learning.task import Task, TaskSettings
from relayjax.settings import setting

VALIDATION, TEST = 250, 350


@dataclass(frozen=True)
class Digits(TaskSettings):
    """A small network on 8×8 digits whose labels are skewed over the participants."""

    hidden: tuple[int, ...] = setting((256,), "widths of the hidden layers", low=1)
    alpha: float = setting(0.1, "evenness of the labels over participants (Dirichlet)", above=0.0)
    development: int = setting(
        0, "validation pictures that everybody holds instead, for hand-on policies that look", low=0, high=200
    )
    minimum: int = setting(8, "fewest examples of a participant", unit="examples", low=1)

    def build(self, participants: int, seed: int) -> Task:
        """Splits the digits; see `TaskSettings.build`."""
        rng = np.random.default_rng(seed)
        pictures, labels = load_digits(return_X_y=True)
        everything = {"x": (pictures / 16).astype(np.float32), "y": labels.astype(np.int32)}
        mixed = take(everything, rng.permutation(len(labels)))
        train = take(mixed, slice(0, -VALIDATION - TEST))
        parts = dirichlet_shards(train["y"], participants, self.alpha, rng, self.minimum)
        return classification(
            "digits",
            lambda rngs: MLP(64, self.hidden, 10, rngs=rngs),
            classes=10,
            shards=tuple(take(train, part) for part in parts),
            validation=take(mixed, slice(-VALIDATION - TEST + self.development, -TEST)),
            development=take(mixed, slice(0, self.development)) if self.development else None,
            test=take(mixed, slice(-TEST, None)),
        )
