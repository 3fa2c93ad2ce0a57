"""A flax model as two pure functions: what a `Task` is made of.

Only parameters are handed on in a relay, so a model that keeps other state (running means, random keys) is
refused here: what it keeps would be lost with every leg, and nobody would notice.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from relayjax.errors import ConfigError
from relayjax.learning.layout import Params

MakeModel = Callable[[nnx.Rngs], nnx.Module]
"""Makes a network with parameters drawn from the given keys."""


class BeginsDense(nnx.Module, abc.ABC):
    """A network that says of itself that it begins with a dense layer, applied to its inputs as they are.

        model(x) = model.after_first(x.reshape(B, D) @ kernel + bias)

    Whoever values many models that differ in their parameters alone can then compute the layer's share once.
    A subclass with a `__call__` of its own makes no such promise.
    """

    @property
    @abc.abstractmethod
    def first_layer(self) -> str | None:
        """Path of the layer's `kernel` and `bias`, such as "layers/0"; None unless it computes in float32."""

    @abc.abstractmethod
    def after_first(self, pre_activations: jax.Array) -> jax.Array:
        """The model's output from what the first layer puts out, float32 [B, H]."""

    @abc.abstractmethod
    def first(self, x: jax.Array) -> jax.Array:
        """The first layer, [B, D] → [B, H]."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.after_first(self.first(x.reshape(len(x), -1)))


@dataclass(frozen=True)
class Functional:
    """A model without its arrays.

    Attributes:
      model: makes it.
      graph: the rest of it: its layers and how they are joined.
      first_layer: path of the dense layer it begins with, if it says that it does.
    """

    model: MakeModel
    graph: nnx.GraphDef
    first_layer: str | None = None

    @classmethod
    def of(cls, model: MakeModel) -> Functional:
        """Takes the model apart; building it abstractly costs no memory.

        Raises:
          ConfigError: the model keeps state that is not a parameter.
        """
        network = nnx.eval_shape(lambda: model(nnx.Rngs(0)))
        graph, _, rest = nnx.split(network, nnx.Param, ...)
        if leaves := jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(rest)):
            names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
            raise ConfigError(
                f"the model keeps state that is not a parameter: {', '.join(names)}; only parameters are "
                "handed on, so use layers without state (LayerNorm for BatchNorm, no Dropout)"
            )
        first = None
        if isinstance(network, BeginsDense) and type(network).__call__ is BeginsDense.__call__:
            first = network.first_layer
        return cls(model, graph, first)

    def init(self, key: jax.Array) -> Params:
        """Parameters drawn from a random key, by path."""
        return nnx.to_pure_dict(nnx.state(self.model(nnx.Rngs(key)), nnx.Param))

    def apply(self, params: Params, *inputs: Any) -> Any:
        """The model's output with these parameters."""
        return nnx.merge(self.graph, params)(*inputs)

    def after_first(self, params: Params, pre_activations: jax.Array) -> jax.Array:
        """The model's output from what its first layer puts out, float32 [B, H].

        Only for a model with a `first_layer`, whose own parameters are not read.
        """
        return nnx.merge(self.graph, params).after_first(pre_activations)

    def output_shape(self, params: Params, *inputs: Any) -> tuple[int, ...]:
        """Shape of the model's output; computes nothing.

        Args:
          params: parameters or their shapes.
          *inputs: arrays or their shapes.
        """
        return jax.eval_shape(self.apply, params, *inputs).shape
