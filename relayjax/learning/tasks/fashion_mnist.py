"""Fashion-MNIST: 70 000 pictures of clothes, 28×28, ten labels, read from its four IDX files.

Of the 60 000 training pictures 2 000 validate; the 10 000 test pictures are the test set.

References: Xiao, Rasul & Vollgraf, "Fashion-MNIST", arXiv 1708.07747.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flax import nnx

from relayjax.errors import DataError
from relayjax.learning.classification import classification
from relayjax.learning.data import dirichlet_shards, take
from relayjax.learning.idx import read_idx
from relayjax.learning.models import CNN, MLP
from relayjax.learning.sketches import Sketch, joined, sketch
from relayjax.learning.task import Batch, Task, TaskSettings
from relayjax.settings import setting

VALIDATION = 2000


@dataclass(frozen=True)
class FashionMnist(TaskSettings):
    """A network on pictures of clothes whose labels are skewed over the participants."""

    directory: str = setting("/usr/share/datasets/fashion-mnist", "folder that holds the IDX files")
    model: str = setting("mlp", "the network: fully connected or convolutional", choices=("mlp", "cnn"))
    hidden: tuple[int, ...] = setting((256,), "widths of the mlp's hidden layers", low=1)
    alpha: float = setting(0.1, "evenness of the labels over participants (Dirichlet)", above=0.0)
    development: int = setting(
        0,
        "validation pictures that everybody holds instead, for hand-on policies that look",
        low=0,
        high=1500,
    )
    sketch_rank: int = setting(
        0,
        "directions of each label that participants tell each other, for leg.rehearsal; 0: none",
        low=0,
        high=256,
    )
    minimum: int = setting(64, "fewest examples of a participant", unit="examples", low=1)

    def build(self, participants: int, seed: int) -> Task:
        """Reads and splits the pictures; see `TaskSettings.build`."""
        folder = Path(self.directory)
        rng = np.random.default_rng(seed)
        known, test = _read(folder, "train"), _read(folder, "t10k")
        if len(known["y"]) <= VALIDATION:
            raise DataError(
                f"{folder}: {len(known['y'])} training pictures are too few, {VALIDATION} validate"
            )
        known = take(known, rng.permutation(len(known["y"])))
        train = take(known, slice(VALIDATION, None))
        parts = dirichlet_shards(train["y"], participants, self.alpha, rng, self.minimum)
        shards = tuple(take(train, part) for part in parts)
        return classification(
            "fashion_mnist",
            self._network,
            classes=10,
            shards=shards,
            validation=take(known, slice(self.development, VALIDATION)),
            development=take(known, slice(0, self.development)) if self.development else None,
            test=test,
            told=self._told(shards) if self.sketch_rank else None,
        )

    def _told(self, shards: tuple[Batch, ...]) -> Sketch:
        """What the participants tell of their pictures, each of its own."""
        return joined(
            [sketch(shard["x"] / np.float32(255), shard["y"], self.sketch_rank) for shard in shards]
        )

    def _network(self, rngs: nnx.Rngs) -> nnx.Module:
        if self.model == "cnn":
            return CNN(28, 28, 10, rngs=rngs)
        return MLP(28 * 28, self.hidden, 10, rngs=rngs)


def _read(folder: Path, split: str) -> Batch:
    pictures = read_idx(_find(folder, f"{split}-images-idx3-ubyte"), 3)
    labels = read_idx(_find(folder, f"{split}-labels-idx1-ubyte"), 1)
    if pictures.shape[1:] != (28, 28) or len(pictures) != len(labels):
        raise DataError(
            f"{folder}: {split} has pictures {list(pictures.shape)} and {len(labels)} labels; "
            "expected as many pictures of 28×28 as labels"
        )
    return {"x": pictures, "y": labels.astype(np.int32)}


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"{folder / name} is missing, plain or .gz; install the Debian package dataset-fashion-mnist, "
        "or put the four IDX files of Fashion-MNIST into a folder and give it as the task's directory"
    )
