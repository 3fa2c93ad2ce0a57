"""The same leg in PyTorch, eager or compiled: same shapes, batches, optimizer and arithmetic.

Written as one would in PyTorch: modules in a list, its own fused attention and optimizer, `torch.compile`
over the loss. Needs nothing of RelayJAX, so it can run under another Python.

B: sequences, T: tokens of a sequence, W: width, N: heads, D = W / N.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from peers.protocol import serve

EPSILON = 1e-6
ROTARY_BASE = 10_000.0


class Attention(nn.Module):
    """Causal attention with rotary positions, [B, T, W] to the same."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.heads = heads

    def forward(self, x: Any, cos: Any, sin: Any) -> Any:
        shape = (*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
        query, key, value = (f(x).view(shape).transpose(1, 2) for f in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(
            rotate(query, cos, sin), rotate(key, cos, sin), value, is_causal=True
        )
        return self.out(mixed.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    """Attention, then a gated MLP, each behind a norm and added to its input [B, T, W]."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.attention_norm, self.mlp_norm = (nn.RMSNorm(width, EPSILON) for _ in range(2))
        self.attention = Attention(width, heads)
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Any, cos: Any, sin: Any) -> Any:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Transformer(nn.Module):
    """Tokens [B, T] to logits [B, T, V]."""

    def __init__(self, model: dict[str, Any]):
        super().__init__()
        width, heads = model["width"], model["heads"]
        self.embedding = nn.Embedding(model["vocabulary"], width)
        self.blocks = nn.ModuleList(Block(width, heads, model["hidden"]) for _ in range(model["layers"]))
        self.norm = nn.RMSNorm(width, EPSILON)
        self.head = nn.Linear(width, model["vocabulary"], bias=False)
        if model["tied"]:
            self.head.weight = self.embedding.weight
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        wavelengths = ROTARY_BASE ** (torch.arange(0, width // heads, 2) / (width // heads))
        angles = torch.arange(model["context"])[:, None] / wavelengths
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.remat = model["remat"]

    def forward(self, tokens: Any) -> Any:
        x = self.embedding(tokens)
        for block in self.blocks:
            if self.remat:
                x = torch.utils.checkpoint.checkpoint(block, x, self.cos, self.sin, use_reentrant=False)
            else:
                x = block(x, self.cos, self.sin)
        return self.head(self.norm(x)).float()


def rotate(x: Any, cos: Any, sin: Any) -> Any:
    """Turns the pair (i, i + D / 2) of every head, x [B, N, T, D]."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


def setup(spec: dict[str, Any]) -> tuple[str, Callable[[], Any], Callable[[], int | None]]:
    """See `protocol.serve`."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    if not on_gpu:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(0)
    model, leg = spec["model"], spec["leg"]
    network = Transformer(model).to(device)
    data = torch.randint(0, model["vocabulary"], (spec["examples"], model["context"] + 1), device=device)
    optimizer = _optimizer(network, leg)
    bfloat16 = model["compute"] == "bfloat16"

    def loss(tokens: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16) if bfloat16 else contextlib.nullcontext():
            logits = network(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    if spec["compiled"]:
        loss = torch.compile(loss)

    def train() -> None:
        for _ in range(leg["steps"]):
            drawn = torch.randint(0, len(data), (leg["batch_size"],), device=device)
            optimizer.zero_grad(set_to_none=True)
            loss(data[drawn]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), leg["clip_norm"])
            optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()

    def memory() -> int | None:
        return torch.cuda.max_memory_allocated() if on_gpu else None

    return torch.cuda.get_device_name() if on_gpu else "cpu", train, memory


def _optimizer(network: Any, leg: dict[str, Any]) -> Any:
    if leg["optimizer"] == "sgd":
        return torch.optim.SGD(network.parameters(), leg["learning_rate"], leg["momentum"], fused=True)
    return torch.optim.AdamW(network.parameters(), leg["learning_rate"], fused=True)


if __name__ == "__main__":
    serve(setup)
