"""Deltas that cost no training. Each attack gives one in place of each participant's; None where it cannot.

Replays and movements are as long as what they repeat, mixtures as long as the participant's honest delta;
noise comes on top.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from echoing.scene import Scene

Attack = Callable[[Scene, int, np.random.Generator], np.ndarray | None]

NOISES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Length of the noise on a replay, the replay's own being 1."""

NOISED = "replay, noise {:g}"


def _length(delta: np.ndarray) -> float:
    return float(np.linalg.norm(delta.astype(np.float64)))


def _noise(length: float, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.standard_normal(len(scene.siblings[0]))
    return (length / np.linalg.norm(drawn) * drawn).astype(np.float32)


def _noised(delta: np.ndarray | None, share: float, scene: Scene, rng: np.random.Generator):
    return None if delta is None else delta + _noise(share * _length(delta), scene, rng)


def _any_old(scene: Scene, who: int, rng: np.random.Generator) -> np.ndarray | None:
    return scene.past[rng.integers(len(scene.past))].delta if scene.past else None


def _last_braid(scene: Scene, who: int, rng: np.random.Generator) -> np.ndarray | None:
    return next((leg.delta for leg in reversed(scene.past) if leg.braid and leg.who == who), None)


def _of_another(scene: Scene, who: int, rng: np.random.Generator) -> np.ndarray | None:
    shift = 1 + rng.integers(len(scene.siblings) - 1)
    return _last_braid(scene, int((who + shift) % len(scene.siblings)), rng)


def _scaled(factor: float) -> Attack:
    def attack(scene: Scene, who: int, rng: np.random.Generator) -> np.ndarray | None:
        old = _any_old(scene, who, rng)
        return None if old is None else np.float32(factor) * old

    return attack


def _replay_noised(share: float, factor: float = 1) -> Attack:
    return lambda scene, who, rng: _noised(_scaled(factor)(scene, who, rng), share, scene, rng)


def _movement(which: int, noise: float) -> Attack:
    """A movement of the head: 0 that of the last round, 1 that of the last lap."""

    def attack(scene: Scene, who: int, rng: np.random.Generator) -> np.ndarray | None:
        moved = scene.movements[which] if scene.movements else None
        return _noised(moved, noise, scene, rng)

    return attack


def _mixture(count: int, noise: float) -> Attack:
    """The mean of some old deltas."""

    def attack(scene: Scene, who: int, rng: np.random.Generator) -> np.ndarray | None:
        if not scene.past:
            return None
        chosen = rng.choice(len(scene.past), count, replace=False)
        mixed = np.stack([scene.past[index].delta for index in chosen]).sum(axis=0)
        scale = np.float32(_length(scene.siblings[who]) / max(_length(mixed), 1e-12))
        return _noised(scale * mixed, noise, scene, rng)

    return attack


def _part(scene: Scene, who: int, rng: np.random.Generator) -> np.ndarray | None:
    """An old delta without half of its numbers, drawn one by one."""
    old = _any_old(scene, who, rng)
    return None if old is None else np.where(rng.random(len(old)) < 0.5, old, np.float32(0))


def _layer(scene: Scene, who: int, rng: np.random.Generator) -> np.ndarray | None:
    """One tensor of an old delta, and nothing in the others."""
    old = _any_old(scene, who, rng)
    if old is None:
        return None
    chosen, part = int(rng.integers(len(scene.offsets) - 1)), np.zeros_like(old)
    inside = slice(*scene.offsets[chosen : chosen + 2])
    part[inside] = old[inside]
    return part


ATTACKS: dict[str, Attack] = {
    "zero": lambda scene, who, rng: np.zeros_like(scene.siblings[who]),
    "parent and a little noise": lambda scene, who, rng: _noise(
        0.01 * _length(scene.siblings[who]), scene, rng
    ),
    "noise as long as honest work": lambda scene, who, rng: _noise(_length(scene.siblings[who]), scene, rng),
    "replay of one's last braid delta": _last_braid,
    "replay of another's": _of_another,
    "replay of any old delta": _any_old,
    "… × 0.3": _scaled(0.3),
    "… × 3": _scaled(3),
    "… × −1": _scaled(-1),
    **{NOISED.format(share): _replay_noised(share) for share in NOISES},
    "replay × 8, noise 0.2": _replay_noised(0.2, 8),
    "replay × 30, noise 0.2": _replay_noised(0.2, 30),
    "the head's last movement": _movement(0, 0),
    "its movement over the last lap": _movement(1, 0),
    "… noise 1": _movement(1, 1),
    "… noise 2": _movement(1, 2),
    "mixture of two": _mixture(2, 0),
    "mixture of five": _mixture(5, 0),
    "mixture of five, noise 0.5": _mixture(5, 0.5),
    "mixture of five, noise 1": _mixture(5, 1),
    "half the numbers of an old delta": _part,
    "one tensor of an old delta": _layer,
}
"""By name, in the order of the table."""
