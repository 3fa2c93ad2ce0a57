"""A local relay over a directory: it starts or resumes, and is played round by round.

Killed at any moment, it resumes at the last settled round: the ledger's checkpoint is the commit point,
and everything a round needs beside it is durable before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from relayjax import codec, history, settings, weights
from relayjax.archive import Archive
from relayjax.audit import introduction
from relayjax.config import Config
from relayjax.errors import WorkdirError
from relayjax.history import History
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.leg import Leg
from relayjax.learning.mesh import local_mesh
from relayjax.learning.placement import place, place_shards
from relayjax.learning.relay_momentum import RelayMomentum
from relayjax.learning.task import examples
from relayjax.ledger.log import Log
from relayjax.measured import NATS, head_loss
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import State
from relayjax.records import Genesis, Join
from relayjax.relay.ahead import Ahead
from relayjax.relay.conduct import Conduct
from relayjax.relay.crew import Crew
from relayjax.relay.events import Event, Settled
from relayjax.relay.foresight import Heads
from relayjax.relay.members import Members
from relayjax.relay.residuals import Residuals
from relayjax.relay.resuming import Past
from relayjax.relay.round import play
from relayjax.relay.testing import Rotation, Validator, check_reuse, validation_digest
from relayjax.relay.timing import Stopwatch
from relayjax.relay.training import Trainer
from relayjax.relay.transcript import Transcript
from relayjax.relay.writer import Writer
from relayjax.valuation.novelty import Novelties
from relayjax.workdir import Workdir


class Relay:
    """A run in progress. The caller holds the workdir's lock."""

    def __init__(self, config: Config, workdir: Workdir, notify: Callable[[Event], None]):
        """Starts a run in an empty workdir or resumes the one in it.

        Args:
          config: of the run.
          workdir: its directory, locked.
          notify: called with every event.

        Raises:
          WorkdirError: the directory holds a run of another config.
          IntegrityError: what is on disk is not what was signed.
          DataError: the task's data, or the weights to start from, are missing or malformed.
        """
        self.config = config
        self.workdir = workdir
        self._notify = notify
        self.task = config.initial.task(config.task.build(config.relay.participants, config.seed))
        check_reuse(config.relay, examples(self.task.validation))
        params = self.task.init(jax.random.key(config.seed))
        mesh = local_mesh(config.leg.batch_size // config.leg.accumulate, config.leg.sharding.model)
        if mesh is not None:
            for frozen in self.task.frozen:
                frozen.place(mesh, config.leg.sharding)
        leg = Leg(self.task, config.leg, mesh)  # may refuse, so before anything is written
        self.baton = leg.baton
        genesis = leg.genesis(params)
        self._momentum = RelayMomentum(config.leg.relay_momentum, leg.baton.params.size)
        self._novelties, self._rotation = Novelties(), Rotation(examples(self.task.validation))
        self._members = Members.derive(config.relay, config.seed)
        self._conduct = Conduct(
            config.experiment,
            [keys.name for keys in self._members.participants],
            [keys.name for keys in self._members.validators],
            config.seed,
        )
        self._residuals = Residuals(workdir.residuals, {k.name: k for k in self._members.participants})
        self._archive = Archive(workdir)
        self._heads: Heads = {0: genesis}
        self._torn = False
        if workdir.exists:
            transcript = self._resume(self._genesis(genesis))
        else:
            transcript = self._start(self._genesis(genesis), genesis)
        self._crew = self._assemble(transcript, leg, mesh)
        self._complete_metrics()

    @property
    def state(self) -> State:
        """The agreed state."""
        return self._crew.state

    @property
    def log(self) -> Log:
        """The ledger."""
        return self._crew.transcript.log

    def history(self) -> History:
        """The story of the run so far."""
        return history.read(self.log.entries())

    @property
    def head(self) -> np.ndarray:
        """The newest version as it is handed on: float32, the parameters first.

        Raises:
          WorkdirError: the relay died, so there is no head.
        """
        if not self._heads:
            raise WorkdirError(f"{self.workdir.path}: nothing survived the last round; the relay has no head")
        return self._heads[self.state.head.number]

    def step(self, *, ahead: bool = False) -> None:
        """Plays one round while the one before is being written; `flush` makes it durable.

        Args:
          ahead: begin to train the legs that follow as soon as they are foreseen.

        Raises:
          WorkdirError: an earlier round was cut short by an error, so memory and disk may differ.
        """
        self._check_whole()
        self._torn = True
        self._heads = play(self._crew, self._heads, ahead=ahead)
        self._torn = False

    def flush(self) -> None:
        """Returns when every round played is durable; raises as `step` does, and what the disk refused."""
        self._check_whole()
        self._torn = True
        self._crew.writer.wait()
        self._torn = False

    def close(self) -> None:
        """Lets what is being written or trained end; what was not written is lost, as by a kill."""
        self._crew.ahead.close()
        self._crew.writer.close()

    def _check_whole(self) -> None:
        if self._torn:
            raise WorkdirError(f"{self.workdir.path}: a round was cut short before; open the run again")

    def evaluate(self, theta: np.ndarray | jax.Array) -> dict[str, float]:
        """Figures of some weights, float32 [P], on the test set."""
        return self._crew.evaluator.metrics(theta, self._crew.test)

    def _genesis(self, theta: np.ndarray) -> Genesis:
        keys = self._members.orderer.public
        return Genesis(
            author=keys.name,
            config=settings.encode(self.config),
            layout=self.baton.describe(),
            weights=weights.digest(theta),
            validation=validation_digest(self.task.validation),
            signing=keys.signing,
            receiving=keys.receiving,
        )

    def _origin(self) -> str:
        return f"relayjax.local/{self.task.name}-{self.config.seed}"

    def _start(self, genesis: Genesis, theta: np.ndarray) -> Transcript:
        orderer = self._members.orderer
        self._members.save(self.workdir.keys)
        self._archive.keep_genesis(theta)
        return self._introduce(Log.create(self.workdir.ledger, self._origin(), orderer), genesis)

    def _introduce(self, log: Log, genesis: Genesis) -> Transcript:
        transcript = Transcript(log, None)
        transcript.say(self._members.orderer, genesis)
        for keys, role in self._members.roles:
            public = keys.public
            transcript.say(keys, Join(public.name, role.value, public.signing, public.receiving))
        transcript.commit(self._members.orderer)
        return transcript

    def _resume(self, genesis: Genesis) -> Transcript:
        _, there = introduction(self.workdir.ledger)
        if there is not None and there != genesis:
            raise WorkdirError(
                f"{self.workdir.path}: holds another run ({_difference(there, genesis)}); resume it "
                "with the same --config, overrides and --seed, or choose another --workdir"
            )
        log = Log.open(self.workdir.ledger, self._origin(), self._members.log.public.signing)
        if there is None:
            return self._introduce(log, genesis)
        past = history.read(log.entries())
        self._members = self._members.present(past.state, self.workdir.keys)
        self._archive.sweep(past)
        self.workdir.rewrite_metrics(self.workdir.read_metrics(len(past.rounds), damaged=True))
        self._recall(Past(past, self._archive, self._members.orderer, codec.get(self.config.relay.codec)))
        return Transcript(log, past.state)

    def _recall(self, past: Past) -> None:
        """Fills in what the rounds before left in memory."""
        state, rounds = past.history.state, past.history.rounds
        turns = past.last_turns() if self._momentum.rate else {}
        known = past.weights([*state.heads, *(head for head, _ in turns.values())], self._heads[0])
        self._heads = {number: known[number] for number in state.heads}
        for name, (head, leg) in turns.items():
            self._momentum.remember(name, known[head], leg)
        if past.codec.needs_feedback:
            self._residuals.recall(past.history, known[0].size)
        for settled in rounds:
            if settled.facts.seed:
                self._rotation.draw(settled.facts.seed, state.schedule.tested(settled.number))
        if len(rounds) < max(state.schedule.valued, default=0):
            for delta in past.deltas():
                self._novelties.remember(delta[: self.baton.params.size])
        if self._conduct.remembers:
            for name, head, delta in past.accepted():
                self._conduct.remember(name, head, delta)

    def _assemble(self, transcript: Transcript, leg: Leg, mesh: Mesh | None) -> Crew:
        config, clock = self.config, Stopwatch()
        evaluator = Evaluator(self.task, self.baton.params)
        delta_codec = codec.get(config.relay.codec)
        names = [keys.name for keys in self._members.participants]
        own = dataclasses.replace(self.task, shards=self._conduct.shards(self.task))
        return Crew(
            members=self._members,
            conduct=self._conduct,
            shards=dict(zip(names, place_shards(own, mesh), strict=True)),
            trainer=Trainer(leg, delta_codec, clock),
            validator=Validator(
                evaluator,
                place(self.task.validation),
                examples(self.task.validation),
                config.valuation.nodes,
                config.valuation.budget,
            ),
            rules=mechanism(config.rules),
            codec=delta_codec,
            evaluator=evaluator,
            test=place(self.task.test),
            transcript=transcript,
            archive=self._archive,
            layout=self.baton.describe(),
            seed=config.seed,
            clock=clock,
            momentum=self._momentum,
            residuals=self._residuals,
            rotation=self._rotation,
            novelties=self._novelties,
            one_at_a_time=evaluator.threads == 1,
            ahead=Ahead(enabled=mesh is None and not self.task.frozen, early=jax.default_backend() == "cpu"),
            writer=Writer(),
            notify=self._settled,
        )

    def _complete_metrics(self) -> None:
        """Measures the head again where a kill came between a round's settlement and its figures."""
        settled, kept = self.state.round.number - 1, self.workdir.read_metrics(self.state.round.number - 1)
        if settled and self._heads and (not kept or kept[-1]["round"] != settled):
            last = self.history().rounds[-1]
            loss = head_loss(self.state, last)
            self.workdir.append_metrics(
                {
                    "round": settled,
                    "topology": last.topology.value,
                    "head": last.head,
                    "loss": None if loss is None else loss * NATS,
                    "metrics": self.evaluate(self.head),
                    "seconds": {},
                }
            )

    def _settled(self, event: Event) -> None:
        """Keeps a round's figures beside the log, then tells the listener."""
        if isinstance(event, Settled):
            kept = ("round", "topology", "head", "loss", "metrics", "seconds")
            self.workdir.append_metrics({name: getattr(event, name) for name in kept})
        self._notify(event)


def _difference(there: Genesis, here: Genesis) -> str:
    """Which settings differ, for a message."""
    theirs, ours = _leaves(there.config), _leaves(here.config)
    changed = [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]
    changed.sort(key=lambda name: not name.endswith("type"))  # another task or mechanism says most
    named = ", ".join(f"{name} is {theirs.get(name)} there" for name in changed[:5])
    return named or "its data or model differs"


def _leaves(tree: dict, prefix: str = "") -> dict[str, object]:
    leaves = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves
