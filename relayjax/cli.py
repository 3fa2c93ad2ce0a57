"""The command line: `relayjax VERB ...`. It parses, calls the backend, and prints.

Every verb has flags of its own. `run`, `simulate` and `audit` also have one flag for every setting of the
config they are given, by dotted path, so that a misspelt one is refused before anything starts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

import relayjax
from relayjax.errors import ConfigError, RelayError
from relayjax.verbs import bundles, members, peers, plays, runs, trust
from relayjax.verbs.flags import Verb

REFUSED, INTERRUPTED = 1, 130

VERBS: dict[str, Verb] = runs.VERBS | plays.VERBS | trust.VERBS | members.VERBS
VERBS |= peers.VERBS | bundles.VERBS


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


def _overview() -> str:
    verbs = "\n".join(f"  {name:<12} {verb.arguments:<14} {verb.help}" for name, verb in VERBS.items())
    return (
        f"RelayJAX {relayjax.__version__}: decentralized relay learning in JAX\n\n"
        f"usage: relayjax VERB [ARGUMENTS] [--flags]\n\n{verbs}\n\nrelayjax VERB --help shows a verb's flags."
    )


def _help(name: str, verb: Verb, values: flags.FlagValues) -> str:
    usage = f"usage: relayjax {name} {verb.arguments} [--flags]".replace("  ", " ")
    lines = [f"  --{flag}  {values[flag].help}" for flag in sorted(values, key=lambda f: ("." in f, f))]
    return "\n".join([usage, "", verb.help, "", *lines])
