"""The facade: everything a frontend needs to run a relay and to look at one. The CLI is its first client.

    from relayjax import backend, config

    settings = config.resolve("digits:smoke", {"relay.rounds": "4"}, seed=7)
    with backend.open_run(settings, "runs/example") as run:      # creates it, or resumes it
        run.subscribe(lambda event: print(event))                # typed events, see relay/events.py
        if not run.finished:
            run.step()                                           # one round, durable on return
        run.run()                                                # all the others
        print(run.state.head.digest, run.licences())
        for contribution in run.contributions():
            print(contribution)
        receipts = run.receipts("p0")                            # checkable without the log
    backend.verify("runs/example")                               # raises unless everything is right

Members as processes of their own have a facade too, `relayjax.peers`; their relays are read, verified here.
Looking needs no accelerator stack, so what does is imported when it is called for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relayjax import history
from relayjax.archive import Archive
from relayjax.audit import Audit, audit, follow, local_keys, read_ledger
from relayjax.authority import known_keys
from relayjax.errors import AccessError, WorkdirError
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.ledger.policy import Policy
from relayjax.licences import Ownership, ownership
from relayjax.measured import Trainings, trainings
from relayjax.membership import Membership
from relayjax.pack import ModelVersion, decode_pack, parameters
from relayjax.run import Run
from relayjax.summary import Summary, summarize
from relayjax.workdir import Workdir

if TYPE_CHECKING:
    import numpy as np

    from relayjax.appraisal import Appraisal, Measure, Progress
    from relayjax.config import Config
    from relayjax.incentives.result import Audited
    from relayjax.incentives.settings import Assumptions, World
    from relayjax.mechanism.rules import Rules, Schedule
    from relayjax.rescore import Rescore
    from relayjax.retraining import Retraining
    from relayjax.simulation.course import Course
    from relayjax.simulation.settings import Population


@dataclass(frozen=True)
class Verified:
    """What `verify` found right.

    Attributes:
      audit: of ledger and artefacts.
      rescore: of the measured figures, if asked for.
    """

    audit: Audit
    rescore: Rescore | None


def open_run(config: Config, workdir: str | Path) -> Run:
    """Creates a run, or resumes the one in the directory.

    Raises:
      WorkdirError: the directory is locked, or holds something else.
      IntegrityError: what is on disk is not what was signed.
      DataError: the task's data is missing or malformed.
    """
    return Run(config, Workdir(Path(workdir)))


def open_membership(workdir: str | Path, log_keys: Keys | None = None) -> Membership:
    """Opens a run that nobody plays at the moment, to say that a member's keys change or that it leaves.

    Raises:
      WorkdirError: there is no run, or somebody is playing it.
      AccessError: the keys of the log are not at hand.
      IntegrityError: the ledger is wrong; `verify` says more.
    """
    return Membership(Workdir(Path(workdir)), log_keys)


def read_history(workdir: str | Path) -> History:
    """The story of a run, replayed from its ledger; every signature and transition is checked.

    Raises:
      WorkdirError: there is no run.
      IntegrityError: the ledger is wrong; `verify` says more.
    """
    return history.read(read_ledger(Workdir(Path(workdir))).entries)


def read_ownership(workdir: str | Path) -> Ownership:
    """Who could open what in a run, by which right and since when: its ledger's answer, and its seals'.

    Raises:
      WorkdirError: there is no run.
      IntegrityError: the ledger or a seal manifest is wrong; `verify` says more.
    """
    return ownership(read_history(workdir), Archive(Workdir(Path(workdir))))


def read_summary(workdir: str | Path) -> Summary:
    """A run in figures: its totals, its members, and the baselines where they were trained."""
    directory, past = Workdir(Path(workdir)), read_history(workdir)
    return summarize(past, directory.read_metrics(len(past.rounds)), directory.read_baselines())


def verify(
    workdir: str | Path,
    *,
    keys: Keys | None = None,
    log_key: str | None = None,
    rescored: bool = False,
    config: Config | None = None,
    policy: Policy | None = None,
    seen: Path | None = None,
) -> Verified:
    """Checks everything in a run's directory.

    Args:
      workdir: the run's.
      keys: that open sealed artefacts; by default the ordering maintainer's, where the directory has them
        (a local experiment).
      log_key: the log's public key, hexadecimal, if known from elsewhere.
      rescored: recompute every score and value as well; needs `keys` and an accelerator stack.
      config: of the run, to rescore a task that is not RelayJAX's own.
      policy: whose cosignatures the log must have.
      seen: a file that remembers the log's last checkpoint, to notice when it shows another history.

    Raises:
      WorkdirError: there is no run.
      IntegrityError: something is wrong; it says what and where.
      SplitViewError: the log contradicts what it showed before; the evidence lies beside `seen`.
      AccessError: rescoring without keys that open the deltas.
    """
    directory = Workdir(Path(workdir))
    if directory.busy:
        raise WorkdirError(f"{directory.path}: a relay is running here; check it when it is stopped")
    checked = audit(directory, keys, log_key, policy)
    if seen:
        follow(directory, checked.origin, known_keys(checked.history.state), seen)
    if not rescored:
        return Verified(checked, None)
    from relayjax.rescore import rescore

    keys = keys or local_keys(directory, checked.history)
    if keys is None:
        raise AccessError("rescoring opens every delta: give a maintainer's key with --key")
    return Verified(checked, rescore(Archive(directory), checked.history, keys, config))


def value(
    workdir: str | Path,
    measure: Measure | None = None,
    *,
    keys: Keys | None = None,
    config: Config | None = None,
    progress: Progress = lambda done, rounds, stderr: None,
) -> Appraisal:
    """Values the work of every braid round settled so far; the run may go on meanwhile.

    Args:
      workdir: the run's.
      measure: by which method, on which examples, in which metric.
      keys: that open every delta; by default the ordering maintainer's, where the directory has them.
      config: of the run, to value a task that is not RelayJAX's own.
      progress: see `appraise`.

    Raises:
      WorkdirError: there is no run, or no braid round in it yet.
      ConfigError: the measure does not suit the task or the number of participants.
      AccessError: the keys do not open the deltas, or there are none.
      IntegrityError: something is wrong; `verify` says more.
    """
    from relayjax.appraisal import Measure, appraise

    directory, past = Workdir(Path(workdir)), read_history(workdir)
    keys = keys or local_keys(directory, past)
    if keys is None:
        raise AccessError("valuing opens every delta: give a maintainer's key with --key")
    return appraise(Archive(directory), past, keys, measure or Measure(), config, progress)


def retraining(workdir: str | Path, *, config: Config | None = None) -> Retraining:
    """A run whose relay can be trained again without some of its participants, if their data is here.

    Raises:
      WorkdirError: there is no run, or no settled round in it yet.
      ConfigError: its rules or number of participants do not allow it.
      DataError: the task's data is missing or malformed.
    """
    from relayjax.retraining import Retraining

    directory, past = Workdir(Path(workdir)), read_history(workdir)
    return Retraining(Archive(directory), past, config)


def simulate(
    population: Population, progress: Callable[[int], None] = lambda rounds: None, *, engine: str = "numba"
) -> list[Course]:
    """Plays the `derelayl` rules with populations that train nothing; see `simulation.population.simulate`.

    Raises:
      ConfigError: there is no such engine, or the population is too large for it.
    """
    from relayjax.simulation.population import simulate

    return simulate(population, progress, engine=engine)


def audit_incentives(
    schedule: Schedule,
    rules: Rules,
    assumptions: Assumptions,
    *,
    search: bool = True,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audited:
    """Plays every deviation against some rules; see `incentives.result.audit_incentives`.

    Raises:
      ConfigError: an unknown deviation is asked for, or the relay is too small for the coalition.
    """
    from relayjax.incentives.result import audit_incentives

    return audit_incentives(schedule, rules, assumptions, search=search, workers=workers, progress=progress)


def read_world(workdir: str | Path, world: World) -> World:
    """A world that trains as a run did, for an audit; see `incentives.observed.observed`.

    Raises:
      WorkdirError: there is no run, or too little of it.
      IntegrityError: the ledger is wrong; `verify` says more.
    """
    from relayjax.incentives.observed import observed

    return observed(read_history(workdir), world)


def read_trainings(workdir: str | Path) -> Trainings:
    """How a run's legs outside braid rounds turned out, from its ledger: what a simulation can draw from.

    Raises:
      WorkdirError: there is no run, or no such leg in it was revealed.
      IntegrityError: the ledger is wrong; `verify` says more.
    """
    found = trainings(read_history(workdir))
    if not found.gains:
        raise WorkdirError(f"{workdir}: no leg outside braid rounds has been revealed; let the relay run on")
    return found


def open_head(workdir: str | Path, keys: Keys) -> dict[str, np.ndarray]:
    """Opens the newest model checkpoint with a licence holder's keys.

    Returns:
      Parameters by name, float32.

    Raises:
      AccessError: the keys hold no licence.
      WorkdirError: there is no run, or no model checkpoint in it.
      IntegrityError: the checkpoint is damaged.
    """
    return parameters(*_open_head(workdir, keys))


def save_head(workdir: str | Path, keys: Keys, folder: str | Path) -> ModelVersion:
    """Saves the newest model checkpoint as an Orbax checkpoint, which `handoff.restore` shards as one likes.

    Args:
      workdir: of the run.
      keys: of a licence holder.
      folder: must not exist. What is in it lies in the open.

    Returns:
      Which version it is.

    Raises:
      AccessError, WorkdirError, IntegrityError: see `open_head`.
      DiskError: the disk refused.
    """
    from relayjax import handoff

    theta, version = _open_head(workdir, keys)
    handoff.save(theta, version, Path(folder))
    return version


def _open_head(workdir: str | Path, keys: Keys) -> tuple[np.ndarray, ModelVersion]:
    directory = Workdir(Path(workdir))
    past, archive = read_history(workdir), Archive(directory)
    if (model := archive.newest_model(past)) is None:
        raise WorkdirError(
            f"{directory.path}: no model checkpoint; none was due yet, or the relay died before one was"
        )
    return decode_pack(archive.open_model(model, keys), model.version), model.version
