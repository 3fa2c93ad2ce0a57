"""What is said in a round, phase by phase."""

from __future__ import annotations

from dataclasses import dataclass

from relayjax.records.base import Pairs, Record


@dataclass(frozen=True)
class Bid(Record):
    """Offers a deposit for a place in this round."""

    KIND = "bid"
    round: int
    amount: int


@dataclass(frozen=True)
class Match(Record):
    """Who trains from which version: sorted (trainer, version number) pairs."""

    KIND = "match"
    round: int
    pairs: Pairs


@dataclass(frozen=True)
class Deposit(Record):
    """Puts the author's bid into escrow."""

    KIND = "deposit"
    round: int
    amount: int


@dataclass(frozen=True)
class Commit(Record):
    """Binds the author to a delta that nobody can see yet (see `commitment`)."""

    KIND = "commit"
    round: int
    commitment: str


@dataclass(frozen=True)
class Submit(Record):
    """Reveals the delta.

    Attributes:
      delta: digest of the encoded delta.
      codec: name of its codec.
      size: its length in bytes.
      salt: what the commitment was salted with, hexadecimal.
      parent: digest of the parent's weights.
      child: digest of parent + decode(delta), flat little-endian float32.
    """

    KIND = "submit"
    round: int
    delta: str
    codec: str
    size: int
    salt: str
    parent: str
    child: str


@dataclass(frozen=True)
class Close(Record):
    """Ends the phase `phase` of the round without those who have not acted."""

    KIND = "close"
    round: int
    phase: str


@dataclass(frozen=True)
class Draw(Record):
    """Fixes the test: `examples` of the hidden validation set, chosen by `seed`."""

    KIND = "draw"
    round: int
    seed: str
    examples: int


@dataclass(frozen=True)
class Pledge(Record):
    """Binds a maintainer to its report of this phase before anybody's is seen (see `report_commitment`)."""

    KIND = "pledge"
    round: int
    commitment: str


@dataclass(frozen=True)
class Score(Record):
    """One validator's measured losses on the drawn examples, and what it can tell of the candidates' deltas.

    Attributes:
      salt: hides the report until it is shown, hexadecimal.
      parents: (version number as text, loss) of every parent of the round.
      children: (trainer, loss) of every candidate; in a braid round, of its part of the composition.
      slopes: (trainer, what its whole delta adds to the loss to first order) of every candidate of a chain or
        braid round.
      chance: (trainer, standard deviation of the slopes of random directions as long as its delta), likewise.
      echoes: (trainer, largest |cosine| of its delta with one accepted before or committed earlier, ppm) of
        every candidate of a braid round; empty in others.
    """

    KIND = "score"
    round: int
    salt: str
    parents: Pairs
    children: Pairs
    slopes: Pairs
    chance: Pairs
    echoes: Pairs


@dataclass(frozen=True)
class Value(Record):
    """One validator's valuation of a braid round, over the accepted candidates.

    Attributes:
      salt: hides the report until it is shown, hexadecimal.
      composed: digest of the composed weights.
      loss: their loss on the drawn examples.
      values: (trainer, what is new in its delta, at its best length); `stderr` their standard errors.
      chance: (trainer, standard deviation of the values of random directions as long as its delta).
      shapley: (trainer, Shapley value); `shapley_stderr` their standard errors.
    """

    KIND = "value"
    round: int
    salt: str
    composed: str
    loss: int
    values: Pairs
    stderr: Pairs
    chance: Pairs
    shapley: Pairs
    shapley_stderr: Pairs


@dataclass(frozen=True)
class Settle(Record):
    """Closes the round.

    Attributes:
      accepted: trainers whose work passed the test; a version follows unless a braid's composition fails it.
      refused: trainers whose work did not, or who never revealed any.
      transfers: (source, target, amount, reason), as in `mechanism.settlement`.
      versions: (number, digest, parent number) of the versions made.
      heads: numbers of the versions the next round starts from.
      licences: (name, version number) granted.
    """

    KIND = "settle"
    round: int
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    transfers: tuple[tuple[str, str, int, str], ...]
    versions: tuple[tuple[int, str, int], ...]
    heads: tuple[int, ...]
    licences: Pairs
