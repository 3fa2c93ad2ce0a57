"""What participants tell of their data before the relay begins: a Gaussian for each of their labels.

Where most participants hold one or two labels, no leg sees what tells a shirt from a coat, and what no leg
sees, no merging of deltas brings back. A *sketch* holds, for every label a participant has enough of, the
mean of its inputs and the directions in which they spread most. Everybody draws examples of every label from
the sketches of all and rehearses them beside its own (`objectives.rehearsal`).

**It is told on purpose, and it tells something**, to everybody who trains: which labels a participant has,
how many examples of each, their mean and the main directions of their inputs, over at least `LEAST` examples
and `PER_DIRECTION` for every direction. No example goes along, but there is no noise in it, and nothing is
promised about what may be concluded of one. Without sketches nothing leaves a participant but its deltas.

**It is believed**: only that its numbers are in bounds can be checked, not that they are of anybody's data.

Shapes: n examples of D numbers, M pairs of a participant and a label, R directions of each.

References: pseudo-rehearsal: Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", Connection
Science 7, 1995; Gaussians of labels told by federated participants: Luo et al., "No fear of heterogeneity",
arXiv 2106.05001, section 4, there of features and after training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from relayjax.errors import DataError
from relayjax.learning.interchange import load_arrays, save_weights
from relayjax.learning.task import Batch

LEAST = 20
"""Examples of a label below which nothing is told of it."""

PER_DIRECTION = 10
"""Examples of a label for each direction that is told."""

GROUP, GROUPS = 4, 8
"""Examples that one Gaussian is asked for at once, as each look at one reads all of its directions; but a
draw asks so many Gaussians at least."""

LARGEST = 1e6
"""Largest magnitude in a sketch. What training meets is scaled; larger numbers would only overflow."""

SLACK = 1e-3
"""How far rounding may move a mean beyond the bounds of its inputs."""

LIMIT = 1 << 30
"""Most bytes of a file."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """Gaussians of labels.

    Attributes:
      labels: int32 [M].
      counts: examples behind each, int32 [M].
      means: float32 [M, D].
      spreads: directions, each as long as the standard deviation along it, zeros where there are fewer than
        R; float32 [M, R, D].
    """

    labels: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    spreads: np.ndarray

    def __post_init__(self) -> None:
        count, width = self.means.shape
        if not self.labels.shape == self.counts.shape == (count,) or self.spreads.shape != (
            count,
            self.spreads.shape[1],
            width,
        ):
            raise DataError("sketch: labels, counts, means and spreads do not fit each other; write it again")
        if not all((np.abs(numbers) <= LARGEST).all() for numbers in (self.means, self.spreads)):
            raise DataError(
                f"sketch: holds NaN or numbers beyond {LARGEST:g}; clean and scale the data first"
            )
        if (self.labels < 0).any() or (self.counts < 1).any():
            raise DataError("sketch: labels are 0 or more, and counts 1 or more; write it again")

    @property
    def size(self) -> int:
        """How many numbers are told."""
        return self.means.size + self.spreads.size


def sketch(x: np.ndarray, y: np.ndarray, rank: int) -> Sketch:
    """Sketches one participant's data.

    Args:
      x: inputs as the model sees them, float32 [n, …].
      y: labels, int32 [n].
      rank: R, at least 1.

    Returns:
      A Gaussian for each label that has `LEAST` examples; its covariance is that of the inputs along the R
      directions of most variance, and none across.

    Raises:
      DataError: there is no such rank, or inputs are not finite or not scaled.
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    if rank < 1 or not (np.abs(flat) <= LARGEST).all():
        raise DataError(f"sketch: takes inputs within {LARGEST:g} and a rank of 1 or more, not {rank}")
    told = [label for label in np.unique(y) if np.count_nonzero(y == label) >= LEAST]
    means, spreads = np.zeros((len(told), flat.shape[1])), np.zeros((len(told), rank, flat.shape[1]))
    for place, label in enumerate(told):
        own = flat[y == label]
        means[place] = own.mean(axis=0)
        directions = _directions(own - means[place])[: min(rank, len(own) // PER_DIRECTION)]
        spreads[place, : len(directions)] = directions
    counts = [np.count_nonzero(y == label) for label in told]
    numbers = (np.array(told, np.int32), np.array(counts, np.int32))
    return Sketch(*numbers, means.astype(np.float32), spreads.astype(np.float32))


def _directions(centred: np.ndarray) -> np.ndarray:
    """Directions of most variance first, each as long as the standard deviation along it, of [n, D].

    Their signs are set: with others the same key would draw other examples.
    """
    count, width = centred.shape
    if count < width:
        _, lengths, rows = np.linalg.svd(centred, full_matrices=False)
        found = rows * (lengths / np.sqrt(count))[:, None]
    else:
        variances, columns = np.linalg.eigh(centred.T @ centred / count)
        found = (columns * np.sqrt(variances.clip(0))).T[::-1]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1)
    return np.where(largest < 0, -found, found)


def joined(sketches: Sequence[Sketch]) -> Sketch:
    """All Gaussians of some participants, in their order.

    Raises:
      DataError: they are of other inputs, or of another rank.
    """
    if len({one.spreads.shape[1:] for one in sketches}) != 1:
        raise DataError("sketches differ in their inputs or their rank; agree on both before the relay")
    names = ("labels", "counts", "means", "spreads")
    return Sketch(*(np.concatenate([getattr(one, name) for one in sketches]) for name in names))


def save(path: Path, one: Sketch) -> None:
    """Writes a sketch as a safetensors file, whole or not at all."""
    numbers = {name: getattr(one, name).astype(np.float32) for name in ("labels", "counts")}
    save_weights(
        path, {**numbers, "means": one.means, "spreads": one.spreads}, {"format": "relayjax sketch 1"}
    )


def load(path: Path) -> Sketch:
    """Reads a sketch that anybody may have written.

    Raises:
      FormatError: not a safetensors file.
      DataError: it cannot be read, or is not a sketch.
    """
    found = load_arrays(path, LIMIT)
    ranks = {"labels": 1, "counts": 1, "means": 2, "spreads": 3}
    if {name: array.ndim for name, array in found.items()} != ranks:
        raise DataError(f"{path}: holds {len(found)} arrays that are not the {sorted(ranks)} of a sketch")
    for name in ("labels", "counts"):
        if not (
            np.isfinite(found[name]) & (found[name] == np.rint(found[name])) & (found[name] < 1 << 24)
        ).all():
            raise DataError(f"{path}: {name} are not whole numbers; write it again")
    return Sketch(
        found["labels"].astype(np.int32), found["counts"].astype(np.int32), found["means"], found["spreads"]
    )


class Rehearsal:
    """Draws examples from sketches: every label as often as any other, of it every participant by its count.

    Attributes:
      nbytes: bytes that each participant has to be told for it.
    """

    def __init__(self, told: Sketch, shape: tuple[int, ...], bounds: tuple[float, float] | None = None):
        """Prepares.

        Args:
          told: of all participants, `joined`.
          shape: of an input.
          bounds: what inputs lie between; None where nothing is known.

        Raises:
          DataError: there is no label, or inputs are of another size or beyond the bounds.
        """
        if not len(told.labels) or told.means.shape[1] != np.prod(shape, dtype=int):
            raise DataError(
                f"sketches tell of {len(told.labels)} labels and inputs of {told.means.shape[1]} numbers; "
                f"rehearsal needs at least one label, and inputs of {list(shape)}"
            )
        low, high = bounds or (-np.inf, np.inf)
        within = (told.means >= low - SLACK) & (told.means <= high + SLACK)
        if not within.all() or np.abs(told.spreads).max(initial=0) > high - low:
            raise DataError(
                f"sketches: inputs lie between {low} and {high}; sketch them as the model sees them"
            )
        self.nbytes, self._shape, self._bounds = 4 * told.size, shape, bounds
        _, number = np.unique(told.labels, return_inverse=True)
        totals = np.bincount(number, weights=told.counts)
        self._chances = jnp.log(jnp.asarray(told.counts / totals[number], jnp.float32))
        self._labels, self._means, self._spreads = map(jnp.asarray, (told.labels, told.means, told.spreads))

    def __call__(self, key: jax.Array, count: int) -> Batch:
        """Draws a batch: "x" float32 [count, …] and "y" int32 [count]; pure, and traced by `jax.jit`."""
        group = max(1, min(GROUP, count // GROUPS))
        groups = -(-count // group)
        which_key, where_key = jax.random.split(key)
        which = jax.random.categorical(which_key, self._chances, shape=(groups,))
        where = jax.random.normal(where_key, (groups, group, self._spreads.shape[1]))
        x = self._means[which][:, None] + jnp.einsum("gnr,grd->gnd", where, self._spreads[which])
        if self._bounds is not None:
            x = jnp.clip(x, *self._bounds)
        y = jnp.repeat(self._labels[which], group, total_repeat_length=groups * group)
        return {"x": x.reshape(-1, *self._shape)[:count], "y": y[:count]}
