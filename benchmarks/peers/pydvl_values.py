"""pyDVL's permutation sampling of the Shapley values of composed parameters. Needs NumPy and pyDVL only.

The utility is what a user of pyDVL would write for speed: a subclass of its `UtilityBase` that composes in
one product and goes forward in float32, without caches and models to clone. A "leg" is as many valuations as
the description says.

N: participants, E: examples, P: parameters, D: inputs, H: hidden units.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib  # pyright: ignore[reportMissingImports]
import numpy as np
from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingImports]

from peers.protocol import serve

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # of pyDVL about what it is made of
    from pydvl.valuation import (  # pyright: ignore[reportMissingImports]
        Dataset,
        MaxUpdates,
        PermutationSampler,
        ShapleyValuation,
    )
    from pydvl.valuation.utility.base import UtilityBase  # pyright: ignore[reportMissingImports]


class Composed(UtilityBase):
    """Reduction of the mean cross-entropy by a coalition; the arrays are those of `worth/perceptron.py`."""

    def __init__(self, arrays: Any, hidden: int, classes: int):
        self.inputs, self.labels, self.base = arrays["inputs"], arrays["labels"], arrays["base"]
        self.moves = arrays["weights"][:, None] * arrays["deltas"]
        self.rows = np.arange(len(self.labels))
        sizes = (self.inputs.shape[1] * hidden, hidden, hidden * classes)
        self.shape, self.cuts = (hidden, classes), np.cumsum(sizes)
        self.before = self.loss(self.base)
        self.calls = [0]  # one list for all copies that pyDVL makes of the utility

    def loss(self, theta: np.ndarray) -> float:
        """Mean loss of parameters float32 [P], nats."""
        first, bias, second, last = np.split(theta, self.cuts)
        hidden = self.inputs @ first.reshape(-1, self.shape[0])
        hidden += bias
        np.maximum(hidden, 0, out=hidden)
        logits = hidden @ second.reshape(self.shape)
        logits += last
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.log(np.exp(logits).sum(axis=1)) - logits[self.rows, self.labels]
        return float(odds.mean(dtype=np.float64))

    def worth(self, members: np.ndarray) -> float:
        """v of some participants, by number."""
        present = np.zeros(len(self.moves), np.float32)
        present[members] = 1
        return self.before - self.loss(self.base + present @ self.moves)

    def __call__(self, sample: Any) -> float:
        if sample is None or len(sample.subset) == 0:
            return 0.0
        self.calls[0] += 1
        return self.worth(sample.subset)


def setup(spec: dict[str, Any]) -> tuple[str, Callable[[], Any], Callable[[], int | None]]:
    """See `protocol.serve`. Writes what some coalitions are worth and how many a valuation evaluates."""
    threadpool_limits(spec["threads"], user_api="blas")
    with np.load(spec["game"], allow_pickle=False) as arrays:
        utility = Composed({name: arrays[name] for name in arrays.files}, spec["hidden"], spec["classes"])
    participants = len(utility.moves)
    data = Dataset(np.arange(participants, dtype=np.float32)[:, None], np.zeros(participants))

    def value() -> None:
        sampler = PermutationSampler(seed=0)
        done = MaxUpdates(spec["evaluations"] // participants)
        with joblib.parallel_config("loky", n_jobs=1):  # one job: it is run here, without workers
            ShapleyValuation(utility, sampler, done, progress=False).fit(data)

    value()
    answer = {
        "version": metadata.version("pydvl"),
        "evaluations": utility.calls[0],
        "worth": [utility.worth(np.array(members)) for members in spec["coalitions"]],
    }
    Path(spec["answer"]).write_text(json.dumps(answer), "utf-8")
    return "cpu", lambda: [value() for _ in range(spec["times"])], lambda: None


if __name__ == "__main__":
    serve(setup)
