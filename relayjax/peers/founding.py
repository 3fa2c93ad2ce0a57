"""How a relay begins: its founder orders the records, signs the log and says what everybody agrees to."""

from __future__ import annotations

import jax

from relayjax import files, settings, weights
from relayjax.archive import Archive
from relayjax.config import Config
from relayjax.errors import WorkdirError
from relayjax.identity import Keys
from relayjax.learning.leg import Leg
from relayjax.learning.task import examples
from relayjax.ledger.log import Log
from relayjax.mechanism.state import Role
from relayjax.peers.home import Home, Membership
from relayjax.peers.workshop import check_playable
from relayjax.records import Genesis
from relayjax.relay.testing import check_reuse, validation_digest
from relayjax.relay.transcript import Transcript
from relayjax.workdir import Workdir


def found(config: Config, folder: Workdir, home: Home, name: str) -> Membership:
    """Founds a relay in an empty folder; doing it again after a kill goes on.

    Args:
      config: of the relay; its seed is public and draws data and first parameters, nobody's keys or batches.
      folder: of the relay.
      home: the founder's own directory.
      name: the founder's.

    Returns:
      The founder's membership; others need its log's name and key to join.

    Raises:
      ConfigError: the config asks for what separate members cannot play.
      DataError: the task's data is missing.
      WorkdirError: the folder holds a relay or something else.
    """
    check_playable(config)
    task = config.initial.task(config.task.build(config.relay.participants, config.seed))
    check_reuse(config.relay, examples(task.validation))
    leg = Leg(task, config.leg)
    theta = leg.genesis(task.init(jax.random.key(config.seed)))
    keys = home.make_keys(name)
    public = keys.public
    membership = Membership(name, Role.MAINTAINER.value, origin_of(task.name, keys), public.signing)
    with folder.locked():
        home.remember(membership)
        for shared in (
            "inbox",
            "handover",
        ):  # the founder says who may write to them
            files.make_directory(folder.path / shared)
        archive = Archive(folder)
        archive.keep_genesis(theta)
        if (folder.ledger / "checkpoint").exists():
            log = Log.open(folder.ledger, membership.origin, public.signing)
            if log.size:
                raise WorkdirError(f"{folder.path}: a relay was founded here; choose another folder")
        else:
            log = Log.create(folder.ledger, membership.origin, keys)
        genesis = Genesis(
            author=name,
            config=settings.encode(config),
            layout=leg.baton.describe(),
            weights=weights.digest(theta),
            validation=validation_digest(task.validation),
            signing=public.signing,
            receiving=public.receiving,
        )
        transcript = Transcript(log, None)
        transcript.say(keys, genesis)
        transcript.commit(keys)
    return membership


def origin_of(task: str, keys: Keys) -> str:
    """The log's name: the task, and enough of the key that two relays are not called alike."""
    return f"relayjax.peers/{task}-{keys.public.signing[:8]}"
