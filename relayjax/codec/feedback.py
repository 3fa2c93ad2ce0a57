"""Error feedback: what a payload leaves out is added to the next leg, so that nothing is lost, only late.

A trainer that received `parent`, trained `child` and holds the residual `r` of its earlier legs computes

    target   = child + r
    payload  = encode(parent, target)
    seen     = apply(payload, parent)               what everybody else takes for the child
    r        ← target - seen

The residual starts as zeros and is float32 `[P]`, like the parameters. It is the trainer's own, or travels
with the model; either way it is kept as it was if the delta is refused, because then nothing of `target`
arrived.

References:
  Seide et al., *1-Bit Stochastic Gradient Descent*, Interspeech 2014; Stich et al., *Sparsified SGD with
  Memory*, NeurIPS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relayjax.codec.base import Codec, check_finite, check_vectors


@dataclass(frozen=True)
class Encoded:
    """A leg's delta, encoded.

    Attributes:
      payload: the bytes.
      child: what the payload makes of the parent, float32 `[P]`.
      residual: what the next leg has to make up for, float32 `[P]`; None if the codec needs no feedback.
    """

    payload: bytes
    child: np.ndarray
    residual: np.ndarray | None


def encode(codec: Codec, parent: np.ndarray, child: np.ndarray, residual: np.ndarray | None) -> Encoded:
    """Encodes the step from parent to child with any codec.

    Args:
      codec: where it needs no feedback and there is no residual, the child is encoded as it is.
      parent: float32 `[P]`.
      child: float32 `[P]`.
      residual: of the trainer's leg before, float32 `[P]`; None for its first.

    Raises:
      NonFiniteError: the parent, the child, the residual or a sum or difference of them is not finite.
      FormatError: the vectors are not float32 `[P]` of one size.
    """
    if residual is None and not codec.needs_feedback:
        payload = codec.encode(parent, child)
        return Encoded(payload, codec.apply(payload, parent), None)
    if residual is None:
        residual = np.zeros_like(child)
    check_vectors(parent=parent, child=child, residual=residual)
    with np.errstate(over="ignore", invalid="ignore"):  # reported below, with its index
        target = np.add(child, residual)
    check_finite("child + residual", target)
    payload = codec.encode_once(parent, target)
    seen = codec.apply(payload, parent)
    with np.errstate(over="ignore"):  # the next leg's sum reports it
        np.subtract(target, seen, out=target)
    return Encoded(payload, seen, target)
