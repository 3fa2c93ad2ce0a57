"""The command line: `relayjax VERB ...`. It parses, calls the backend, and prints.

Every verb has flags of its own. `run`, `simulate` and `audit` also have one flag for every setting of the
config they are given, by dotted path, so that a misspelt one is refused before anything starts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from rich.console import Console

import relayjax
from relayjax import backend, settings
from relayjax.errors import ConfigError, RelayError
from relayjax.identity import Keys
from relayjax.workdir import Workdir

if TYPE_CHECKING:
    from relayjax.config import Config
    from relayjax.ledger.policy import Policy

REFUSED, INTERRUPTED = 1, 130

_SIMULATED = "derelayl_paper"
"""What `simulate` plays if nothing else is named."""


@dataclass(frozen=True)
class Verb:
    """One command.

    Attributes:
      run: does it, given its flags and positional arguments.
      define: declares its flags, given the raw arguments.
      arguments: its positional arguments, for help.
      help: one line.
    """

    run: Callable[[flags.FlagValues, list[str]], None]
    define: Callable[[flags.FlagValues, Sequence[str]], None]
    arguments: str
    help: str


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 done, 1 refused or found wrong, 130 interrupted."""
    name, *arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_overview())
        return 0
    if name == "--version":
        print(relayjax.__version__)
        return 0
    try:
        if name not in VERBS:
            raise ConfigError(f"there is no verb {name!r}; the verbs are {', '.join(VERBS)}")
        verb, values = VERBS[name], flags.FlagValues()
        verb.define(values, arguments)
        if {"--help", "-h"} & set(arguments):
            print(_help(name, verb, values))
            return 0
        verb.run(values, values([name, *arguments])[1:])
    except (RelayError, flags.Error, OSError) as error:
        print(f"relayjax {name}: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("\nstopped; what was settled is kept. The same command goes on from there.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _define_run(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    _string(values, "config", "digits", "config file, FILE[:VARIANT], or the name of one of RelayJAX's own")
    _string(values, "workdir", None, "directory of the run; resumed if it holds this run already")
    flags.DEFINE_integer("seed", None, "short for --config.seed", flag_values=values)
    flags.DEFINE_boolean("report", True, "write report.html at the end", flag_values=values)
    flags.DEFINE_boolean("baselines", True, "train pooled and alone for comparison", flag_values=values)
    from relayjax import config

    _define_settings(values, config.load(_config_named(arguments, "digits")))


def _define_settings(values: flags.FlagValues, chosen: settings.Settings, prefix: str = "config") -> None:
    """A flag for every setting, by dotted path."""
    for path, (value, spec) in settings.flatten(chosen).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        notes = "".join(f"; {note}" for note in (spec.bounds(), spec.unit) if note)
        _string(values, f"{prefix}.{path}", None, f"{spec.help} ({text or 'none'}{notes})")


def _given_settings(values: flags.FlagValues, prefix: str = "config") -> dict[str, str]:
    """The settings given as flags: dotted path → text."""
    return {
        name.removeprefix(f"{prefix}."): text
        for name in values
        if name.startswith(f"{prefix}.") and (text := values[name].value) is not None
    }


def _config_named(arguments: Sequence[str], default: str) -> str:
    """The value of --config, which decides which other flags there are."""
    named = default
    for flag, following in pairwise([*arguments, ""]):
        if flag.lstrip("-").startswith("config=") and flag.startswith("-"):
            named = flag.partition("=")[2]
        elif flag in ("--config", "-config"):
            named = following
    return named


def _run(values: flags.FlagValues, arguments: list[str]) -> None:
    _no_arguments(arguments)
    if not values.workdir:
        raise ConfigError("--workdir=DIRECTORY is needed: where to keep ledger, artefacts and report")
    from relayjax import config
    from relayjax.console import play

    chosen = config.resolve(values.config, _given_settings(values), values.seed)
    play(chosen, Path(values.workdir), Console(), with_report=values.report, baselines=values.baselines)


def _define_verify(values: flags.FlagValues, _: Sequence[str]) -> None:
    flags.DEFINE_boolean("rescore", False, "recompute every score and value, too", flag_values=values)
    _string(
        values, "key", None, "key of a maintainer or licence holder, DIRECTORY/NAME; opens what is sealed"
    )
    _string(values, "log_key", None, "the log's public key (64 hex digits), as known from elsewhere")
    _string(values, "config", None, "config file, to rescore a task that is not RelayJAX's own")
    _string(values, "policy", None, "policy file: the logs to accept and the witnesses they need")
    _string(values, "seen", None, "file that remembers the log's checkpoint, to notice another history")
    flags.DEFINE_boolean("ledger", False, "check the ledger alone, however long it is", flag_values=values)
    flags.DEFINE_integer("workers", 2, "processes for --ledger; 0 is this one", flag_values=values)


def _verify(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.console import print_verified

    policy, seen = _policy(values.policy), Path(values.seen) if values.seen else None
    if values.ledger:
        from relayjax.trust_console import check_ledger

        check_ledger(_workdir(arguments), policy, seen, values.workers, Console())
        return
    verified = backend.verify(
        _workdir(arguments),
        keys=_keys(values.key) if values.key else None,
        log_key=values.log_key,
        rescored=values.rescore,
        config=_config(values.config),
        policy=policy,
        seen=seen,
    )
    print_verified(verified, Console())


def _report(_: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.console import write_report

    print(write_report(Workdir(_workdir(arguments))))


def _define_explain(values: flags.FlagValues, _: Sequence[str]) -> None:
    _string(values, "participant", None, "whose contributions and pay to explain")


def _explain(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.report.explain import explain

    if not values.participant:
        raise ConfigError("--participant=NAME is needed: whose contributions and pay to explain")
    print(explain(backend.read_history(_workdir(arguments)), values.participant))


def _define_value(values: flags.FlagValues, _: Sequence[str]) -> None:
    from relayjax.appraisal import EXAMPLES, METHODS

    methods = ", ".join(METHODS)
    _string(values, "method", None, f"one of {methods} (aumann-shapley; orthogonal for another metric)")
    _string(values, "metric", "loss", "what is valued: the loss, or a metric of the task's (more is better)")
    _string(values, "examples", EXAMPLES[0], "drawn: each round's own; validation: all of them")
    flags.DEFINE_integer("budget", 1024, "most coalitions to evaluate in a round", flag_values=values)
    flags.DEFINE_float("target_stderr", None, "stop a round at this standard error", flag_values=values)
    _string(values, "key", None, "key of a maintainer, DIRECTORY/NAME; opens the deltas")
    _string(values, "config", None, "config file, to value a task that is not RelayJAX's own")
    _string(values, "plot", None, "draw values beside what was paid in this .png or .svg file")
    _string(values, "json", None, "write everything to this file")
    _string(values, "against", None, "retrain: compare with retraining the relay without each participant")
    flags.DEFINE_integer("repeats", 1, "retrainings without each, with other batches", flag_values=values)


def _value(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.appraisal import Measure
    from relayjax.value_console import Wanted, value

    if values.against not in (None, "retrain"):
        raise ConfigError(f"--against={values.against}: the only choice is retrain")
    if values.repeats < 1:
        raise ConfigError(f"--repeats={values.repeats}: give 1 or more")
    measure = Measure(values.method, values.budget, values.target_stderr, values.examples, values.metric)
    wanted = Wanted(
        Path(values.plot) if values.plot else None,
        Path(values.json) if values.json else None,
        values.repeats if values.against else 0,
    )
    keys, chosen = _keys(values.key) if values.key else None, _config(values.config)
    value(_workdir(arguments), measure, wanted, Console(), keys=keys, config=chosen)


def _define_simulate(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    _string(values, "config", _SIMULATED, "config file, FILE[:VARIANT], or the name of one of RelayJAX's own")
    _string(
        values, "engine", "numba", "numba: on the processor; jax: on an accelerator, with the same results"
    )
    _string(values, "measured", None, "train as well as in this run: gains and success rate from its ledger")
    _string(values, "plot", None, "draw versions and coins over rounds in this .png or .svg file")
    _string(values, "json", None, "write the figures to this file")
    from relayjax import config
    from relayjax.simulation.settings import Population

    _define_settings(values, config.load_as(_config_named(arguments, _SIMULATED), Population))


def _define_audit(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    _string(values, "config", "digits", "config file, FILE[:VARIANT], or the name of one of RelayJAX's own")
    _string(values, "measured", None, "take the learning curve and the participants from this run's ledger")
    flags.DEFINE_boolean("search", True, "find the smallest deposit, too", flag_values=values)
    flags.DEFINE_integer("workers", None, "relays side by side; one a core", 1, flag_values=values)
    _string(values, "plot", None, "draw the gains in this .png or .svg file")
    _string(values, "json", None, "write the figures to this file")
    from relayjax import config
    from relayjax.incentives.settings import Assumptions

    _define_settings(values, config.load(_config_named(arguments, "digits")))
    _define_settings(values, Assumptions(), "assume")


def _audit(values: flags.FlagValues, arguments: list[str]) -> None:
    _no_arguments(arguments)
    import dataclasses

    from relayjax import config
    from relayjax.audit_console import Wanted, run
    from relayjax.incentives.settings import Assumptions

    chosen = config.resolve(values.config, _given_settings(values))
    assumed = settings.override(Assumptions(), _given_settings(values, "assume"))
    if values.measured:
        world = backend.read_world(Path(values.measured), assumed.world)
        assumed = dataclasses.replace(assumed, world=world)
    plot, data = (Path(name) if name else None for name in (values.plot, values.json))
    run(chosen.relay, chosen.rules, assumed, Wanted(values.search, plot, data, values.workers), Console())


def _simulate(values: flags.FlagValues, arguments: list[str]) -> None:
    _no_arguments(arguments)
    from relayjax import config
    from relayjax.simulation.settings import Population
    from relayjax.simulation_console import measured, run

    given, console = _given_settings(values), Console()
    chosen = settings.override(config.load_as(values.config, Population), given)
    if values.measured:
        chosen = measured(chosen, Path(values.measured), given, console)
    plot, data = (Path(name) if name else None for name in (values.plot, values.json))
    run(chosen, console, engine=values.engine, plot=plot, data=data)


def _define_open(values: flags.FlagValues, _: Sequence[str]) -> None:
    _string(values, "key", None, "the key to open the head with, DIRECTORY/NAME, such as runs/digits/keys/p0")
    _string(values, "out", None, "write the weights to this .npz or .safetensors file")


def _open(values: flags.FlagValues, arguments: list[str]) -> None:
    if not values.key:
        raise ConfigError("--key=DIRECTORY/NAME is needed: whose key to open the head with")
    from relayjax.console import print_weights

    print_weights(backend.open_head(_workdir(arguments), _keys(values.key)), values.out, Console())


def _define_keys(values: flags.FlagValues, _: Sequence[str]) -> None:
    flags.DEFINE_boolean("locked", False, "keep them behind a password", flag_values=values)
    _string(values, "witness", None, "name under which a witness will cosign with them")


def _make_keys(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.keys_console import make_keys

    if len(arguments) != 1:
        raise ConfigError("give exactly one DIRECTORY/NAME")
    make_keys(Path(arguments[0]), Console(), locked=values.locked, witness=values.witness)


def _define_witness(values: flags.FlagValues, _: Sequence[str]) -> None:
    _string(values, "name", None, "name under which to cosign, for instance witness.example/w1")
    _string(values, "key", None, "key of the witness, DIRECTORY/NAME, used for nothing else")
    _string(values, "logs", None, "policy file whose logs are served")
    _string(values, "listen", "127.0.0.1:8100", "HOST:PORT")


def _witness(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.witness_console import read_policy, serve

    if not (len(arguments) == 1 and values.name and values.key and values.logs):
        raise ConfigError("give a DIRECTORY to remember in, --name, --key and --logs")
    policy = read_policy(Path(values.logs))
    serve(Path(arguments[0]), values.name, _keys(values.key), policy, values.listen, Console())


def _define_policy(values: flags.FlagValues, _: Sequence[str]) -> None:
    _string(values, "policy", None, "policy file: the logs to accept and the witnesses they need")


def _cosign(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.witness_console import cosign

    if not cosign(_workdir(arguments), _required_policy(values), Console()):
        raise ConfigError("too few witnesses have cosigned; ask again later")


def _define_receipts(values: flags.FlagValues, _: Sequence[str]) -> None:
    _string(values, "participant", None, "whose contributions; everybody's by default")
    _string(values, "out", "receipts", "directory to write to")


def _receipts(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.trust_console import write_receipts

    write_receipts(_workdir(arguments), Path(values.out), values.participant, Console())


def _receipt(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.trust_console import check_receipt

    check_receipt(_file(arguments), _required_policy(values), Console())


def _evidence(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.trust_console import check_evidence

    check_evidence(_file(arguments), _required_policy(values), Console())


VERBS = {
    "run": Verb(_run, _define_run, "", "train a model in a relay; resumes where it was stopped"),
    "verify": Verb(_verify, _define_verify, "WORKDIR", "check a run: ledger, artefacts, payouts, weights"),
    "report": Verb(_report, lambda values, arguments: None, "WORKDIR", "write report.html anew"),
    "explain": Verb(_explain, _define_explain, "WORKDIR", "say why a participant got what it got"),
    "value": Verb(
        _value, _define_value, "WORKDIR", "say what everybody's work is worth, beside what was paid"
    ),
    "audit": Verb(_audit, _define_audit, "", "play every deviation: does honest work pay best?"),
    "simulate": Verb(_simulate, _define_simulate, "", "play the rules in a population that trains nothing"),
    "open": Verb(_open, _define_open, "WORKDIR", "open the newest weights with a licence holder's key"),
    "receipts": Verb(_receipts, _define_receipts, "WORKDIR", "write a receipt for every contribution"),
    "receipt": Verb(_receipt, _define_policy, "FILE", "check a receipt without the log"),
    "cosign": Verb(_cosign, _define_policy, "WORKDIR", "ask witnesses to cosign the ledger"),
    "witness": Verb(_witness, _define_witness, "DIRECTORY", "serve as a witness of other people's ledgers"),
    "evidence": Verb(_evidence, _define_policy, "FILE", "check evidence that a log told two histories"),
    "keys": Verb(_make_keys, _define_keys, "DIRECTORY/NAME", "make keys"),
}


def _overview() -> str:
    verbs = "\n".join(f"  {name:<8} {verb.arguments:<8} {verb.help}" for name, verb in VERBS.items())
    return (
        f"RelayJAX {relayjax.__version__}: decentralized relay learning in JAX\n\n"
        f"usage: relayjax VERB [ARGUMENTS] [--flags]\n\n{verbs}\n\nrelayjax VERB --help shows a verb's flags."
    )


def _help(name: str, verb: Verb, values: flags.FlagValues) -> str:
    usage = f"usage: relayjax {name} {verb.arguments} [--flags]".replace("  ", " ")
    lines = [f"  --{flag}  {values[flag].help}" for flag in sorted(values, key=lambda f: ("." in f, f))]
    return "\n".join([usage, "", verb.help, "", *lines])


def _string(values: flags.FlagValues, name: str, default: str | None, help: str) -> None:
    flags.DEFINE_string(name, default, help, flag_values=values)


def _workdir(arguments: list[str]) -> Path:
    if len(arguments) != 1:
        raise ConfigError("give exactly one WORKDIR")
    return Path(arguments[0])


def _no_arguments(arguments: list[str]) -> None:
    if arguments:
        raise ConfigError(f"unexpected argument {arguments[0]!r}; settings are given as --config.NAME=VALUE")


def _config(source: str | None) -> Config | None:
    if not source:
        return None
    from relayjax import config

    return config.load(source)


def _keys(path: str) -> Keys:
    from relayjax.keys_console import open_keys

    return open_keys(path)


def _policy(file: str | None) -> Policy | None:
    if not file:
        return None
    from relayjax.witness_console import read_policy

    return read_policy(Path(file))


def _required_policy(values: flags.FlagValues) -> Policy:
    policy = _policy(values.policy)
    if policy is None:
        raise ConfigError("--policy=FILE is needed: the logs to accept and the witnesses they need")
    return policy


def _file(arguments: list[str]) -> Path:
    if len(arguments) != 1:
        raise ConfigError("give exactly one FILE")
    return Path(arguments[0])
