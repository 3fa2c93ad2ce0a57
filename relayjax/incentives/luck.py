"""Common random numbers: all that is drawn by chance, drawn before a relay begins.

A draw belongs to a seed, a seat and a round. What one does changes nobody's luck, so that two relays of one
seed differ by what was done alone.

R: rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from relayjax.incentives.settings import World

_STREAMS = 4


@dataclass(frozen=True, eq=False)
class Seat:
    """The luck of one participant.

    Attributes:
      quality: what its data is worth, in mean participants.
      value, slope, rise: standard normal, float64 [R] each.
      failed: whether a leg gives nothing to hand in, bool [R].
      gain: of a leg in the paper's world, standard normal, float64 [R].
    """

    quality: float
    value: np.ndarray
    slope: np.ndarray
    rise: np.ndarray
    failed: np.ndarray
    gain: np.ndarray


class Luck:
    """All that is drawn in the relays of one seed."""

    def __init__(self, world: World, seed: int, seats: int, rounds: int):
        """Draws it.

        Args:
          world: how training turns out.
          seed: of the draws.
          seats: participants whose data differs.
          rounds: R.
        """
        self._seed = seed
        quality = np.exp(world.spread * _stream(seed, 0).standard_normal(seats))
        quality /= quality.mean()
        self.seats = tuple(_seat(world, seed, seat, rounds, float(quality[seat])) for seat in range(seats))

    def beacon(self, round: int) -> bytes:
        """What a round's lots are drawn with."""
        material = b"%d %d" % (self._seed, round)
        return blake3(material, derive_key_context="relayjax 2026 audit beacon").digest()


def _seat(world: World, seed: int, seat: int, rounds: int, quality: float) -> Seat:
    drawn = _stream(seed, 1 + seat).standard_normal((_STREAMS, rounds))
    value, slope, rise, gain = drawn
    failed = _stream(seed, 1 + seat, "failure").random(rounds) < world.failure
    return Seat(quality, value, slope, rise, failed, gain)


def _stream(seed: int, number: int, purpose: str = "") -> np.random.Generator:
    material = b"%d %d %s" % (seed, number, purpose.encode())
    drawn = blake3(material, derive_key_context="relayjax 2026 audit luck").digest(length=16)
    return np.random.Generator(np.random.Philox(int.from_bytes(drawn, "big")))
