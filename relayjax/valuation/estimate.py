"""What an estimator returns, and how its values leave floating point.

Shapes: N participants, C coalitions, E validation examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from relayjax.errors import DataError

_EXAMPLES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class PostedTable:
    """The coalitions an estimate rests on: `values == coefficients @ utilities`, for anyone to redo.

    Attributes:
      coalitions: bool [C, N].
      utilities: v of each coalition, float64 [C], nats.
      coefficients: float64 [N, C].
    """

    coalitions: np.ndarray
    utilities: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True, eq=False)
class Estimate:
    """Values of all participants.

    Attributes:
      values: float64 [N], nats.
      stderr: standard error of `values`, float64 [N], nats; from the draw of validation examples, and for a
        sampling estimator from its sampling as well.
      sampling_stderr: the latter alone, which more coalitions would lower, float64 [N], nats.
      evaluations: distinct coalitions evaluated; for Aumann–Shapley, directional derivatives.
      method: the estimator's name.
      table: the evaluated coalitions, for estimators that evaluate coalitions.
      per_example: every example's own values, whose means `values` are, float64 [N, E], nats.
    """

    values: np.ndarray
    stderr: np.ndarray
    sampling_stderr: np.ndarray
    evaluations: int
    method: str
    table: PostedTable | None = None
    per_example: np.ndarray | None = None


def from_table(
    coalitions: np.ndarray,
    per_example: np.ndarray,
    coefficients: np.ndarray,
    method: str,
    sampling_variance: np.ndarray | float = 0.0,
) -> Estimate:
    """The estimate of a method whose values are linear in the utilities.

    Linearity gives every example's own values, φ_{·,e} = A v_e, and with them the standard error, in one
    matrix product.

    Args:
      coalitions: bool [C, N].
      per_example: utilities on each example, float [C, E], nats.
      coefficients: A, float64 [N, C].
      method: the estimator's name.
      sampling_variance: variance of the values for want of more coalitions, float64 [N], nats².

    Returns:
      The estimate; its variance is `sampling_variance` plus that of the draw of examples.

    Raises:
      DataError: fewer than two examples.
    """
    table = PostedTable(coalitions, per_example.mean(axis=1, dtype=np.float64), coefficients)
    sampling = np.broadcast_to(sampling_variance, len(coefficients))
    # What was evaluated is the largest thing there is: in float64 it is only ever held in parts.
    parts = np.array_split(per_example, -(-per_example.shape[1] // _EXAMPLES_AT_ONCE), axis=1)
    own = np.concatenate([coefficients @ part.astype(np.float64) for part in parts], axis=1)
    stderr = np.sqrt(example_variance(own) + sampling)
    values, evaluations = coefficients @ table.utilities, len(coalitions)
    return Estimate(values, stderr, np.sqrt(sampling), evaluations, method, table, own)


def example_variance(shares: np.ndarray) -> np.ndarray:
    """Variance that a mean over validation examples owes to their draw: var_e(φ_{i,e}) / E, unbiased.

    Args:
      shares: every example's own values, float64 [N, E], nats.

    Returns:
      float64 [N], nats².

    Raises:
      DataError: fewer than two examples.
    """
    examples = shares.shape[1]
    if examples < 2:
        raise DataError(f"{examples} validation example(s) give no standard error; hold out 2 or more")
    return shares.var(axis=1, ddof=1) / examples


def fixed_point(values: Iterable[float]) -> list[int]:
    """Values in nats as integer micro-nats, the form in which records hold them.

    Rounded half to even from the exact binary value: scaling in floating point first could round twice.

    Args:
      values: float [N], nats.

    Returns:
      N integers, micro-nats.

    Raises:
      DataError: a value is NaN or infinite.
    """
    values = [float(value) for value in values]
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise DataError(
                f"value {index} is {value}, which no record can hold; leave out what made the loss diverge"
            )
    return [round(Fraction(value) * 1_000_000) for value in values]
