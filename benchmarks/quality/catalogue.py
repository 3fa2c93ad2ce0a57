"""What is compared: tasks, schemes, and the step sizes each may choose from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from relayjax import codec, config, merging
from relayjax.learning import schemes
from relayjax.learning.leg import LegSettings
from relayjax.learning.schemes import Outcome, Setup
from relayjax.learning.task import TaskSettings

TASKS = {
    "digits": "digits",
    "fashion_mlp": "fashion_mnist",
    "fashion_cnn": "fashion_mnist:cnn",
    "text": "text",
}
"""By name the config whose task and legs are used; a relay has 200 legs here."""

LEGS = 200

RATES = {"sgd": (0.02, 0.05, 0.1, 0.2), "muon": (0.01, 0.02, 0.04), "adamw": (0.003, 0.006)}
"""Step sizes to choose from, by optimizer."""

PLAIN: dict[str, Any] = {
    "objective": "plain",
    "anchor": 0.0,
    "distillation": 0.0,
    "hand_on": "replace",
    "relay_momentum": 0.0,
}
"""A leg without any care for the relay."""

REHEARSED: dict[str, Any] = {"rehearsal": 0.5}
"""The config's leg, and examples drawn from what participants told of their data."""

SKETCH_RANK, ORDER = 40, 3
"""What is told: directions of a label's Gaussian, bytes that the next one of a text depends on."""

FEWER_BRAIDS = (0, 2, 5)
"""Braid laps of a relay of half as many legs."""

Scheme = Callable[[Setup], Outcome | list[Outcome]]
Entry = tuple[Scheme, Mapping[str, Any]]
"""How to train, and what differs from the config's leg."""

SCHEMES: dict[str, Entry] = {
    "pooled": (schemes.pooled, {}),
    "alone": (schemes.alone, PLAIN),
    "relay": (lambda setup: schemes.chain(setup, schemes.DEFAULT_BRAIDS), {}),
    "relay coded": (lambda setup: schemes.chain(_coded(setup), schemes.DEFAULT_BRAIDS), {}),
    "relay with ledger": (lambda setup: schemes.chain(setup, schemes.DEFAULT_BRAIDS), {}),
    "chain": (schemes.chain, {}),
    "chain ¼": (schemes.chain, {}),
    "cyclic": (schemes.chain, {**PLAIN, "schedule": "constant"}),
    "tree": (schemes.tree, {}),
    "tree plain": (schemes.tree, PLAIN),
    "tree constant": (schemes.tree, {**PLAIN, "schedule": "constant"}),
    "braid": (schemes.braid, {}),
    "braid plain": (schemes.braid, PLAIN),
    "braid constant": (schemes.braid, {**PLAIN, "schedule": "constant"}),
    "braid by value": (lambda setup: schemes.braid(setup, merging.value_weighted), {}),
    "braid by sign": (lambda setup: schemes.braid(setup, merging.sign_consensus), {}),
    "FedAvg": (schemes.fedavg, PLAIN),
    "FedAvg ¼": (schemes.fedavg, PLAIN),
    "FedProx": (schemes.fedavg, {**PLAIN, "anchor": 0.01}),
    "DiLoCo": (schemes.diloco, {**PLAIN, "optimizer": "adamw"}),
    "chain plain": (schemes.chain, PLAIN),
    "chain EMA": (schemes.chain, {**PLAIN, "hand_on": "ema", "hand_on_rate": 0.1}),
    "chain line search": (schemes.chain, {**PLAIN, "hand_on": "line_search"}),
    "chain proximal": (schemes.chain, {**PLAIN, "anchor": 0.03}),
    "chain distillation": (schemes.chain, {**PLAIN, "distillation": 1.0}),
    "chain Fisher anchor": (schemes.chain, {**PLAIN, "fisher": 1.0}),
    "chain prior kept": (schemes.chain, {**PLAIN, "objective": "prior_corrected", "prior_anneal": 0.0}),
    "chain prior fades": (schemes.chain, {**PLAIN, "objective": "prior_corrected", "prior_anneal": 6.0}),
    "chain state carried": (schemes.chain, {"optimizer_state": "carried"}),
    "chain relay momentum": (schemes.chain, {**PLAIN, "relay_momentum": 0.5}),
    "chain sketches": (schemes.chain, REHEARSED),
    "chain sketches ¼": (schemes.chain, REHEARSED),
    "FedAvg sketches": (schemes.fedavg, {**PLAIN, **REHEARSED}),
    "relay sketches": (lambda setup: schemes.chain(setup, schemes.DEFAULT_BRAIDS), REHEARSED),
    "chain sketches 2×": (schemes.chain, REHEARSED),
    "relay sketches 2×": (lambda setup: schemes.chain(setup, FEWER_BRAIDS), REHEARSED),
}
"""¼: of a quarter of the legs; 2×: of half of them, twice as long, with three braid rounds for five."""


WITH_LEDGER = "relay with ledger"
"""This one is run by the backend, as users run it: codec, ledger, trust region and all."""


def _coded(setup: Setup) -> Setup:
    """The same, but others see only what the default codec leaves of a delta."""
    return dataclasses.replace(setup, codec=codec.get("mxint8"))


def applies(scheme: str, task: str) -> bool:
    """Whether a scheme means anything for a task: text has no labels, and digits need no sketches."""
    if "sketches" in scheme:
        return task != "digits"
    return not (task == "text" and "prior" in scheme)


def rates(task: str, scheme: str) -> tuple[float, ...]:
    """Step sizes that a scheme may choose from for a task."""
    leg = leg_of(task, scheme)
    if scheme == WITH_LEDGER:
        return (leg.learning_rate,)  # as the config has it
    known = RATES[leg.optimizer]
    if task == "fashion_cnn":
        known = known[1:]  # the smallest is too small for it, and its trainings are long
    return known[:1] if scheme == "alone" else known  # N models a training, and nobody's choice


def leg_of(task: str, scheme: str) -> LegSettings:
    """The legs of a scheme, but for its step size."""
    leg = dataclasses.replace(config.load(TASKS[task]).leg, **SCHEMES[scheme][1])
    return dataclasses.replace(leg, steps=2 * leg.steps) if "2×" in scheme else leg


def needs(scheme: str) -> str:
    """What a scheme's task has that others lack: development examples, sketches, or nothing."""
    return next((what for what in ("line search", "sketches") if what in scheme), "")


def task_of(task: str, skew: str, scheme: str) -> TaskSettings:
    """The settings of a task: the config's, with the skew asked for."""
    settings = config.load(TASKS[task]).task
    if skew != "kinds":
        alpha = 1e4 if skew == "even" else float(skew)
        settings = dataclasses.replace(settings, alpha=alpha)  # type: ignore[call-arg]
    if "line search" in scheme:
        settings = dataclasses.replace(settings, development=64)  # type: ignore[call-arg]
    if "sketches" in scheme:
        told = {"told_order": ORDER} if task == "text" else {"sketch_rank": SKETCH_RANK}
        settings = dataclasses.replace(settings, **told)  # type: ignore[call-arg]
    return settings


def legs_of(scheme: str) -> int:
    """How many legs a scheme trains."""
    return LEGS // 4 if "¼" in scheme else LEGS // 2 if "2×" in scheme else LEGS


def participants_of(task: str) -> int:
    """N."""
    return config.load(TASKS[task]).relay.participants
