"""A flax model as two pure functions: what a `Task` is made of.

Only parameters are handed on in a relay, so a model that keeps other state (running means, random keys) is
refused here: what it keeps would be lost with every leg, and nobody would notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from relayjax.errors import ConfigError
from relayjax.learning.layout import Params

MakeModel = Callable[[nnx.Rngs], nnx.Module]
"""Makes a network with parameters drawn from the given keys."""


@dataclass(frozen=True)
class Functional:
    """A model without its arrays.

    Attributes:
      model: makes it.
      graph: the rest of it: its layers and how they are joined.
    """

    model: MakeModel
    graph: nnx.GraphDef

    @classmethod
    def of(cls, model: MakeModel) -> Functional:
        """Takes the model apart; building it abstractly costs no memory.

        Raises:
          ConfigError: the model keeps state that is not a parameter.
        """
        graph, _, rest = nnx.split(nnx.eval_shape(lambda: model(nnx.Rngs(0))), nnx.Param, ...)
        if leaves := jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(rest)):
            names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
            raise ConfigError(
                f"the model keeps state that is not a parameter: {', '.join(names)}; only parameters are "
                "handed on, so use layers without state (LayerNorm for BatchNorm, no Dropout)"
            )
        return cls(model, graph)

    def init(self, key: jax.Array) -> Params:
        """Parameters drawn from a random key, by path."""
        return nnx.to_pure_dict(nnx.state(self.model(nnx.Rngs(key)), nnx.Param))

    def apply(self, params: Params, *inputs: Any) -> Any:
        """The model's output with these parameters."""
        return nnx.merge(self.graph, params)(*inputs)

    def output_shape(self, params: Params, *inputs: Any) -> tuple[int, ...]:
        """Shape of the model's output; computes nothing.

        Args:
          params: parameters or their shapes.
          *inputs: arrays or their shapes.
        """
        return jax.eval_shape(self.apply, params, *inputs).shape
