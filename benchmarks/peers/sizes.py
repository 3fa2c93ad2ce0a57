"""What is trained, from a toy to a third of a billion parameters, and what accelerators could do at best."""

from __future__ import annotations

from dataclasses import dataclass

from relayjax.learning.leg import LegSettings
from relayjax.learning.models import TransformerSettings


@dataclass(frozen=True)
class Size:
    """A transformer and how it is trained.

    Attributes:
      model: its shape.
      batch_size: sequences of a step.
      steps: of a leg.
    """

    model: TransformerSettings
    batch_size: int
    steps: int

    @property
    def leg(self) -> LegSettings:
        """A leg that does nothing but train, as the peers do."""
        return LegSettings(
            steps=self.steps,
            batch_size=self.batch_size,
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=1e-4,
            schedule="constant",
            objective="plain",
            anchor=0.0,
        )

    @property
    def tokens(self) -> int:
        """Tokens that a leg trains on."""
        return self.steps * self.batch_size * self.model.context


def _on_gpu(layers: int, width: int, heads: int, batch_size: int) -> Size:
    model = TransformerSettings(
        vocabulary=32_768,
        layers=layers,
        width=width,
        heads=heads,
        context=1024,
        tied=True,
        compute="bfloat16",
        attention="cudnn",
    )
    return Size(model, batch_size, steps=20)


SIZES = {
    "tiny": Size(TransformerSettings(layers=2, width=64, heads=4, context=32), batch_size=8, steps=200),
    "small": Size(TransformerSettings(), batch_size=16, steps=100),
    "medium": _on_gpu(12, 768, 12, batch_size=16),  # 110 million parameters
    "large": _on_gpu(24, 1024, 16, batch_size=8),  # 337 million
}
"""By name; `medium` and `large` are for NVIDIA GPUs."""

PEAKS = {
    "B200": 2250e12,
    "GB200": 2500e12,
    "H200": 989.5e12,
    "H100 PCIe": 756e12,
    "H100": 989.5e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165.2e12,
    "MI300X": 1307.4e12,
    "TPU v6": 918e12,
    "TPU v5p": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
}
"""Part of a device's name → operations a second of dense bfloat16 products, as vendors say."""


def vendor_peak(device: str) -> float | None:
    """What the vendor says a device can do, by the longest name that it contains; None if unknown."""
    fitting = [name for name in PEAKS if name.lower() in device.lower()]
    return PEAKS[max(fitting, key=len)] if fitting else None
