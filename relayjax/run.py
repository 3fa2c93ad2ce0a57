"""A run that is open for writing: what `backend.open_run` gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from relayjax.errors import WorkdirError
from relayjax.files import write_atomic
from relayjax.history import History
from relayjax.ledger.log import Log
from relayjax.ledger.proof import Receipt
from relayjax.mechanism.state import State
from relayjax.records import Submit
from relayjax.summary import MemberSummary, summarize
from relayjax.workdir import Baselines, Workdir

if TYPE_CHECKING:
    import numpy as np

    from relayjax.config import Config
    from relayjax.relay.events import Event

Listener = Callable[["Event"], None]


class Run:
    """A run open for writing. Use it as a context manager: it holds the directory's lock."""

    def __init__(self, config: Config, workdir: Workdir):
        from relayjax.relay.relay import Relay

        self._listeners: list[Listener] = []
        self._stack = ExitStack()
        self._stack.enter_context(workdir.locked())
        try:
            self._relay = Relay(config, workdir, self._notify)
            self._stack.callback(self._relay.close)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the directory free. What was settled is durable already."""
        self._stack.close()

    def subscribe(self, listener: Listener) -> None:
        """Has a function called with every event from now on."""
        self._listeners.append(listener)

    @property
    def state(self) -> State:
        """The agreed state: round, balances, versions, licences."""
        return self._relay.state

    @property
    def finished(self) -> bool:
        """Whether every round is settled."""
        return self.state.finished

    @property
    def head(self) -> np.ndarray:
        """Weights of the newest version, float32 [P]."""
        return self._relay.head

    @property
    def root(self) -> str:
        """The ledger's Merkle root, hexadecimal."""
        return self._relay.log.root.hex()

    def step(self, *, overlap: bool = False, ahead: bool = False) -> None:
        """Plays one round, which is durable on return.

        Args:
          overlap: return while the round is still being written, so that the next one can train meanwhile.
            Its events come when it is durable; `flush` waits for that. A round that is not durable when the
            process dies is played again, as if it had not been begun.
          ahead: train the legs to come, where they can be foreseen, while this round is tested and settled,
            and beyond the return. Whoever stops then has trained some for nothing, and `close` waits for the
            one under way.

        Raises:
          WorkdirError: the run is finished.
        """
        if self.finished:
            raise WorkdirError(f"all rounds are settled ({len(self.state.versions) - 1} versions)")
        self._relay.step(ahead=ahead)
        if not overlap:
            self.flush()

    def flush(self) -> None:
        """Returns when every round played is durable."""
        self._relay.flush()

    def run(self) -> None:
        """Plays all remaining rounds, each trained while the one before is tested, settled and written."""
        while not self.finished:
            self.step(overlap=True, ahead=True)
        self.flush()

    def compare(self) -> Baselines:
        """Trains pooled and alone with as many gradient steps as the relay took, unless it was done before.

        Returns:
          Their figures.
        """
        from relayjax.learning.schemes import Setup, alone, pooled

        config, workdir = self._relay.config, self._relay.workdir
        if workdir.baselines.exists():
            return workdir.read_baselines()
        legs = sum(len(settled.facts.pairs) for settled in self.history().rounds)
        setup = Setup(self._relay.task, config.leg, legs, config.seed)
        figures = {
            "pooled": self._relay.evaluate(pooled(setup).params),
            "alone": [self._relay.evaluate(outcome.params) for outcome in alone(setup)],
        }
        write_atomic(workdir.baselines, json.dumps(figures).encode())
        return figures

    def history(self) -> History:
        """The story of the run so far."""
        return self._relay.history()

    def contributions(self) -> tuple[MemberSummary, ...]:
        """What each member did, was measured at, and was paid."""
        return summarize(self.history()).members

    def licences(self) -> dict[str, int]:
        """Name → newest version its licence covers."""
        return dict(self.state.licences)

    def receipts(self, name: str) -> list[Receipt]:
        """A receipt for every delta a participant submitted: record, proof and signed checkpoint.

        Raises:
          WorkdirError: there is no such member.
        """
        return _receipts(self._relay.log, self.history(), name)

    def _notify(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)


def _receipts(log: Log, past: History, name: str) -> list[Receipt]:
    if name not in past.state.members:
        raise WorkdirError(
            f"there is no member {name}; the members are {', '.join(sorted(past.state.members))}"
        )
    return [
        log.prove(index)
        for index, record in enumerate(past.records)
        if isinstance(record, Submit) and record.author == name
    ]
