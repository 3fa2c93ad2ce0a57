"""What members of a relay see: how to join, and their loops until it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from relayjax import peers
from relayjax.peers.events import Begun, Event, Failed, Finished, ServingOn, Settled, Told, TookOver
from relayjax.peers.member import GIVE_UP, Member
from relayjax.peers.places import own_and_others
from relayjax.peers.standing import Status
from relayjax.peers_view import ledger, own, say, where

if TYPE_CHECKING:
    from relayjax.config import Config


def found(config: Config, folder: Path, home: Path, name: str, console: Console) -> None:
    """Founds a relay and says how others join it."""
    relay = peers.found(config, folder, home, name)
    say(console, f"founded    {relay.origin} in {folder}; {name} orders its records")
    say(console, f"log key    {relay.log_key}")
    say(console, f"others     relayjax join {folder} --home=DIR --name=NAME --log_key={relay.log_key}")
    say(console, f"next       relayjax maintain {folder} --home={home}")


def join(place: str, home: Path, name: str, role: str, log_key: str | None, console: Console) -> None:
    """Registers with a relay and says what to do next."""
    joined = peers.join(place, home, name, role, log_key)
    member = joined.membership
    say(console, f"joining    {member.origin} as {role} {name}; keys in {home / 'keys'}")
    say(console, f"log key    {member.log_key}")
    if joined.believed:
        say(console, "           believed at first sight: compare it with what the founder says")
    verb, more = ("work", " --shard=K") if role == "participant" else ("maintain", "")
    say(console, f"next       relayjax {verb} {place} --home={home}{more}")


def work(member: Member, poll: float | None, view: MemberView, give_up: float = GIVE_UP) -> None:
    """A member's loop until the relay is finished, or until nothing is to be done if nobody polls."""
    with member:
        member.subscribe(view)
        if poll is not None:
            member.run(poll, give_up)
            return
        while member.step():
            pass
        if not member.finished:
            say(view.console, "looked     once; more is to be done when the log has gone on")


@dataclass(frozen=True)
class MemberView:
    """Prints what a member tells.

    Attributes:
      place, home: as they were given.
      console: where to print.
    """

    place: str
    home: Path
    console: Console

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        for line in self._lines(event):
            say(self.console, line)

    def _lines(self, event: Event) -> list[str]:
        match event:
            case Begun(status=status):
                return [where(status)]
            case Settled(round=number, topology=topology, accepted=accepted):
                return [f"round {number} ({topology}): accepted {', '.join(accepted) or 'nobody'}"]
            case TookOver(orderer=orderer, term=term):
                return [f"orders     {orderer}, in term {term}"]
            case Told(text=text):
                return [text]
            case Failed(error=error):
                return [str(error)]
            case ServingOn(seconds=seconds):
                return [f"finished   serving on until nobody asks for {seconds:g} s"]
            case Finished(status=status):
                return self._end(status)
            case _:
                return []

    def _end(self, status: Status) -> list[str]:
        """How far the relay came, and how the member checks it."""
        lines, account = [where(status)], status.account
        pinned, place, key = f"--log_key={status.log_key}", self.place, ""
        if account:
            lines.append(own(account))
            key = f" --key={self.home / 'keys' / account.name}"
        lines.append(ledger(status))
        folder, _ = own_and_others(place)
        if folder is None:
            lines.append(f"copy       relayjax copy {place} COPY {pinned}")
        return [*lines, f"check      relayjax verify {folder or 'COPY'} {pinned}{key}"]
