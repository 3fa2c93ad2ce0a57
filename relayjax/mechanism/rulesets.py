"""From the numbers of a rule set to the rule set itself."""

from __future__ import annotations

from relayjax.errors import ConfigError
from relayjax.mechanism.base import Mechanism
from relayjax.mechanism.derelayl import DeRelayL
from relayjax.mechanism.relayjax import RelayJAX
from relayjax.mechanism.rules import DeRelayLRules, RelayJAXRules, Rules


def mechanism(rules: Rules) -> Mechanism:
    """The rule set that goes with the numbers."""
    if isinstance(rules, RelayJAXRules):
        return RelayJAX(rules)
    if isinstance(rules, DeRelayLRules):
        return DeRelayL(rules)
    raise ConfigError(f"there is no mechanism for {type(rules).__name__}")
