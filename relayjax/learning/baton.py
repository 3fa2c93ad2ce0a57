"""The baton: everything a leg receives and hands on, as one flat vector.

First come the parameters, then what the leg's settings carry beside them: the optimizer's moments, a Fisher
information. Everything outside `learning` handles the whole vector alike (codec, digest, ledger, store), so
what is carried is recorded, sealed, composed and paid for in bytes like the parameters themselves.

P: parameters, C: numbers carried beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from relayjax.errors import ConfigError, FormatError
from relayjax.learning.layout import Layout, Params
from relayjax.weights import CARRIED


@dataclass(frozen=True)
class Baton:
    """Names, shapes and places of what is handed on.

    Attributes:
      params: layout of the parameters.
      carried: layout of what goes with them, or None where that is nothing.
    """

    params: Layout
    carried: Layout | None = None

    @classmethod
    def of(cls, params: Params, carried: Any = ()) -> Baton:
        """The baton of a parameter tree and a tree of float32 arrays carried with it.

        Raises:
          ConfigError: a parameter's name says that it is carried, or see `Layout.of`.
        """
        layout = Layout.of(params)
        for name in layout.names:
            if name.startswith(CARRIED):
                raise ConfigError(f"parameter {name}: what is handed on beside them is so named; rename it")
        return cls(layout, Layout.of(carried) if jax.tree.leaves(carried) else None)

    @property
    def size(self) -> int:
        """P + C."""
        return self.params.size + (self.carried.size if self.carried else 0)

    def flatten(self, params: Params, carried: Any = ()) -> jax.Array:
        """Both trees as one vector, float32 [P + C]."""
        flat = self.params.flatten(params)
        return flat if self.carried is None else jnp.concatenate([flat, self.carried.flatten(carried)])

    def unflatten(self, flat: jax.Array) -> tuple[Params, Any]:
        """The vector, float32 [P + C], as both trees; the second is () where nothing is carried.

        Raises:
          FormatError: the vector is not float32 [P + C].
        """
        if flat.shape != (self.size,):
            raise FormatError(f"the baton has {flat.shape} numbers; this leg takes ({self.size},)")
        params = self.params.unflatten(flat[: self.params.size])
        return params, self.carried.unflatten(flat[self.params.size :]) if self.carried else ()

    def name_at(self, index: int) -> str:
        """What an index of the vector belongs to, for messages."""
        if self.carried is None or index < self.params.size:
            return self.params.name_at(index)
        return CARRIED + self.carried.name_at(index - self.params.size)

    def describe(self) -> list[dict[str, Any]]:
        """Names and shapes in order, as JSON values; two batons that agree here can be exchanged."""
        described = self.params.describe()
        if self.carried is not None:
            described += [{**leaf, "name": CARRIED + leaf["name"]} for leaf in self.carried.describe()]
        return described
