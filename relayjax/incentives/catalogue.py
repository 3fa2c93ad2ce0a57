"""The deviations that an audit plays, by name: who deviates, how, and what they are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from relayjax import misreports
from relayjax.errors import ConfigError
from relayjax.incentives import behaviour, handed
from relayjax.incentives.behaviour import Behaviour
from relayjax.incentives.game import Cast
from relayjax.incentives.settings import Play
from relayjax.incentives.table import validator_names
from relayjax.mechanism.rules import DeRelayLRules, Rules, Schedule


def _always(one: handed.Handed) -> Behaviour:
    return Behaviour(braid=one, chain=one)


TRAINERS: Mapping[str, Behaviour] = {
    "free rider": _always(handed.NOTHING),
    "noise": _always(handed.NOISE),
    "scaled parent": _always(handed.SCALED_PARENT),
    "stale model": _always(handed.STALE),
    "copy of a sibling": Behaviour(braid=handed.COPY, chain=handed.REPLAY),
    "replay of old work": _always(handed.REPLAY),
    "label flip": _always(handed.LABEL_FLIP),
    "sign flip": _always(handed.SIGN_FLIP),
    "idle in chain rounds": Behaviour(chain=handed.NOTHING),
    "noise in chain rounds": Behaviour(chain=handed.NOISE),
    "honest then idle": Behaviour(later=handed.NOTHING),
    "leaves half-way": Behaviour(present=behaviour.until_half),
    "leaves at last": Behaviour(present=behaviour.until_valued),
    "joins late": Behaviour(present=behaviour.after_most_value),
    "withholds": Behaviour(reveals=False),
    "bids nothing": Behaviour(bid=behaviour.nothing),
    "bids all it has": Behaviour(bid=behaviour.everything),
    "bids without depositing": Behaviour(deposits=False),
    "longer delta": Behaviour(braid=handed.LONGER, chain=handed.LONGER_LEG),
    "longer delta in braid rounds": Behaviour(braid=handed.LONGER),
    "replay in chain rounds": Behaviour(chain=handed.REPLAY_OWN),
}
VALIDATORS: Mapping[str, Behaviour] = {
    "constant figures": Behaviour(report=misreports.constant, measures=False),
    "lies": Behaviour(report=misreports.invert),
    "silent": Behaviour(report=misreports.silent, measures=False),
    "shows no report": Behaviour(shows=False),
}
FORFEITING = ("label flip", "sign flip", "withholds", "bids without depositing")
VANDALS = (*FORFEITING, "noise")
"""Played by outsiders, too, who want nothing but to do harm; noise costs them no deposit."""
CHAINED = (
    "copy of a sibling",
    "replay of old work",
    "idle in chain rounds",
    "noise in chain rounds",
    "longer delta",
    "longer delta in braid rounds",
    "replay in chain rounds",
)
"""What goes by chain and braid rounds; the paper's rules have neither."""
FAVOUR, SPLIT, LEGS, VANDAL = (
    "favours an accomplice",
    "places with one delta",
    "places with a leg each",
    "vandal: ",
)
ABSENT = Behaviour(present=behaviour.never)
HONEST, AWAY = "honest", "away"


@dataclass(frozen=True)
class Case:
    """One kind of relay, played with many seeds.

    Attributes:
      name: in tables.
      against: the case whose actors do what these should have done.
      actors: how many deviate.
      places: of the participants; further ones belong to the first actor.
      trainers: what those participants do.
      validators: what those validators do, if it is they who deviate.
      second: what the further places do; nothing without it.
      spiteful: whether harm to others counts for them.
    """

    name: str
    against: str
    actors: int = 0
    places: int = 0
    trainers: Behaviour | None = None
    second: Behaviour | None = None
    validators: Behaviour | None = None
    spiteful: bool = False

    def cast(self, schedule: Schedule, seats: int, seed: int) -> tuple[Cast, tuple[str, ...]]:
        """Who is who in the relay of a seed, and who the actors are.

        The actors are others in every seed, so that those with good data and those with bad have their turn.

        Args:
          schedule: of the relay.
          seats: participants whose data differs.
          seed: of the relay.
        """
        names = [f"p{number}" for number in range(seats)]
        checkers = validator_names(schedule)
        chosen = [names[(seed + i) % seats] for i in range(self.actors)] if self.trainers else []
        judges = [checkers[(seed + i) % len(checkers)] for i in range(self.actors)] if self.validators else []
        behaviours: dict[str, Behaviour] = dict.fromkeys(chosen, self.trainers) if self.trainers else {}
        if self.validators:
            behaviours |= dict.fromkeys(judges, self.validators)
        places = {name: number for number, name in enumerate(names)}
        if self.places:
            owner = names[seed % seats]
            others = [f"q{number}" for number in range(1, self.places)]
            places |= dict.fromkeys(others, places[owner])
            behaviours |= dict.fromkeys(others, self.second or ABSENT)
            return Cast(places, behaviours), (owner, *others)
        accomplices = frozenset(chosen) if self.validators else frozenset[str]()
        return Cast(places, behaviours, accomplices), (*chosen, *judges)


