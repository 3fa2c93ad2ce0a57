"""One way to encode a vector as 8-bit blocks, or to copy it: in a process of its own, so under any Python.

A "leg" is one call on a vector that lies there already. Ours reuses its buffers, as RelayJAX does; the others
make theirs, as they come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from peers.protocol import serve

BLOCK = 32
LINE = 64  # bytes: vectors start on a cache line, as PyTorch's and JAX's do


def setup(spec: dict[str, Any]) -> tuple[str, Callable[[], Any], Callable[[], int | None]]:
    """See `protocol.serve`; `spec` has the `way`, one of `WAYS`, and the `size` of the vector."""
    memory = np.empty(spec["size"] + LINE, np.float32)
    start = -memory.ctypes.data % LINE // 4
    vector = memory[start : start + spec["size"]]
    np.random.default_rng(0).standard_normal(spec["size"], np.float32, out=vector)
    vector *= np.float32(1e-3)
    call = WAYS[spec["way"]](vector)
    call()  # compiles, and touches buffers

    def leg() -> None:
        for _ in range(spec["calls"]):
            call()

    return "cpu", leg, lambda: None


def _copy(vector: np.ndarray) -> Callable[[], Any]:
    from concurrent.futures import ThreadPoolExecutor

    out, half = np.empty_like(vector), vector.size // 2  # zeros would lie in smaller pages than ours
    pool = ThreadPoolExecutor(2)

    def part(span: slice) -> None:
        np.copyto(out[span], vector[span])

    return lambda: list(pool.map(part, (slice(0, half), slice(half, None))))


def _ours(vector: np.ndarray) -> Callable[[], Any]:
    from relayjax.kernels import buffers, mxint8

    scales = buffers.empty(mxint8.block_count(vector.size))
    elements = buffers.empty(vector.size, np.int8)
    return lambda: mxint8.encode(vector, scales, elements)


def _torch(compiled: bool) -> Callable[[np.ndarray], Callable[[], Any]]:
    def ready(vector: np.ndarray) -> Callable[[], Any]:
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(2)

        def encode(x: Any) -> tuple[Any, Any]:
            """MXINT8 as one would write it in PyTorch; the same numbers for normal scales."""
            blocks = x.view(-1, BLOCK)
            codes = blocks.abs().amax(dim=1).view(torch.int32) >> 23
            inverses = ((260 - codes) << 23).view(torch.float32)
            quotients = torch.round(blocks * inverses[:, None])
            return codes.to(torch.uint8), torch.clamp(quotients, -127, 127).to(torch.int8)

        call = torch.compile(encode) if compiled else encode
        tensor = torch.from_numpy(vector[: vector.size // BLOCK * BLOCK])

        def run() -> Any:
            with torch.inference_mode():
                return call(tensor)

        return run

    return ready


def _hivemind(vector: np.ndarray) -> Callable[[], Any]:
    import torch  # pyright: ignore[reportMissingImports]
    from hivemind.compression.quantization import (  # pyright: ignore[reportMissingImports]
        BlockwiseQuantization,
    )

    torch.set_num_threads(2)
    quantization, tensor = BlockwiseQuantization(), torch.from_numpy(vector)
    return lambda: quantization.quantize(tensor)


WAYS: dict[str, Callable[[np.ndarray], Callable[[], Any]]] = {
    "copy": _copy,
    "mxint8 encode": _ours,
    "torch mxint8 encode": _torch(compiled=False),
    "torch.compile mxint8 encode": _torch(compiled=True),
    "hivemind blockwise 8-bit": _hivemind,
}

if __name__ == "__main__":
    serve(setup)
