"""The plain NumPy twin of `products.dot`: the same bits, written for reading."""

from __future__ import annotations

import numpy as np

from relayjax.kernels.products import LANES, ROWS, TILE


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Multiplies two vectors; see `products.dot`."""
    products = a.astype(np.float64) * b.astype(np.float64)
    whole = len(products) // TILE * TILE
    tiles = products[:whole].reshape(-1, ROWS, LANES)
    lanes = np.zeros((len(tiles), LANES))
    for row in range(ROWS):
        lanes = lanes + tiles[:, row]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    total = 0.0
    for value in (*lanes[:, 0].tolist(), *products[whole:].tolist()):
        total += value
    return total
