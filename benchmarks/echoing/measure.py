"""What honest work and attacks get in the braid rounds of one relay. N: participants, P: parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoing.attacks import ATTACKS, NOISED, NOISES
from echoing.scene import Scene, in_place_of, scenes
from relayjax.mechanism.rules import MILLION, RelayJAXRules
from relayjax.valuation.novelty import Novelties
from relayjax.valuation.sharing import shared_values

LIMIT = RelayJAXRules().echo_limit / MILLION
FLOOR = RelayJAXRules().noise_floor / MILLION
HONEST = "honest"
SHOWN = {HONEST, *(NOISED.format(share) for share in NOISES)}
"""Whose echoes are kept one by one, for the ROC curve."""

Row = dict[str, Any]
_losses = jax.jit(lambda losses, theta: losses(theta))


def measure(task: str, seed: int, least: float) -> list[Row]:
    """One relay with all attacks on it.

    Args:
      task: name of a config.
      seed: of everything.
      least: of `Novelties`.

    Returns:
      A row for each braid round and attack, honest work among them: tried, refused and paid, counts; pay, the
      value that is paid for, mean over those tried, nats; for honest work also its whole value, mean, nats.
    """
    known, remembered, rows = Novelties(least), 0, []
    for scene in scenes(task, seed):
        for leg in scene.past[remembered:]:
            known.remember(leg.delta)
        remembered = len(scene.past)
        rows += _round(scene, known, {"task": task, "seed": seed, "lap": scene.lap})
    return rows


def _round(scene: Scene, known: Novelties, place: Row) -> list[Row]:
    judge = _Judge(scene, known)
    rng = np.random.default_rng([place["seed"], scene.lap])
    found = known.compare(scene.siblings)
    honest = judge.paid(scene.siblings, [one.echo for one in found], [one.novel for one in found])
    whole = shared_values(scene.game, np.stack(scene.siblings)).values
    row = _row(HONEST, [one.echo for one in found], honest)
    rows = [place | row | {"whole": float(whole.mean())}]
    for name, attack in ATTACKS.items():
        made = [attack(scene, who, rng) for who in range(len(scene.siblings))]
        deltas = [delta for delta in made if delta is not None]
        if len(deltas) < len(made):
            continue
        echoes, novel = judge.compare(deltas)
        pay = judge.paid(deltas, echoes, novel)
        rows.append(place | _row(name, echoes, pay))
    return [*rows, *(place | row for row in _copies(scene, known, honest))]


def _row(name: str, echoes: Sequence[float], pay: np.ndarray) -> Row:
    refused = np.array(echoes) > LIMIT
    row = {"attack": name, "tried": len(pay), "refused": int(refused.sum()), "paid": int((pay > 0).sum())}
    row |= {"pay": float(pay.mean())}
    return row | ({"echoes": [round(echo, 6) for echo in echoes]} if name in SHOWN else {})


def _copies(scene: Scene, known: Novelties, honest: np.ndarray) -> list[Row]:
    """One's own delta twice under two names, the copy committed to after the original or before it.

    Who copies another's would have to know it before its commitment; what counts is what the two get together
    beyond what the original alone gets.
    """
    rows, count = [], len(scene.siblings)
    for factor, how in ((1.0, "exact"), (3.0, "× 3")):
        for after in (True, False):
            gained, refused = np.zeros(count), 0
            for who, delta in enumerate(scene.siblings):
                pair = [delta, np.float32(factor) * delta]
                first, second = known.compare(pair if after else pair[::-1])
                passed = [one for one in (first, second) if one.echo <= LIMIT]
                refused += len(passed) < 2
                gained[who] = (len(passed) - 1) * honest[who] if passed else 0.0
            name = f"second identity's copy, {how}, {'later' if after else 'earlier'}"
            row = {"attack": name, "tried": count, "refused": refused, "paid": int((gained > 0).sum())}
            rows.append(row | {"pay": float(gained.mean())})
    return rows


class _Judge:
    """The validators of one braid round."""

    def __init__(self, scene: Scene, known: Novelties):
        self._scene, self._known = scene, known
        length = np.linalg.norm(np.asarray(scene.siblings, np.float64), axis=1)
        self._units = np.asarray(scene.siblings, np.float64) / length[:, None]
        self._honest = np.stack([known.compare([sibling])[0].novel for sibling in scene.siblings])
        self._before = self._loss(np.zeros_like(scene.siblings[0]))

    def compare(self, deltas: Sequence[np.ndarray]) -> tuple[list[float], list[np.ndarray]]:
        """Echo and what is new of a delta in place of each participant's, all others being honest."""
        found = [self._known.compare([delta])[0] for delta in deltas]
        echoes = []
        for who, (delta, one) in enumerate(zip(deltas, found, strict=True)):
            length = float(np.linalg.norm(delta.astype(np.float64))) or 1.0
            beside = np.abs(np.delete(self._units, who, axis=0) @ delta.astype(np.float64)) / length
            echoes.append(max(one.echo, float(beside.max())))
        return echoes, [one.novel for one in found]

    def paid(
        self,
        deltas: Sequence[np.ndarray],
        echoes: Sequence[float],
        novel: Sequence[np.ndarray],
    ) -> np.ndarray:
        """Value of each beyond the floor, 0 for what is an echo or does harm, float64 [N], nats."""
        values, stderr, luck = np.zeros((3, len(deltas)))
        for who, delta in enumerate(deltas):
            new = self._honest.copy()
            new[who] = novel[who]
            stated = shared_values(in_place_of(self._scene, who, delta), new)
            values[who], stderr[who], luck[who] = stated.values[who], stated.stderr[who], stated.chance[who]
        counts = (values > FLOOR * np.hypot(stderr, luck)) & (np.array(echoes) <= LIMIT)
        for who in np.flatnonzero(counts).tolist():
            counts[who] = self._loss(deltas[who]) - self._before <= self._scene.tolerance
        return np.where(counts, values, 0.0)

    def _loss(self, delta: np.ndarray) -> float:
        """Mean validation loss of a candidate as a braid round tests it, nats."""
        game = self._scene.game
        moved = game.base + jnp.asarray(delta) / game.participants
        return float(np.asarray(_losses(game.losses, moved), np.float64).mean())
