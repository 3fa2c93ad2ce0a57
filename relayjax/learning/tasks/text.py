"""Text of several kinds, a kind a participant, for a small byte-level transformer.

Participant i of N holds kind i mod K of K kinds. Where there are more participants than kinds, those that
hold one kind hold pieces of it that follow one another; where there are fewer, the last kinds are left out.

A text is cut into sequences of context + 1 bytes without overlap. They fall into ten sections; the last
sequences of each section validate and test, the others train, so that what is held out is near what is
trained on, and never the same. Nothing here is random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relayjax.errors import ConfigError, DataError
from relayjax.learning.language import language
from relayjax.learning.markov import Rehearsal, tell
from relayjax.learning.models import Transformer, TransformerSettings
from relayjax.learning.task import Batch, Task, TaskSettings
from relayjax.learning.tasks.kinds import KINDS, read_kind
from relayjax.settings import setting

SECTIONS = 10


@dataclass(frozen=True)
class Text(TaskSettings):
    """A transformer that learns to continue texts, of which each participant holds another kind."""

    kinds: tuple[str, ...] = setting(
        ("law_and_history", "poets_and_prophets", "new_testament", "plays", "python", "c", "perl", "manual"),
        f"kinds of text, of {', '.join(KINDS)}, or paths with a '/'",
    )
    kind_bytes: int = setting(500_000, "most text of one kind", unit="bytes", low=1)
    validation: int = setting(64, "sequences of each kind that validate", low=1)
    test: int = setting(128, "sequences of each kind that test", low=1)
    development: int = setting(
        0, "sequences of each kind that everybody holds, for hand-on policies that look", low=0
    )
    told_order: int = setting(
        0,
        "bytes that the next depends on in what participants tell, for leg.rehearsal; 0: none",
        low=0,
        high=3,
    )
    told_sequences: int = setting(1500, "sequences that each participant tells", low=1)
    model: TransformerSettings = setting(TransformerSettings, "the network")

    def check(self) -> None:
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(f"kinds={self.kinds}: name at least one kind of text, and each only once")
        if self.model.vocabulary < 256:
            raise ConfigError(f"model.vocabulary={self.model.vocabulary}: must be ≥ 256, text is bytes")

    def build(self, participants: int, seed: int) -> Task:
        """Reads and cuts the texts; see `TaskSettings.build`. The seed changes nothing about them."""
        if participants < 1:
            raise ConfigError(f"participants={participants}: must be ≥ 1")
        held = self.kinds[:participants]
        out = (self.validation, self.test, self.development)
        shards: list[list[Batch]] = []
        held_out: list[list[Batch]] = []
        for number, name in enumerate(held):
            holders = len(range(number, participants, len(held)))
            sequences = self._sequences(name)
            needed = SECTIONS * (holders + sum(max(_shares(count)) for count in out))
            if len(sequences) < needed:
                raise DataError(
                    f"text of kind {name} has {len(sequences)} sequences of {self.model.context + 1} bytes; "
                    f"{needed} are needed for {holders} participants and what is held out: take more "
                    "kind_bytes, less validation and test, or another kind"
                )
            train, *rest = _split(sequences, out)
            shards.append([_batch(piece, number) for piece in np.array_split(train, holders)])
            held_out.append([_batch(piece, number) for piece in rest])
        validation, test, development = (_join(batches) for batches in zip(*held_out, strict=True))
        own = tuple(shards[i % len(held)][i // len(held)] for i in range(participants))
        return language(
            "text",
            lambda rngs: Transformer(self.model, rngs=rngs),
            shards=own,
            validation=validation,
            test=test,
            development=development if self.development else None,
            rehearsal=self._told(own) if self.told_order else None,
        )

    def _told(self, shards: Sequence[Batch]) -> Rehearsal:
        """What the participants tell of their texts, each of its own."""
        told = [
            tell(shard["tokens"], self.told_order, self.told_sequences, seed)
            for seed, shard in enumerate(shards)
        ]
        return Rehearsal(told, [int(shard["kind"][0]) for shard in shards])

    def _sequences(self, name: str) -> np.ndarray:
        """The text of a kind, uint8 [n, context + 1]."""
        text = np.frombuffer(read_kind(name, self.kind_bytes), np.uint8)
        count = len(text) // (self.model.context + 1)
        return text[: count * (self.model.context + 1)].reshape(count, -1)


def _split(sequences: np.ndarray, out: Sequence[int]) -> list[np.ndarray]:
    """Sequences to train on, then as many as asked for of each part that is held out, a tenth a section."""
    parts: list[list[np.ndarray]] = [[] for _ in (None, *out)]
    sections = np.array_split(sequences, SECTIONS)
    for section, *shares in zip(sections, *map(_shares, out), strict=True):
        cuts = len(section) - np.cumsum(shares[::-1])[::-1]
        for part, piece in zip(parts, np.split(section, cuts), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def _shares(total: int) -> list[int]:
    """How many of a total fall into each section, as evenly as can be."""
    return [len(share) for share in np.array_split(np.arange(total), SECTIONS)]


def _batch(sequences: np.ndarray, kind: int) -> Batch:
    return {"tokens": sequences, "kind": np.full(len(sequences), kind, np.int32)}


def _join(batches: Sequence[Batch]) -> Batch:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
