"""Reader of IDX files, the format of MNIST and its relatives.

0  2 bytes  zero
2  1 byte   type of the elements; 8: unsigned byte, the only one read here
3  1 byte   D, number of dimensions
4  4·D      length of each dimension, unsigned 32-bit, big-endian
…           the elements, last dimension fastest; the file ends with them
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from relayjax.errors import DataError

LIMIT = 1 << 30
"""Most elements a file may announce: a header must not make us allocate at will."""


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, plain or gzip-compressed by its name's ending.

    Args:
      path: the file; compressed if it ends in ".gz".
      dimensions: how many it must have.

    Returns:
      uint8, of the shape the header announces.

    Raises:
      DataError: the file cannot be read or is not such a file, to the last byte.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != bytes((0, 0, 8, dimensions)) or len(header) != 4 + 4 * dimensions:
                raise DataError(f"{path}: not an IDX file of unsigned bytes in {dimensions} dimensions")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            if size > LIMIT:
                raise DataError(f"{path}: announces {size} elements, more than the {LIMIT} we read")
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch the file again") from error
    if len(content) != size:
        raise DataError(f"{path}: does not end where its header says; fetch the file again")
    return np.frombuffer(content, np.uint8).reshape(shape)
