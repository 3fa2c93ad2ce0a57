"""How somebody joins a relay: by registering a name, keys and a role. No accelerator stack is needed."""

from __future__ import annotations

from relayjax import records
from relayjax.errors import ExchangeError, FormatError, IntegrityError, RelayError, WorkdirError
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.entry import Entry
from relayjax.ledger.note import SIZE_LIMIT, parse_note
from relayjax.ledger.tiles import ENTRY_LIMIT, WIDTH, decode_bundle, tiles_of
from relayjax.peers.exchange import Exchange
from relayjax.peers.follower import CHECKPOINT, Follower
from relayjax.peers.home import Home, Membership
from relayjax.peers.quorum import follower
from relayjax.peers.several import Several
from relayjax.peers.voice import Voice
from relayjax.records import Genesis, Join


def introduced(exchange: Exchange) -> tuple[str, str]:
    """The name and the public key that a log gives itself, which nobody has vouched for.

    Raises:
      WorkdirError: there is no relay, or it has not begun.
      IntegrityError: what is there is malformed.
    """
    note = exchange.fetch(CHECKPOINT, SIZE_LIMIT)
    if note is None:
        raise WorkdirError("no relay there; ask who founded it for the right place")
    try:
        checkpoint = Checkpoint.decode(parse_note(note).text)
        tile = next(iter(tiles_of(checkpoint.size)), None)
        path = None if tile is None else f"ledger/{tile.bundle_path}"
        bundle = None if path is None else exchange.fetch(path, WIDTH * ENTRY_LIMIT)
        if bundle is None:
            raise WorkdirError("the relay's log is empty, or its first entries are missing; try again later")
        first = records.decode(Entry.decode(next(decode_bundle(bundle), b"")).envelope.payload)
        if not isinstance(first, Genesis):
            raise FormatError(f"starts with a {first.KIND} record")
    except FormatError as error:
        raise IntegrityError("ledger", str(error)) from error
    return checkpoint.origin, first.signing


def met(exchange: Exchange, log_key: str | None) -> tuple[Follower, str, str]:
    """Follows a log for the first time: its follower, which has read it, its name and its key.

    Args:
      exchange: where it is; of several places the first counts that gives the name of a log which counts.
      log_key: as known from elsewhere; None to believe what a place says.

    Raises:
      WorkdirError: there is no relay, or it has not begun.
      IntegrityError: the log is not signed with that key, or not right.
      ExchangeError: nobody can be reached, or too few show the log.
    """
    several = exchange.places if isinstance(exchange, Several) else (exchange,)
    names, silent, refused = dict[tuple[str, str], None](), list[RelayError](), list[RelayError]()
    for place in several:
        try:
            origin, claimed = introduced(place)
            names[origin, log_key or claimed] = None
        except (ExchangeError, IntegrityError, WorkdirError) as error:
            silent.append(error)
    for origin, key in names:
        first = follower(exchange, origin, key)
        try:
            first.poll()
        except (ExchangeError, IntegrityError) as error:
            refused.append(error)
        if first.chronicle.state is not None:
            return first, origin, key
    if names and not refused:
        problem = "too few of its places show it"
        raise ExchangeError("the relay", problem, "wait, or see whether the addresses are right")
    raise (refused or silent)[0]


def follow(exchange: Exchange, home: Home) -> Follower:
    """A member's follower of its relay, which remembers in its directory what it saw.

    Raises:
      WorkdirError: nobody has joined with this directory.
    """
    member = home.membership()
    return follower(exchange, member.origin, member.log_key, home.seen)


def join(exchange: Exchange, home: Home, name: str, role: str, log_key: str | None = None) -> str | None:
    """Hands in a registration; doing it again changes nothing.

    Args:
      exchange: of the relay.
      home: the member's own directory; keys are made in it.
      name: the member's.
      role: `participant` or `maintainer`.
      log_key: the log's public key, 64 hex digits, as known from elsewhere; None to believe the log itself,
        this first time.

    Returns:
      Why it was refused; None if it was not, or not yet.

    Raises:
      WorkdirError: there is no relay, or the directory is that of another membership.
      IntegrityError: the log is not signed with that key, or not right.
    """
    known = home.membership().log_key if home.exists else None
    if known and log_key not in (None, known):
        raise WorkdirError(f"{home.path}: follows the log key {known}; choose another --home")
    first, origin, pinned = met(exchange, known or log_key)
    now = first.chronicle.state
    if now is not None and now.finished and name not in now.members:
        return f"the relay is over, all {now.round.number - 1} rounds are settled; `relayjax copy` fetches it"
    keys = home.make_keys(name)
    home.remember(Membership(name, role, origin, pinned))
    followed = follow(exchange, home)
    followed.poll()
    state, public = followed.chronicle.history.state, keys.public
    if name in state.members:
        mine = state.members[name].signing == public.signing
        return None if mine else f"the name {name} is taken"
    return Voice(exchange, keys).say(Join(name, role, public.signing, public.receiving), state)
