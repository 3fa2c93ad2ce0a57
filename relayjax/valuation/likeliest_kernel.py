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

# A first choice, of share and rough variance under each metric, is made by so many contrasts: a matrix small
# enough for one thread of the linear algebra, since hundreds that wait for several would take seconds on a
# busy machine. What is left is compared on so many coalitions.
_CONTRASTS = 96
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
    participants = signs.shape[1]
    felt = np.linalg.pinv(signs) @ odd
    waves = [_wave(metric, _directions(felt), signs) for metric in _metrics(felt, signs)]
    grid = [replace(wave, share=share, rough=rough) for wave, share, rough in product(waves, _SHARES, _ROUGH)]
    ranked = _ranked(grid, signs, odd, participants + _CONTRASTS)
    best = {id(kernel.metric): kernel for kernel in reversed(ranked)}
    # More coalitions show what is smooth beneath what looked rough, not the other way round.
    finer = [
        replace(kernel, rough=rough) for kernel in best.values() for rough in _ROUGH if rough <= kernel.rough
    ]
    return _ranked(finer, signs, odd, participants + _JUDGES)[0]


def _ranked(kernels: list[OddKernel], signs: np.ndarray, odd: np.ndarray, judges: int) -> list[OddKernel]:
    """The kernels, likeliest first, as the first so many coalitions have it."""
    surprises = _surprises(kernels, signs[:judges], odd[:judges].mean(axis=1))
    return [kernels[index] for index in np.argsort(surprises, kind="stable")]


def _surprises(kernels: list[OddKernel], signs: np.ndarray, odd: np.ndarray) -> list[float]:
    """−log likelihood of what was seen under kernels of the same directions, up to a constant."""
    contrasts = _contrasts(signs)
    seen = contrasts.T @ odd
    ridges = contrasts.T @ kernels[0].ridges(signs, signs) @ contrasts
    metrics = {id(kernel.metric): kernel for kernel in kernels}
    waves = {name: contrasts.T @ kernel.waves(signs, signs) @ contrasts for name, kernel in metrics.items()}
    surprises = []
    for kernel in kernels:
        covariance = (1 - kernel.share) * waves[id(kernel.metric)] + kernel.share * ridges
        lower = cholesky(covariance + kernel.rough * np.eye(len(seen)), lower=True)
        white = solve_triangular(lower, seen, lower=True)
        # Nothing but additive: any kernel will do.
        size = max(white @ white, np.finfo(np.float64).tiny)
        surprises.append(len(seen) / 2 * np.log(size) + np.log(np.diag(lower)).sum())
    return surprises


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
