"""Which of a grid of prior covariances explains best what was evaluated.

Shapes: N participants, M coalitions (one of each pair), E validation examples, J judges, F contrasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from relayjax.valuation.odd_kernel import OddKernel

# The choice is made on the first so many coalitions: they tell as much as all, and it stays cheap.
_JUDGES = 256

# Largest xᵀAy on the coalitions at hand: far below 1 interactions of third order are all there is, at 9 the
# game is as good as discontinuous.
_REACHES = (0.3, 1.0, 3.0, 9.0)
_SHARES = (0.0, 0.5, 0.9, 0.99, 1.0)
_ROUGH = (1e-6, 1e-4, 1e-2, 1.0, 100.0)

# How much of the learnt metric is the plain one, so that nobody's difference from others goes unseen.
_PLAIN = 0.1


def likeliest_kernel(signs: np.ndarray, odd: np.ndarray) -> OddKernel:
    """The covariance under which the mean odd part is likeliest, whatever its additive part and amplitude.

        maximise  −F/2 log zᵀK_F⁻¹z − 1/2 log det K_F,   z = Fᵀ mean_e o,  K_F = FᵀKF,  FᵀX = 0

    over the metrics below, the share of the ridges and the rough variance. Directions and the learnt metric
    come from the examples: d_e ∝ β_e, an example's additive part, and A ∝ Σ_e β_e β_eᵀ, under which
    participants that act alike on the examples may stand in for each other.

    Args:
      signs: X, float64 [M, N].
      odd: odd part on each example, float64 [M, E].

    Returns:
      The kernel, of typical size 1.

    References:
      Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006 (section 5.4.1).
      Harville, Maximum Likelihood Approaches to Variance Component Estimation, 1977 (section 5.1).
    """
    felt = np.linalg.pinv(signs) @ odd
    signs, odd = signs[:_JUDGES], odd[:_JUDGES]
    contrasts = _contrasts(signs)
    seen = contrasts.T @ odd.mean(axis=1)

    def covariance(kernel: OddKernel) -> np.ndarray:
        return contrasts.T @ kernel.smooth(signs, signs) @ contrasts

    waves = [_wave(metric, _directions(felt), signs) for metric in _metrics(felt, signs)]
    ridges = covariance(replace(waves[0], share=1.0))
    best, least = waves[0], np.inf
    for wave in waves:
        waving = covariance(wave)
        for share, rough in product(_SHARES, _ROUGH):
            mixed = (1 - share) * waving + share * ridges
            surprise = _surprise(mixed + rough * np.eye(len(seen)), seen)
            if surprise < least:
                best, least = replace(wave, share=share, rough=rough), surprise
    return best


def _contrasts(signs: np.ndarray) -> np.ndarray:
    """Orthonormal combinations of coalitions that no additive game tells from 0, float64 [J, F]."""
    left, sizes, _ = np.linalg.svd(signs)
    return left[:, np.count_nonzero(sizes > 1e-9 * sizes[0]) :]


def _metrics(felt: np.ndarray, signs: np.ndarray) -> Iterator[np.ndarray]:
    """Candidates for A, float64 [N, N]: the plain and the learnt one, in several reaches."""
    plain = np.eye(len(felt)) / len(felt)
    alike = felt @ felt.T
    for metric in (plain, _PLAIN * plain + (1 - _PLAIN) * alike / (np.trace(alike) or 1)):
        largest = np.sum(signs @ metric * signs, axis=1).max()
        for reach in _REACHES:
            yield metric * reach / largest


def _directions(felt: np.ndarray) -> np.ndarray:
    """The examples' directions, scaled so that Σ_e (x·d_e)⁶ is 1 on average, by (x·d)⁶ ≈ 15 |d|⁶."""
    total = 15 * np.sum(np.linalg.norm(felt, axis=0) ** 6)
    return felt / (total ** (1 / 6) or 1)


def _wave(metric: np.ndarray, directions: np.ndarray, signs: np.ndarray) -> OddKernel:
    """The kernel's first term alone, 1 on average over the coalitions themselves."""
    reached = np.sum(signs @ metric * signs, axis=1)
    return OddKernel(metric, float(np.mean(np.sinh(reached) - reached)), directions, 0.0, 0.0)


def _surprise(covariance: np.ndarray, seen: np.ndarray) -> float:
    """−log likelihood of contrasts at the likeliest amplitude, up to a constant."""
    lower = cholesky(covariance, lower=True)
    white = solve_triangular(lower, seen, lower=True)
    # Nothing but additive: any kernel will do.
    size = max(white @ white, np.finfo(np.float64).tiny)
    return len(seen) / 2 * np.log(size) + np.log(np.diag(lower)).sum()
