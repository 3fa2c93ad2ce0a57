"""Which relays are played, and what each attack is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from relayjax.config import Config, Experiment

HONEST, WITHOUT, ALONE = "honest", "without it", "one place alone"
"""Relays to compare with: nobody deviates; the attacker is absent; its second place is."""


@dataclass(frozen=True)
class Cast:
    """Who attacks.

    Attributes:
      trainer: number of the participant.
      places: numbers of two places, the honest one first, for who has both.
      validator: number of the validator.
    """

    trainer: int
    places: tuple[int, int]
    validator: int

    @classmethod
    def of(cls, trainer: int, validator: int, participants: int) -> Cast:
        """The trainer with the next place, the lower number first."""
        low, high = sorted((trainer, (trainer + 1) % participants))
        return cls(trainer, (low, high), validator)


@dataclass(frozen=True)
class Attack:
    """One relay with a deviant.

    Attributes:
      name: in tables.
      experiment: who does what.
      earners: (letter, number) of those whose coins the attacker has.
      compared: the relay in which they are honest: what they earn there is what honesty pays.
      without: the relay whose accuracy the attack may lower by a point at most.
    """

    name: str
    experiment: Experiment
    earners: tuple[tuple[str, int], ...]
    compared: str
    without: str


_TRAINERS = (
    "free_rider", "noise", "scaled_parent", "stale", "copy", "replay", "replay_other", "sign_flip",
    "label_flip", "scaled", "chain_idle", "withhold", "no_deposit", "overbid", "underbid",
)  # fmt: skip


def attacks(config: Config, cast: Cast) -> list[Attack]:
    """All attacks on a relay.

    Args:
      config: of the honest relay.
      cast: who attacks.
    """
    found = [_by_trainer(name, name, cast) for name in _TRAINERS]
    valued = config.relay.valued
    if len(valued) > 2:
        found.append(_by_trainer("late", "late", cast, after=valued[2] - 1))
        found.append(_by_trainer("leaves half-way", "leaves", cast, after=valued[len(valued) // 2]))
    if valued and valued[-1] < config.relay.rounds:
        found.append(_by_trainer("leaves at last", "leaves", cast, after=valued[-1]))
    places = tuple(("p", number) for number in cast.places)
    for name in ("duplicate", "second_leg"):
        experiment = Experiment(deviation=name, deviants=cast.places)
        found.append(Attack(name, experiment, places, ALONE, ALONE))
    for name in ("constant", "favour", "lie", "silent"):
        experiment = Experiment(deviation=name, deviants=(cast.validator,), favoured=cast.trainer)
        gains = (("v", cast.validator), *((("p", cast.trainer),) if name == "favour" else ()))
        found.append(Attack(name, experiment, gains, HONEST, HONEST))
    return found


def references(cast: Cast, lots: int) -> dict[tuple[str, int], Experiment]:
    """The relays that attacks are compared with, by name and lot.

    Every setting is part of what lots and tests are drawn from. The strength of a deviation that has none
    changes nothing else, so it gives the same relay with other lots.

    Args:
      cast: who attacks.
      lots: how often each is played.
    """
    absent = {WITHOUT: cast.trainer, ALONE: cast.places[1]}
    return {(HONEST, lot): Experiment(strength=1 + lot) for lot in range(lots)} | {
        (name, lot): Experiment(deviation="absent", deviants=(number,), strength=1 + lot)
        for name, number in absent.items()
        for lot in range(lots)
    }


def _by_trainer(name: str, deviation: str, cast: Cast, after: int = 0) -> Attack:
    experiment = Experiment(deviation=deviation, deviants=(cast.trainer,), after=after)
    return Attack(name, experiment, (("p", cast.trainer),), HONEST, WITHOUT)
