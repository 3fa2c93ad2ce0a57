"""Verbs for who trusts nobody: keys, witnesses, receipts, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from rich.console import Console

from relayjax.errors import ConfigError
from relayjax.verbs.flags import Verb, file_of, keys_of, required_policy, string, workdir


def _define_keys(values: flags.FlagValues, _: Sequence[str]) -> None:
    flags.DEFINE_boolean("locked", False, "keep them behind a password", flag_values=values)
    string(values, "witness", None, "name under which a witness will cosign with them")


def _make_keys(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.keys_console import make_keys

    if len(arguments) != 1:
        raise ConfigError("give exactly one DIRECTORY/NAME")
    make_keys(Path(arguments[0]), Console(), locked=values.locked, witness=values.witness)


def _define_licences(values: flags.FlagValues, _: Sequence[str]) -> None:
    string(values, "of", None, "everything that this member could open")
    flags.DEFINE_integer("version", None, "everything of this version, and who could", flag_values=values)
    string(values, "json", None, "write it to this file")


def _licences(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.licences_console import show

    data = Path(values.json) if values.json else None
    show(workdir(arguments), Console(), name=values.of, version=values.version, data=data)


def _define_witness(values: flags.FlagValues, _: Sequence[str]) -> None:
    string(values, "name", None, "name under which to cosign, for instance witness.example/w1")
    string(values, "key", None, "key of the witness, DIRECTORY/NAME, used for nothing else")
    string(values, "logs", None, "policy file whose logs are served")
    string(values, "listen", "127.0.0.1:8100", "HOST:PORT")


def _witness(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.witness_console import read_policy, serve

    if not (len(arguments) == 1 and values.name and values.key and values.logs):
        raise ConfigError("give a DIRECTORY to remember in, --name, --key and --logs")
    policy = read_policy(Path(values.logs))
    serve(Path(arguments[0]), values.name, keys_of(values.key), policy, values.listen, Console())


def _define_policy(values: flags.FlagValues, _: Sequence[str]) -> None:
    string(values, "policy", None, "policy file: the logs to accept and the witnesses they need")


def _cosign(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.witness_console import cosign

    if not cosign(workdir(arguments), required_policy(values), Console()):
        raise ConfigError("too few witnesses have cosigned; ask again later")


def _define_receipts(values: flags.FlagValues, _: Sequence[str]) -> None:
    string(values, "participant", None, "whose contributions; everybody's by default")
    string(values, "out", "receipts", "directory to write to")


def _receipts(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.trust_console import write_receipts

    write_receipts(workdir(arguments), Path(values.out), values.participant, Console())


def _receipt(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.trust_console import check_receipt

    check_receipt(file_of(arguments), required_policy(values), Console())


def _evidence(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.trust_console import check_evidence

    check_evidence(file_of(arguments), required_policy(values), Console())


VERBS = {
    "licences": Verb(_licences, _define_licences, "WORKDIR", "say who could open what, and since when"),
    "receipts": Verb(_receipts, _define_receipts, "WORKDIR", "write a receipt for every contribution"),
    "receipt": Verb(_receipt, _define_policy, "FILE", "check a receipt without the log"),
    "cosign": Verb(_cosign, _define_policy, "WORKDIR", "ask witnesses to cosign the ledger"),
    "witness": Verb(_witness, _define_witness, "DIRECTORY", "serve as a witness of other people's ledgers"),
    "evidence": Verb(_evidence, _define_policy, "FILE", "check evidence that a log told two histories"),
    "keys": Verb(_make_keys, _define_keys, "DIRECTORY/NAME", "make keys"),
}
