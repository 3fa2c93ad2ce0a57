"""The verb of who carries a relay between machines that never see each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from rich.console import Console

from relayjax.errors import ConfigError
from relayjax.verbs.flags import Verb, string


def _define(values: flags.FlagValues, _: Sequence[str]) -> None:
    string(
        values, "since", None, "export: a bundle of letters from those it is for; leave out what they have"
    )
    string(values, "log_key", None, "import: the log's public key (64 hex digits), as known from the founder")
    string(values, "home", None, "import: a member's own directory, whose log key and memory count, too")


def _bundle(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax import bundle_console

    match arguments:
        case ["export", folder, bundle]:
            if values.log_key or values.home:
                raise ConfigError("--log_key and --home go with `relayjax bundle import`")
            since = Path(values.since) if values.since else None
            bundle_console.write(Path(folder), Path(bundle), since, Console())
        case ["import", bundle, folder]:
            if values.since:
                raise ConfigError("--since goes with `relayjax bundle export`")
            home = Path(values.home) if values.home else None
            bundle_console.read(Path(bundle), Path(folder), values.log_key, home, Console())
        case _:
            raise ConfigError("give export FOLDER BUNDLE, or import BUNDLE FOLDER")


VERBS = {
    "bundle": Verb(_bundle, _define, "export|import FROM TO", "carry a relay to where no line leads"),
}
