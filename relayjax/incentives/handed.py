"""What validators measure of whatever is handed in: honest legs, and what stands in their place.

The figures are those of relays that train (digits, ten participants, α = 0.1; docs/mechanism.md). Where in a
distribution a leg lies is drawn with the seat and the round, whatever is handed in, so that two relays differ
in nothing but the deviation.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Handed:
    """One way to use a turn.

    Attributes:
      value: what it is worth in a braid round, in honest legs of the same participant.
      steady: whether that does not fluctuate: nothing is always worth nothing.
      slope: (mean, standard deviation) of what it adds to the loss to first order, as a share of the loss.
      luck: standard deviation of that where only chance is at work: it goes with the length.
      rise: (mean, standard deviation) of what the whole of it adds, likewise; what is accepted harms by the
        mean, until others have repaired it.
      echo: its likeness with earlier work or an earlier sibling, |cosine|.
      alike: how far it counts as one with the honest leg of the same owner, in [0, 1].
      progress: what it does for the head, in honest legs.
      work: what it costs, in honest legs.
    """

    value: float = 1.0
    steady: bool = False
    slope: tuple[float, float] = (-0.5, 0.33)
    luck: float = 0.012
    rise: tuple[float, float] = (0.0, 0.25)
    echo: float = 0.5
    alike: float = 0.0
    progress: float = 1.0
    work: float = 1.0


HONEST = Handed()
NOTHING = Handed(
    value=0, steady=True, slope=(0, 0), luck=0, rise=(0, 0), echo=0, progress=0, work=0
)  # the parent, unchanged
NOISE = Handed(value=0, steady=True, slope=(0, 0.012), rise=(0, 0.01), echo=0, progress=0, work=0)
SCALED_PARENT = Handed(value=-0.1, slope=(0.05, 0.1), luck=0.03, rise=(0.02, 0.02), progress=0, work=0)
STALE = Handed(value=0.6, slope=(-0.3, 0.4), rise=(0.1, 0.4), progress=0.5)
COPY = Handed(echo=1.0, work=0)
REPLAY = Handed(
    value=0.02, slope=(0.3, 0.45), luck=0.03, rise=(0.6, 0.4), echo=0.98, progress=-0.5, work=0
)  # of old work, in noise, so that it is no echo
REPLAY_OWN = Handed(
    value=0.05, slope=(0.05, 0.55), rise=(0.3, 0.4), echo=0.98, progress=0.2, work=0
)  # of its newest work, in noise
SIGN_FLIP = Handed(value=-1, slope=(1.2, 0.7), rise=(1.2, 0.8), progress=-1)
LABEL_FLIP = Handed(value=-0.4, slope=(0.5, 0.5), rise=(0.8, 0.8), progress=-0.5)
LONGER = Handed(value=0.997, slope=(-1.5, 0.99), luck=0.036)  # three times an honest delta, in a braid round
LONGER_LEG = Handed(slope=(0.5, 1.2), luck=0.036, rise=(0.5, 0.6), progress=0.5)
SECOND_COPY = Handed(
    value=0.9, echo=0.98, alike=1.0, progress=0, work=0
)  # the delta of its other place, in noise; the two go the same way, so that the second helps less
SECOND_LEG = Handed(alike=1.0, progress=0)  # another leg on the data of its other place
