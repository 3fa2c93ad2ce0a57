"""Verbs that make a run, read it, and open what it has made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from rich.console import Console

from relayjax import backend
from relayjax.errors import ConfigError
from relayjax.model_signature import signer
from relayjax.verbs.flags import (
    Verb,
    config_named,
    config_of,
    define_settings,
    given_settings,
    keys_of,
    no_arguments,
    policy_of,
    string,
    workdir,
)
from relayjax.workdir import Workdir


def _define_run(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    string(values, "config", "digits", "config file, FILE[:VARIANT], or the name of one of RelayJAX's own")
    string(values, "workdir", None, "directory of the run; resumed if it holds this run already")
    flags.DEFINE_integer("seed", None, "short for --config.seed", flag_values=values)
    flags.DEFINE_boolean("report", True, "write report.html at the end", flag_values=values)
    flags.DEFINE_boolean("baselines", True, "train pooled and alone for comparison", flag_values=values)
    from relayjax import config

    define_settings(values, config.load(config_named(arguments, "digits")))


def _run(values: flags.FlagValues, arguments: list[str]) -> None:
    no_arguments(arguments)
    if not values.workdir:
        raise ConfigError("--workdir=DIRECTORY is needed: where to keep ledger, artefacts and report")
    from relayjax import config
    from relayjax.console import play

    chosen = config.resolve(values.config, given_settings(values), values.seed)
    play(chosen, Path(values.workdir), Console(), with_report=values.report, baselines=values.baselines)


def _define_verify(values: flags.FlagValues, _: Sequence[str]) -> None:
    flags.DEFINE_boolean("rescore", False, "recompute every score and value, too", flag_values=values)
    string(values, "key", None, "key of a maintainer or licence holder, DIRECTORY/NAME; opens what is sealed")
    string(values, "log_key", None, "the log's public key (64 hex digits), as known from elsewhere")
    string(values, "config", None, "config file, to rescore a task that is not RelayJAX's own")
    string(values, "policy", None, "policy file: the logs to accept and the witnesses they need")
    string(values, "seen", None, "file that remembers the log's checkpoint, to notice another history")
    flags.DEFINE_boolean("ledger", False, "check the ledger alone, however long it is", flag_values=values)
    flags.DEFINE_integer("workers", 2, "processes for --ledger; 0 is this one", flag_values=values)


def _verify(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.console import print_verified

    policy, seen = policy_of(values.policy), Path(values.seen) if values.seen else None
    if values.ledger:
        from relayjax.trust_console import check_ledger

        check_ledger(workdir(arguments), policy, seen, values.workers, Console())
        return
    verified = backend.verify(
        workdir(arguments),
        keys=keys_of(values.key) if values.key else None,
        log_key=values.log_key,
        rescored=values.rescore,
        config=config_of(values.config),
        policy=policy,
        seen=seen,
    )
    print_verified(verified, Console())


def _report(_: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.console import write_report

    print(write_report(Workdir(workdir(arguments))))


def _define_explain(values: flags.FlagValues, _: Sequence[str]) -> None:
    string(values, "participant", None, "whose contributions and pay to explain")


def _explain(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.report.explain import explain

    if not values.participant:
        raise ConfigError("--participant=NAME is needed: whose contributions and pay to explain")
    print(explain(backend.read_history(workdir(arguments)), values.participant))


def _define_value(values: flags.FlagValues, _: Sequence[str]) -> None:
    from relayjax.appraisal import EXAMPLES, METHODS

    methods = ", ".join(METHODS)
    string(values, "method", None, f"one of {methods} (aumann-shapley; orthogonal for another metric)")
    string(values, "metric", "loss", "what is valued: the loss, or a metric of the task's (more is better)")
    string(values, "examples", EXAMPLES[0], "drawn: each round's own; validation: all of them")
    flags.DEFINE_integer("budget", 1024, "most coalitions to evaluate in a round", flag_values=values)
    flags.DEFINE_float("target_stderr", None, "stop a round at this standard error", flag_values=values)
    string(values, "key", None, "key of a maintainer, DIRECTORY/NAME; opens the deltas")
    string(values, "config", None, "config file, to value a task that is not RelayJAX's own")
    string(values, "plot", None, "draw values beside what was paid in this .png or .svg file")
    string(values, "json", None, "write everything to this file")
    string(values, "against", None, "retrain: compare with retraining the relay without each participant")
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
    keys, chosen = keys_of(values.key) if values.key else None, config_of(values.config)
    value(workdir(arguments), measure, wanted, Console(), keys=keys, config=chosen)


def _define_open(values: flags.FlagValues, _: Sequence[str]) -> None:
    string(values, "key", None, "the key to open the head with, DIRECTORY/NAME, such as runs/digits/keys/p0")
    string(values, "out", None, "write the weights to this .npz or .safetensors file")
    string(
        values, "checkpoint", None, "save them as an Orbax checkpoint in this new directory, for any sharding"
    )
    string(values, "sign", None, "EC private key, PEM: sign that file by OpenSSF Model Signing")


def _open(values: flags.FlagValues, arguments: list[str]) -> None:
    if not values.key:
        raise ConfigError("--key=DIRECTORY/NAME is needed: whose key to open the head with")
    if values.sign and not values.out:
        raise ConfigError("--out=FILE is needed with --sign: what to sign")
    from relayjax.console import print_weights

    sign, keys = signer(Path(values.sign)) if values.sign else None, keys_of(values.key)
    print_weights(backend.open_head(workdir(arguments), keys), values.out, Console())
    if values.checkpoint:
        version = backend.save_head(workdir(arguments), keys, values.checkpoint)
        Console().print(
            f"version {version.number} saved as an Orbax checkpoint in {values.checkpoint}",
            soft_wrap=True,
            markup=False,
        )
    if sign:
        Console().print(f"signed in {sign(Path(values.out))}", soft_wrap=True, markup=False)


VERBS = {
    "run": Verb(_run, _define_run, "", "train a model in a relay; resumes where it was stopped"),
    "verify": Verb(_verify, _define_verify, "WORKDIR", "check a run: ledger, artefacts, payouts, weights"),
    "report": Verb(_report, lambda values, arguments: None, "WORKDIR", "write report.html anew"),
    "explain": Verb(_explain, _define_explain, "WORKDIR", "say why a participant got what it got"),
    "value": Verb(
        _value, _define_value, "WORKDIR", "say what everybody's work is worth, beside what was paid"
    ),
    "open": Verb(_open, _define_open, "WORKDIR", "open the newest weights with a licence holder's key"),
}
