"""Models that ship with RelayJAX; any flax `nnx.Module` whose state is parameters alone does as well.

Parameters are float32, because they travel so; `dtype` names the type a model computes in. Outputs are
logits, float32.
"""

from relayjax.learning.models.cnn import CNN
from relayjax.learning.models.mlp import MLP
from relayjax.learning.models.transformer import Transformer, TransformerSettings, flops_per_token

__all__ = ["CNN", "MLP", "Transformer", "TransformerSettings", "flops_per_token"]
