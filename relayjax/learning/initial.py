"""Weights made elsewhere, to start from: a file, and the digest that says what must be in it.

    relayjax open runs/first --key=runs/first/keys/p0 --out=first.safetensors      # prints their digest
    relayjax run … --config.initial.weights=first.safetensors --config.initial.digest=…

A config is part of the ledger, where a path alone says nothing about the weights it leads to.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from relayjax.errors import ConfigError, DataError
from relayjax.learning.interchange import load_weights
from relayjax.learning.layout import Layout
from relayjax.learning.task import Task
from relayjax.settings import Settings, setting
from relayjax.weights import digest


@dataclass(frozen=True)
class Initial(Settings):
    """Weights that a run starts from. They lie open in its store: start from what may be given away."""

    weights: str = setting("", "safetensors file of the weights; none: the task's own initial ones")
    digest: str = setting("", "BLAKE3 of these weights as one float32 vector, hexadecimal")

    def check(self) -> None:
        if self.digest and not self.weights:
            raise ConfigError(f"digest={self.digest}: is that of no weights; give their file as weights, too")

    def task(self, task: Task) -> Task:
        """The same task, whose initial parameters are these weights, whatever the random key.

        Raises:
          DataError: the weights cannot be read, do not fit, or are not those of the digest.
          FormatError: the file is no safetensors file.
        """
        if not self.weights:
            return task
        layout = Layout.of(jax.eval_shape(task.init, jax.random.key(0)))
        theta = load_weights(Path(self.weights), layout)
        if (found := digest(theta)) != self.digest:
            raise DataError(
                f"{self.weights}: these weights have the digest {found}, where the config says "
                f"{self.digest or 'nothing'}; if they are the right ones, set digest to theirs"
            )
        return dataclasses.replace(task, init=lambda key: layout.unflatten(jnp.asarray(theta)))
