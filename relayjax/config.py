"""The complete settings of a run, and how a config file becomes them.

A config file is Python with a function `get_config(variant: str) -> Config`; `--config=FILE:VARIANT`
names it. Every field can be overridden by its dotted path, and everything is checked before a run
starts.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from relayjax import settings
from relayjax.errors import ConfigError, RelayError
from relayjax.learning.initial import Initial
from relayjax.learning.leg import LegSettings
from relayjax.learning.task import TaskSettings
from relayjax.learning.tasks.digits import Digits
from relayjax.mechanism.rules import DeRelayLRules, RelayJAXRules, Rules, Schedule
from relayjax.settings import Settings, setting
from relayjax.valuation.paired import least_budget

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class ValuationSettings(Settings):
    """How the value of a braid round is measured."""

    nodes: int = setting(16, "Gauss–Legendre nodes of the Aumann–Shapley integral", low=1, high=256)
    budget: int = setting(
        256, "coalitions evaluated for Shapley; exact where these are all", low=2, high=65_536
    )


TRAINERS = (
    "absent",
    "chain_idle",
    "copy",
    "duplicate",
    "free_rider",
    "label_flip",
    "late",
    "leaves",
    "no_deposit",
    "noise",
    "overbid",
    "replay",
    "replay_other",
    "scaled",
    "scaled_parent",
    "second_leg",
    "sign_flip",
    "stale",
    "underbid",
    "withhold",
)
"""What a participant may do in place of honest work; `relay/deviations.py` says what each is."""

VALIDATORS = ("constant", "favour", "lie", "silent")
"""What a validator may do in place of reporting what it measured."""

HONEST = "none"
SHARED = ("duplicate", "second_leg")
"""Several places, of which the first one works honestly and whose data all of them have."""

_FROM_THE_START = (*SHARED, "label_flip")
"""Deviations in the data, which are fixed before the relay begins."""

_CHAINED = ("chain_idle", "copy", "replay", "replay_other", "stale")
"""Deviations that go by braid rounds, or by the one line of versions; the derelayl rules have neither."""


@dataclass(frozen=True)
class Experiment(Settings):
    """Who does not do what the protocol asks; only an experiment can have that, for it plays everybody."""

    deviation: str = setting(
        HONEST, "what some do in place of what they should", choices=(HONEST, *TRAINERS, *VALIDATORS)
    )
    deviants: tuple[int, ...] = setting(
        (), "who does so: participants by number, or validators, whosever deviation it is", low=0
    )
    strength: float = setting(1.0, "how much of it, times what is usual for it", low=0.0, high=1e6)
    after: int = setting(0, "rounds that deviants play honestly first; that `late` stays away from", low=0)
    favoured: int = setting(0, "participant whom `favour` helps, by number", low=0)

    def check(self) -> None:
        named, who = self.deviation, self.deviants
        if (named == HONEST) != (not who):
            raise ConfigError(
                f"deviation={named}, deviants={who}: name both a deviation and who deviates, or neither"
            )
        if list(who) != sorted(set(who)):
            raise ConfigError(f"deviants={who}: must be ascending, each once")
        if named in SHARED and len(who) < 2:
            raise ConfigError(f"deviants={who}: {named} needs two places or more, the honest one first")
        if named in ("late", "leaves") and not self.after:
            raise ConfigError(f"after={self.after}: say how many rounds {named} lets pass first")
        if named in _FROM_THE_START and self.after:
            raise ConfigError(f"after={self.after}: {named} is in the data from the start; set it to 0")

    def fits(self, relay: Schedule, rules: Rules) -> None:
        """Refuses deviants whom the relay does not have, and what its rules do not know.

        Raises:
          ConfigError: says which.
        """
        named, who = self.deviation, self.deviants
        there = relay.validators if named in VALIDATORS else relay.participants
        if any(number >= there for number in who):
            kind = "validators" if named in VALIDATORS else "participants"
            raise ConfigError(f"experiment.deviants={who}: must be < {there}, the {kind} there are")
        if self.favoured >= relay.participants:
            raise ConfigError(f"experiment.favoured={self.favoured}: must be < {relay.participants}")
        if named == "silent" and 2 * len(who) >= relay.validators:
            raise ConfigError(
                f"experiment.deviants={who}: a majority of the {relay.validators} validators has to report, "
                "or no round can be settled"
            )
        if isinstance(rules, DeRelayLRules) and named in (*_CHAINED, *VALIDATORS):
            raise ConfigError(
                f"experiment.deviation={named}: the derelayl rules do not know it; choose another"
            )


@dataclass(frozen=True)
class Config(Settings):
    """Everything that determines a run: the same config gives the same ledger."""

    task: TaskSettings = setting(Digits, "the model and the data")
    initial: Initial = setting(Initial, "weights that the run starts from")
    leg: LegSettings = setting(LegSettings, "how a participant trains in its leg")
    relay: Schedule = setting(Schedule, "how long the relay is and who runs in it")
    rules: Rules = setting(RelayJAXRules, "the mechanism's numbers")
    valuation: ValuationSettings = setting(ValuationSettings, "how value is measured")
    experiment: Experiment = setting(Experiment, "what only an experiment can do")
    seed: int = setting(0, "of data, parameters, batches, keys and salts", low=0, high=2**31 - 1)

    def check(self) -> None:
        relay = self.relay
        if isinstance(self.rules, DeRelayLRules):
            if relay.braid_rounds:
                raise ConfigError("relay.braid_rounds: the derelayl rules have none; set it to ()")
            if relay.participants < 4:
                raise ConfigError(f"relay.participants={relay.participants}: the derelayl rules need ≥ 4")
        enough = least_budget(relay.participants)
        if relay.braid_rounds and self.valuation.budget < enough:
            raise ConfigError(
                f"valuation.budget={self.valuation.budget}: a braid round of {relay.participants} "
                f"participants takes {enough} or more"
            )
        self.experiment.fits(relay, self.rules)


def load(source: str) -> Config:
    """The config that `FILE[:VARIANT]` names.

    Args:
      source: path of a Python file, or the name of one of RelayJAX's own configs (`digits`), with a
        variant after a colon.

    Raises:
      ConfigError: no such file or variant, or the file does not give a `Config`.
    """
    return load_as(source, Config)


def load_as(source: str, kind: type[S]) -> S:
    """The settings that `FILE[:VARIANT]` names, if they are of this kind; see `load`.

    Raises:
      ConfigError: no such file or variant, or the file gives something else.
    """
    name, _, variant = source.partition(":")
    path = _find(name)
    spec = importlib.util.spec_from_file_location(f"relayjax_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config={name}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up the annotations of classes defined in it
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise ConfigError(f"--config={name}: defines no get_config(variant)")
        config = module.get_config(variant)
    except RelayError:
        raise
    except (Exception, SystemExit) as error:  # it is a program of the user's own: anything can go wrong in it
        raise ConfigError(f"--config={name}: {type(error).__name__}: {error}") from error
    if not isinstance(config, kind):
        raise ConfigError(
            f"--config={name}: get_config returned a {type(config).__name__}, not a {kind.__name__}"
        )
    return config


def resolve(source: str, overrides: Mapping[str, str], seed: int | None = None) -> Config:
    """The config a command line asks for: a file, overrides by dotted path, and a seed.

    Raises:
      ConfigError: see `load` and `settings.override`.
    """
    if seed is not None and "seed" in overrides:
        raise ConfigError("the seed is given twice, as --seed and as --config.seed; give one")
    values = dict(overrides) | ({} if seed is None else {"seed": str(seed)})
    return settings.override(load(source), values)


def unknown_variant(variant: str, known: tuple[str, ...]) -> ConfigError:
    """The error for a variant a config file does not have."""
    names = ", ".join(repr(name) for name in known)
    return ConfigError(f"there is no variant {variant!r}; choose one of {names} (after a colon), or none")


def _find(name: str) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    own = Path(__file__).parent
    for folder in (own / "configs", own.parent / "configs"):
        if (candidate := folder / f"{path.stem}.py").is_file() and path.parent in (Path(), Path("configs")):
            return candidate
    raise ConfigError(f"--config={name}: there is no such file")
