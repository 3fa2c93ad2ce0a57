"""What a member computes with, made from the genesis record and the data at hand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax

from relayjax import codec
from relayjax.codec import Codec
from relayjax.config import Config
from relayjax.errors import ConfigError
from relayjax.history import History
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.layout import Layout
from relayjax.learning.leg import Leg
from relayjax.learning.mesh import local_mesh
from relayjax.learning.placement import Shard, place, place_shards
from relayjax.learning.task import Task, examples
from relayjax.mechanism.rules import RelayJAXRules
from relayjax.relay.testing import Validator
from relayjax.relay.timing import Stopwatch
from relayjax.relay.training import Trainer
from relayjax.rescore import rebuilt


@dataclass(frozen=True)
class Workshop:
    """A relay's settings and task.

    Attributes:
      config: as the genesis record has it.
      task: with the data that is here.
      codec: of the deltas.
    """

    config: Config
    task: Task
    codec: Codec

    @classmethod
    def of(cls, history: History, config: Config | None = None) -> Workshop:
        """Rebuilds it from a ledger.

        Args:
          history: of the relay.
          config: any that has its task; needed where that is not one of RelayJAX's own.

        Raises:
          ConfigError: the task is not RelayJAX's own and `config` does not have it.
          DataError: its data is missing.
          IntegrityError: the validation set is another.
        """
        found, task = rebuilt(history, config)
        return cls(found, task, codec.get(found.relay.codec))

    def trainer(self, shard: int) -> tuple[Trainer, Shard]:
        """What trains, with one of the task's shards placed where it does.

        Raises:
          ConfigError: there is no such shard.
        """
        if not 0 <= shard < len(self.task.shards):
            raise ConfigError(f"--shard={shard}: the task has shards 0 to {len(self.task.shards) - 1}")
        leg_settings = self.config.leg
        mesh = local_mesh(leg_settings.batch_size // leg_settings.accumulate, leg_settings.sharding.model)
        if mesh is not None:
            for frozen in self.task.frozen:
                frozen.place(mesh, leg_settings.sharding)
        own = dataclasses.replace(self.task, shards=(self.task.shards[shard],))
        leg = Leg(own, leg_settings, mesh)
        return Trainer(leg, self.codec, Stopwatch()), place_shards(own, mesh)[0]

    def validator(self) -> Validator:
        """What scores and values."""
        layout = Layout.of(jax.eval_shape(self.task.init, jax.random.key(0)))
        return Validator(
            Evaluator(self.task, layout),
            place(self.task.validation),
            examples(self.task.validation),
            self.config.valuation.nodes,
            self.config.valuation.budget,
        )


def check_playable(config: Config) -> None:
    """Refuses what only a relay in one process can do so far.

    Raises:
      ConfigError: names the setting.
    """
    if config.experiment.deviants:
        raise ConfigError("experiment: only a relay in one process plays deviants; name none")
    if config.leg.relay_momentum:
        raise ConfigError("leg.relay_momentum: separate members do not see every head; set it to 0")
    if not isinstance(config.rules, RelayJAXRules):
        raise ConfigError("rules: separate members play the relayjax rules only, so far")
    if codec.get(config.relay.codec).needs_feedback:
        raise ConfigError(f"relay.codec={config.relay.codec}: needs feedback; choose another")
