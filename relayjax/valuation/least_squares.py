"""Least squares over pairs of coalitions, and what its residuals say of the error.

Shapes: M pairs, F features.
"""

from __future__ import annotations

import numpy as np


def pseudoinverse(features: np.ndarray) -> np.ndarray:
    """The map from values to the coefficients of their least squares fit, the smallest if there are many.

        X⁺ = (Xᵀ X)⁺ Xᵀ

    Features here are signs and alike, well conditioned unless they are dependent, so that the small square
    matrix will do; the singular values of X would take many times as long.

    Args:
      features: X, float64 [M, F].

    Returns:
      float64 [F, M].
    """
    return np.linalg.pinv(features.T @ features, rcond=1e-10, hermitian=True) @ features.T


def error_variances(features: np.ndarray, inverse: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Variance of each value about the fit, ε² / (1 − h): unbiased where the variances are alike.

    Args:
      features: X, float64 [M, F].
      inverse: X⁺, float64 [F, M].
      values: what was fitted, float64 [M].

    Returns:
      float64 [M], in the square of the values' unit.

    References:
      MacKinnon and White, Some Heteroskedasticity-Consistent Covariance Matrix Estimators with Improved
      Finite Sample Properties, 1985 (HC2).
    """
    residuals = values - features @ (inverse @ values)
    leverage = np.einsum("mf,fm->m", features, inverse)
    # What the fit follows whatever its value (leverage 1) has no residual to tell its error by.
    return residuals**2 / np.maximum(1 - leverage, 1e-6)
