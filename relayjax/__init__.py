"""RelayJAX: decentralized relay learning in JAX.

Importing the package imports no accelerator stack: who audits a ledger needs none.
Frontends start at `relayjax.backend`.
"""

__version__ = "0.1.0"
