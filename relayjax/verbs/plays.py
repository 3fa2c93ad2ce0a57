"""Verbs that play a mechanism without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from rich.console import Console

from relayjax import backend, settings
from relayjax.verbs.flags import Verb, config_named, define_settings, given_settings, no_arguments, string

_SIMULATED = "derelayl_paper"
"""What `simulate` plays if nothing else is named."""


def _define_audit(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    string(values, "config", "digits", "config file, FILE[:VARIANT], or the name of one of RelayJAX's own")
    string(values, "measured", None, "take the learning curve and the participants from this run's ledger")
    flags.DEFINE_boolean("search", True, "find the smallest deposit, too", flag_values=values)
    flags.DEFINE_integer("workers", None, "relays side by side; one a core", 1, flag_values=values)
    string(values, "plot", None, "draw the gains in this .png or .svg file")
    string(values, "json", None, "write the figures to this file")
    from relayjax import config
    from relayjax.incentives.settings import Assumptions

    define_settings(values, config.load(config_named(arguments, "digits")))
    define_settings(values, Assumptions(), "assume")


def _audit(values: flags.FlagValues, arguments: list[str]) -> None:
    no_arguments(arguments)
    import dataclasses

    from relayjax import config
    from relayjax.audit_console import Wanted, run
    from relayjax.incentives.settings import Assumptions

    chosen = config.resolve(values.config, given_settings(values))
    assumed = settings.override(Assumptions(), given_settings(values, "assume"))
    if values.measured:
        world = backend.read_world(Path(values.measured), assumed.world)
        assumed = dataclasses.replace(assumed, world=world)
    plot, data = (Path(name) if name else None for name in (values.plot, values.json))
    run(chosen.relay, chosen.rules, assumed, Wanted(values.search, plot, data, values.workers), Console())


def _define_simulate(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    string(values, "config", _SIMULATED, "config file, FILE[:VARIANT], or the name of one of RelayJAX's own")
    string(
        values, "engine", "numba", "numba: on the processor; jax: on an accelerator, with the same results"
    )
    string(values, "measured", None, "train as well as in this run: gains and success rate from its ledger")
    string(values, "plot", None, "draw versions and coins over rounds in this .png or .svg file")
    string(values, "json", None, "write the figures to this file")
    from relayjax import config
    from relayjax.simulation.settings import Population

    define_settings(values, config.load_as(config_named(arguments, _SIMULATED), Population))


def _simulate(values: flags.FlagValues, arguments: list[str]) -> None:
    no_arguments(arguments)
    from relayjax import config
    from relayjax.simulation.settings import Population
    from relayjax.simulation_console import measured, run

    given, console = given_settings(values), Console()
    chosen = settings.override(config.load_as(values.config, Population), given)
    if values.measured:
        chosen = measured(chosen, Path(values.measured), given, console)
    plot, data = (Path(name) if name else None for name in (values.plot, values.json))
    run(chosen, console, engine=values.engine, plot=plot, data=data)


VERBS = {
    "audit": Verb(_audit, _define_audit, "", "play every deviation: does honest work pay best?"),
    "simulate": Verb(_simulate, _define_simulate, "", "play the rules in a population that trains nothing"),
}
