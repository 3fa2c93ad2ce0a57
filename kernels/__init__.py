"""Numba kernels over flat arrays. They know nothing of relays. Imported as `relayjax.kernels`."""