def cases(schedule: Schedule, rules: Rules, play: Play) -> list[Case]:
    """Everything that is to be played, what others are held against first.

    Raises:
      ConfigError: an unknown deviation is asked for, or the relay is too small for the coalition.
    """
    size = play.coalition
    if size > schedule.participants:
        raise ConfigError(f"play.coalition={size}: there are {schedule.participants} participants")
    found = [*_by_trainers(size), *_by_validators(schedule, min(size, schedule.validators))]
    found += [case for places in play.identities for case in _by_places(schedule, places)]
    if isinstance(rules, DeRelayLRules):
        found = [case for case in found if case.name not in CHAINED and not case.places]
        found = [case for case in found if case.validators is None]
        idle = VALIDATORS["constant figures"]
        found.append(Case("scores without measuring", HONEST, size, trainers=idle))  # there, they maintain
    known = [case.name for case in found]
    if unknown := sorted(set(play.deviations) - set(known)):
        raise ConfigError(
            f"play.deviations: there is no {', '.join(unknown)}; choose from {', '.join(known)}"
        )
    wanted = [case for case in found if not play.deviations or case.name in play.deviations]
    needed = {case.against for case in wanted}
    references = [case for case in _references(schedule, size) if case.name in needed | {HONEST}]
    return references + wanted


def _references(schedule: Schedule, size: int) -> list[Case]:
    judged = replace(Case(_judges(1), ""), validators=Behaviour())
    found = [Case(HONEST, "", actors=size, trainers=Behaviour()), vandals(size)[0]]
    for number in range(1, schedule.validators + 1):
        found += [replace(judged, name=_judges(number), actors=number), conspiracy(number)[0]]
    return found + [Case(_alone(places), "", places=places) for places in range(2, 65)]


def _by_trainers(size: int) -> list[Case]:
    found = [Case(name, HONEST, size, trainers=own) for name, own in TRAINERS.items()]
    return found + [case for case in vandals(size) if case.against]


def _by_validators(schedule: Schedule, size: int) -> list[Case]:
    found = []
    for name, own in VALIDATORS.items():
        mute = own.report is misreports.silent
        if not (mute and 2 * size >= schedule.validators):  # nobody could go on without them
            found.append(Case(name, _judges(size), size, validators=own))
    return [*found, *(case for case in conspiracy(size) if case.against)]


def conspiracy(size: int) -> list[Case]:
    """Validators that favour as many trainers, idle ones, with what they are held against; they share it."""
    own, honest = Behaviour(report=misreports.favour), _conspirators(size)
    return [
        Case(honest, "", size, trainers=Behaviour(), validators=Behaviour()),
        Case(FAVOUR, honest, size, trainers=_always(handed.NOTHING), validators=own),
    ]


def vandals(size: int, names: Sequence[str] = VANDALS) -> list[Case]:
    """Who wants nothing but to do harm, with what it is held against: to stay away."""
    away = Case(AWAY, "", size, trainers=ABSENT)
    found = [Case(VANDAL + name, AWAY, size, trainers=TRAINERS[name], spiteful=True) for name in names]
    return [away, *found]


def _by_places(schedule: Schedule, places: int) -> list[Case]:
    if schedule.participants + places - 1 > 256:
        raise ConfigError(f"play.identities={places}: a relay has at most 256 participants")
    against = _alone(places)
    copies = Behaviour(braid=handed.SECOND_COPY, chain=handed.REPLAY_OWN)
    return [
        Case(f"{places} {SPLIT}", against, places=places, second=copies),
        Case(f"{places} {LEGS}", against, places=places, second=_always(handed.SECOND_LEG)),
    ]


def _judges(size: int) -> str:
    return f"{size} honest validators"


def _conspirators(size: int) -> str:
    return f"{size} honest trainers and validators"


def _alone(places: int) -> str:
    return f"one of {places} places"
