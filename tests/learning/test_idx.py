from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from relayjax.errors import DataError
from relayjax.learning.idx import read_idx


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


PICTURES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


@pytest.mark.parametrize("ending, pack", [("", bytes), (".gz", gzip.compress)])
def test_reads_what_the_header_announces(tmp_path, ending, pack):
    path = tmp_path / f"pictures{ending}"
    path.write_bytes(pack(idx(PICTURES)))
    np.testing.assert_array_equal(read_idx(path, 3), PICTURES)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not an IDX file"),
        (b"\x01" + idx(PICTURES)[1:], "not an IDX file"),
        (idx(PICTURES.reshape(4, 6)), "not an IDX file"),
        (b"\0\0\x0d\x03" + idx(PICTURES)[4:], "not an IDX file"),
        (idx(PICTURES)[:10], "not an IDX file"),
        (idx(PICTURES)[:-1], "does not end where"),
        (idx(PICTURES) + b"\0", "does not end where"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "announces"),
    ],
)
def test_malformed_files_are_refused(tmp_path, content, message):
    path = tmp_path / "pictures"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(path, 3)


PACKED = gzip.compress(idx(PICTURES), mtime=0)


@pytest.mark.parametrize(
    "damaged",
    [PACKED[:-9], PACKED[:20] + b"\xff" + PACKED[21:], b"no gzip"],
    ids=["cut", "flipped", "no gzip"],
)
def test_damaged_compression_is_refused(tmp_path, damaged):
    path = tmp_path / "pictures.gz"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"pictures\.gz"):
        read_idx(path, 3)
