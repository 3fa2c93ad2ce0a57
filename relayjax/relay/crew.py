"""Everything a round needs: who plays it, with what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from relayjax.archive import Archive
from relayjax.codec import Codec
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.placement import Shard
from relayjax.learning.relay_momentum import RelayMomentum
from relayjax.learning.task import Batch
from relayjax.mechanism.base import Mechanism
from relayjax.mechanism.state import State
from relayjax.relay.ahead import Ahead
from relayjax.relay.conduct import Conduct
from relayjax.relay.events import Event
from relayjax.relay.members import Members
from relayjax.relay.residuals import Residuals
from relayjax.relay.testing import Rotation, Validator
from relayjax.relay.timing import Stopwatch
from relayjax.relay.training import Trainer
from relayjax.relay.transcript import Transcript
from relayjax.relay.writer import Writer
from relayjax.valuation.novelty import Novelties


@dataclass(frozen=True)
class Crew:
    """Everything a round needs.

    Attributes:
      members: everybody's keys.
      conduct: how they behave.
      shards: each participant's data, by name.
      trainer, validator: what every participant and validator runs.
      rules: the mechanism.
      codec: of the deltas.
      evaluator, test: for the experimenter's look at the test set.
      transcript: the log with the agreed state.
      archive: what is kept at rest.
      layout: names and shapes of the parameters, for model checkpoints.
      seed: of batches and salts.
      clock: counts the stages.
      momentum: what each participant remembers of its last turn.
      residuals: what each participant's payloads have left out.
      rotation: which validation examples a test uses.
      novelties: the deltas accepted so far, while a braid round is still to come.
      one_at_a_time: whether no two threads may call what is compiled: see `learning/frozen.py`.
      ahead: trains legs before their rounds begin.
      writer: makes settled rounds durable.
      notify: called with every event.
    """

    members: Members
    conduct: Conduct
    shards: Mapping[str, Shard]
    trainer: Trainer
    validator: Validator
    rules: Mechanism
    codec: Codec
    evaluator: Evaluator
    test: Batch
    transcript: Transcript
    archive: Archive
    layout: list[dict[str, object]]
    seed: int
    clock: Stopwatch
    momentum: RelayMomentum
    residuals: Residuals
    rotation: Rotation
    novelties: Novelties
    one_at_a_time: bool
    ahead: Ahead
    writer: Writer
    notify: Callable[[Event], None]

    @property
    def state(self) -> State:
        return self.transcript.state
