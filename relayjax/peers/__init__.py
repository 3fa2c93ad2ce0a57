"""A relay whose members are separate processes, which meet in a folder and trust nothing they find there.

This is the facade for who plays such a relay; what lies in its folder is for `relayjax.backend`, as any run.

    from relayjax import backend, config, peers

    small = {"participants": "2", "validators": "1", "rounds": "2", "braid_rounds": "1"}
    settings = config.resolve("digits:smoke", {f"relay.{name}": text for name, text in small.items()})
    relay = peers.found(settings, "shared", home="ada", name="ada")
    for name in ("ben", "eve"):                              # as a rule each on a machine of its own
        peers.join("shared", home=name, name=name, log_key=relay.log_key)
    with (
        peers.open_maintainer("shared", home="ada") as ada,
        peers.open_participant("shared", home="ben", shard=0) as ben,
        peers.open_participant("shared", home="eve", shard=1) as eve,
    ):
        ben.subscribe(print)                                 # typed events, see peers/events.py
        while not (ada.finished and ben.finished and eve.finished):
            for member in (ada, ben, eve):
                member.step()                                # alone: `member.run()`, which `cancel` ends
        receipts = ben.receipts()                            # checkable without the log
    status = peers.status("shared", home="ben")              # round, phase, who is awaited, head, balance
    backend.verify("shared", keys=peers.keys("ada"), log_key=relay.log_key)   # raises if anything is wrong

A place is a folder, or the address at which one is served: `http://…`, `iroh:…`, `s3://…`; or several
addresses, parted by commas, of maintainers that keep copies. Looking and joining need no accelerator stack,
so what does is imported when it is called for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relayjax.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relayjax.config import Config
    from relayjax.identity import Keys
    from relayjax.peers.bundle_export import Exported
    from relayjax.peers.bundles import Received
    from relayjax.peers.home import Membership
    from relayjax.peers.http_serving import Served
    from relayjax.peers.member import Member
    from relayjax.peers.observer import Observer
    from relayjax.peers.standing import Status

_TAKEOVER = 5
"""Times the patience after which a silent orderer is given up; it closes a phase after one."""

_SHORTEST = 0.2


@dataclass(frozen=True)
class Joined:
    """A registration that was handed in.

    Attributes:
      membership: who the member is in which relay.
      believed: whether nobody but the log itself has vouched for its key.
    """

    membership: Membership
    believed: bool


def found(config: Config, folder: str | Path, home: str | Path, name: str) -> Membership:
    """Founds a relay in an empty folder; doing it again after a kill goes on.

    Args:
      config: of the relay; its seed is public.
      folder: of the relay.
      home: the founder's own directory; keys are made in it.
      name: the founder's, who maintains and orders the records at first.

    Returns:
      The founder's membership; others need its log key to join.

    Raises:
      ConfigError: the config asks for what separate members cannot play.
      DataError: the task's data is missing.
      WorkdirError: the folder holds a relay or something else.
    """
    from relayjax.peers.founding import found
    from relayjax.peers.home import Home
    from relayjax.workdir import Workdir

    return found(config, Workdir(Path(folder)), Home(Path(home)), name)


def join(
    place: str | Path, home: str | Path, name: str, role: str = "participant", log_key: str | None = None
) -> Joined:
    """Makes keys and hands in a registration; doing it again changes nothing.

    Args:
      place: where the members meet.
      home: the member's own directory.
      name: the member's.
      role: `participant` or `maintainer`.
      log_key: the log's public key, 64 hex digits, as known from the founder; None to believe the log itself,
        the first time.

    Raises:
      ConfigError: there is no such role, or the member was not let in; it says why.
      WorkdirError: there is no relay, or the directory is that of another membership.
      IntegrityError: the log is not signed with that key, or not right.
      ExchangeError: nobody can be reached now.
    """
    from relayjax.mechanism.state import Role
    from relayjax.peers.home import Home
    from relayjax.peers.joining import join
    from relayjax.peers.places import exchange_at

    if role not in (Role.PARTICIPANT.value, Role.MAINTAINER.value):
        raise ConfigError(f"--role={role}: choose participant or maintainer")
    own = Home(Path(home))
    known = log_key is not None or own.exists
    refused = join(exchange_at(str(place)), own, name, role, log_key)
    if refused:
        raise ConfigError(f"{name} was not let in: {refused}")
    return Joined(own.membership(), not known)


def keys(home: str | Path) -> Keys:
    """A member's own keys, which open what is sealed to it.

    Raises:
      WorkdirError: nobody has joined with the directory, or its keys are gone.
    """
    from relayjax.peers.home import Home

    return Home(Path(home)).keys()


def open_participant(
    place: str | Path,
    home: str | Path,
    *,
    shard: int | None = None,
    config: Config | None = None,
    warm: bool = True,
    serve: Served | str | None = None,
    peers: Sequence[str] = (),
) -> Member:
    """Opens a participant, who bids, trains on its own data, commits and reveals.

    Args:
      place: where it meets the others.
      home: its own directory, with which it has joined.
      shard: which of the task's shards is its data; None if there is one.
      config: any that has the task, where that is not one of RelayJAX's own.
      warm: compile before the first bid; in vain for who looks once and ends.
      serve: HOST:PORT, or iroh:HOST:PORT, to serve other trainers what it holds at.
      peers: addresses where other trainers do.

    Raises:
      ConfigError: it is no participant, or an address is none.
      WorkdirError: nobody has joined with the directory, or another process works with it.
    """
    from relayjax.mechanism.state import Role
    from relayjax.peers.duties import Training
    from relayjax.peers.home import Home
    from relayjax.peers.member import Member
    from relayjax.peers.p2p_serving import served_at
    from relayjax.peers.places import exchange_at

    own, exchange = Home(Path(home)), exchange_at(str(place))
    if own.membership().role != Role.PARTICIPANT.value:
        raise ConfigError(f"{home}: {own.membership().name} is no participant; use `relayjax maintain`")
    served = served_at(serve, own.path) if isinstance(serve, str) else serve
    others = [exchange_at(peer) for peer in peers]
    return Member(
        own, exchange, lambda tell: Training(own, exchange, shard, config, warm, tell, served, others)
    )


def open_maintainer(
    place: str | Path,
    home: str | Path,
    *,
    patience: float = 60.0,
    takeover: float | None = None,
    begin: bool = False,
    serve: Served | str | None = None,
    publish: str | None = None,
    pace: float = 1.0,
    config: Config | None = None,
    warm: bool = True,
) -> Member:
    """Opens a maintainer, who scores and values, and orders the records while the log says so.

    Args:
      place: where it meets the others; only in the folder itself can it order, or in a copy of its own: that
        is kept where it serves or publishes but reaches the relay at addresses, in `mirror` in its directory
        or in the folder given before them.
      home: its own directory, with which it has joined or founded.
      patience: seconds that a phase waits for those who stay away, while it orders.
      takeover: seconds without anything new after which it wants another orderer; None for five times the
        patience.
      begin: do not wait until every place is taken before the first round.
      serve: HOST:PORT, that with a certificate, or iroh:HOST:PORT, to serve the folder at for members
        elsewhere.
      publish: address of a bucket to be kept in step with the folder.
      pace: seconds between two passes over the others' copies, and over the bucket, there 1 or more.
      config: any that has the task, where that is not one of RelayJAX's own.
      warm: compile before the first pledge; in vain for who looks once and ends.

    Raises:
      ConfigError: it is no maintainer, or has founded what it only reaches.
      WorkdirError: nobody has joined with the directory, or another process works with it.
    """
    from relayjax.mechanism.state import Role
    from relayjax.peers.duties import Maintaining, Outlets
    from relayjax.peers.home import Home
    from relayjax.peers.member import Member
    from relayjax.peers.p2p_serving import served_at
    from relayjax.peers.patience import Waiting
    from relayjax.peers.places import exchange_at, own_and_others, places_at, same

    own, (folder, others) = Home(Path(home)), own_and_others(str(place))
    member = own.membership()
    if member.role != Role.MAINTAINER.value:
        raise ConfigError(f"{home}: {member.name} is no maintainer; use `relayjax work`")
    if folder is None and member.log_key == own.keys().public.signing:
        raise ConfigError(f"{place}: {member.name} founded this relay; give the folder itself")
    if publish and same(publish) in map(same, others):
        raise ConfigError(f"{publish}: another maintainer keeps this bucket; publish to one of your own")
    if folder is None and (serve or publish):
        folder = str(own.path / "mirror")
    elif folder and others and not (serve or publish):
        raise ConfigError("--serve or --publish is needed: others must find what is in your own copy")
    exchange, mirrored = exchange_at(folder or str(place)), places_at(others) if folder else []
    outlets = Outlets(served_at(serve, own.path) if isinstance(serve, str) else serve, publish, pace)
    takeover = max(_TAKEOVER * patience, _SHORTEST) if takeover is None else takeover

    waiting = Waiting(patience, takeover, time.monotonic, begin)
    return Member(
        own,
        exchange,
        lambda tell: Maintaining(own, exchange, config, waiting, outlets, warm, tell, mirrored),
    )


def follow(place: str | Path, home: str | Path | None = None) -> Observer:
    """Opens a relay to look at, as anybody can, also while others work with it; `poll` reads what is new.

    Args:
      place: where its members meet.
      home: of a member, whose log key counts and whose account is shown; None to believe the log itself.

    Raises:
      WorkdirError: there is no relay, or nobody has joined with the directory.
      IntegrityError: what is there is malformed.
      ExchangeError: nobody can be reached now.
    """
    from relayjax.peers.home import Home
    from relayjax.peers.joining import met
    from relayjax.peers.observer import Observer
    from relayjax.peers.places import exchange_at
    from relayjax.peers.quorum import follower

    exchange = exchange_at(str(place))
    if home is None:
        first, origin, log_key = met(exchange, None)
        return Observer(exchange, first, origin, log_key, believed=True)
    member = Home(Path(home)).membership()
    followed = follower(exchange, member.origin, member.log_key)
    return Observer(exchange, followed, member.origin, member.log_key, name=member.name)


def status(place: str | Path, home: str | Path | None = None) -> Status:
    """How far a relay is, who is awaited, what a member has; arguments and errors are those of `follow`."""
    observer = follow(place, home)
    observer.poll()
    return observer.status()


def copy(place: str | Path, folder: str | Path, log_key: str | None = None) -> Status:
    """Fetches a relay into a folder of one's own; doing it again fetches what is new.

    Args:
      place: where its members meet.
      folder: of the copy, which `relayjax.backend` then reads and verifies as any run.
      log_key: of the log, 64 hex digits, as known from elsewhere; None to believe the log itself.

    Returns:
      How far the copy is.

    Raises:
      WorkdirError: there is no relay.
      IntegrityError: something is missing, or not what was signed.
      ExchangeError: nobody can be reached now.
      DiskError: the disk refused.
    """
    from relayjax.peers.copying import copy
    from relayjax.peers.joining import met
    from relayjax.peers.observer import Observer
    from relayjax.peers.places import exchange_at

    exchange = exchange_at(str(place))
    followed, origin, pinned = met(exchange, log_key)
    copy(exchange, followed, origin, pinned, Path(folder))
    return Observer(exchange, followed, origin, pinned, believed=log_key is None).status()


def export_bundle(folder: str | Path, bundle: str | Path, since: str | Path | None = None) -> Exported:
    """Writes a bundle to be carried: of letters where the relay itself was imported, else of the relay.

    Args:
      folder: of the relay.
      bundle: its directory.
      since: a bundle of letters from those it is for; what they have is left out.

    Raises:
      ConfigError: `since` is given for letters.
      WorkdirError: there is no relay, its import was cut short, or `bundle` holds something else.
      FormatError, SplitViewError: as `bundle_letters.hold` says of `since`.
      IntegrityError: something in the folder is missing or damaged.
      DiskError: the disk refused.
    """
    from relayjax.peers import bundles

    return bundles.write(Path(folder), Path(bundle), None if since is None else Path(since))


def import_bundle(
    bundle: str | Path, folder: str | Path, log_key: str | None = None, home: str | Path | None = None
) -> Received:
    """Takes in a bundle: a relay's where members without a line meet, letters where the records are ordered.

    Args:
      bundle: its directory.
      folder: of the relay; a new one for the first bundle of a relay.
      log_key: of the log, 64 hex digits, as known from elsewhere; None to believe what is remembered, or the
        bundle itself the first time.
      home: of a member, whose log key and last checkpoint count, too.

    Raises:
      WorkdirError: the folder holds something else, or another process imports into it.
      FormatError: the bundle is damaged, or is none.
      SplitViewError: its log contradicts what was seen before; evidence lies in the folder.
      IntegrityError: files are missing or damaged; what was whole is not fetched again.
      DiskError: the disk refused; importing again goes on.
    """
    from relayjax.peers import bundles

    return bundles.read(Path(bundle), Path(folder), log_key, None if home is None else Path(home))
