from __future__ import annotations

import json
import os
import struct
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from relayjax.errors import DataError, FormatError
from relayjax.learning.interchange import load_weights, save_weights
from relayjax.learning.layout import Layout


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return {
        "layers": {
            "0": {"kernel": rng.normal(size=(4, 3)).astype(np.float32), "bias": np.zeros(3, np.float32)},
            "1": {"kernel": rng.normal(size=(3, 2)).astype(np.float32)},
        },
        "scale": np.float32(rng.normal(size=())),
    }


@pytest.fixture
def layout(params) -> Layout:
    return Layout.of(jax.tree.map(jnp.asarray, params))


@pytest.fixture
def named(params, layout: Layout) -> dict[str, np.ndarray]:
    return dict(zip(layout.names, map(np.asarray, jax.tree.leaves(params)), strict=True))


def raw(path: Path, header: str | dict, data: bytes = b"", length: int | None = None) -> Path:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_weights_come_back_bit_for_bit(tmp_path: Path, named, params, layout: Layout):
    path = tmp_path / "weights.safetensors"
    save_weights(path, named, {"made by": "a test"})
    theta = load_weights(path, layout)
    assert theta.dtype == np.float32 and theta.shape == (layout.size,)
    np.testing.assert_array_equal(theta, layout.flatten(jax.tree.map(jnp.asarray, params)))


def test_a_pipe_is_read_to_its_end(tmp_path: Path, named, layout: Layout):
    file, pipe = tmp_path / "weights.safetensors", tmp_path / "pipe"
    save_weights(file, named, {})
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(file.read_bytes(),), daemon=True)
    writer.start()
    np.testing.assert_array_equal(load_weights(pipe, layout), load_weights(file, layout))
    writer.join(10)


def test_others_read_what_we_write_and_we_what_they_write(tmp_path: Path, named, layout: Layout):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    save_weights(ours, named, {"b": "2", "a": "1"})
    read = safetensors.numpy.load_file(ours)
    assert set(read) == set(named)
    assert all(
        (read[name] == array).all() and read[name].shape == array.shape for name, array in named.items()
    )
    with safetensors.safe_open(ours, framework="np") as file:
        assert file.metadata() == {"a": "1", "b": "2"}
    safetensors.numpy.save_file(named, theirs, {"format": "np"})
    np.testing.assert_array_equal(load_weights(theirs, layout), load_weights(ours, layout))


def test_the_same_weights_give_the_same_bytes(tmp_path: Path, named):
    metadata = {str(number): "x" for number in range(20)}
    for name in "ab":
        save_weights(tmp_path / name, named, metadata, mode=0o600)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("dtype", "scalar"), [("F16", np.float16), ("BF16", jnp.bfloat16)])
def test_half_precision_is_widened(tmp_path: Path, named, layout: Layout, dtype: str, scalar):
    halves = {name: np.asarray(array, scalar) for name, array in named.items()}
    header, end = {}, 0
    for name, half in halves.items():
        header[name] = {"dtype": dtype, "shape": half.shape, "data_offsets": [end, end := end + half.nbytes]}
    raw(tmp_path / "half", header, b"".join(half.tobytes() for half in halves.values()))
    expected = np.concatenate([halves[name].astype(np.float32).ravel() for name in layout.names])
    np.testing.assert_array_equal(load_weights(tmp_path / "half", layout), expected)


def test_parameters_can_be_named_otherwise(tmp_path: Path, named, layout: Layout):
    other = {"w1" if name == "layers/1/kernel" else name: array for name, array in named.items()}
    save_weights(tmp_path / "other", other, {})
    save_weights(tmp_path / "same", named, {})
    with pytest.raises(DataError, match="lacks layers/1/kernel"):
        load_weights(tmp_path / "other", layout)
    theta = load_weights(tmp_path / "other", layout, {"layers/1/kernel": "w1"})
    np.testing.assert_array_equal(theta, load_weights(tmp_path / "same", layout))
    with pytest.raises(DataError, match="names are given for layer, which the model"):
        load_weights(tmp_path / "same", layout, {"layer": "w1"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers/0/bias": None}, "lacks layers/0/bias; it holds the weights of another model"),
        ({"extra": np.ones(1, np.float32)}, "holds extra, which the model does not have"),
        ({"layers/0/kernel": np.ones((3, 4), np.float32)}, r"kernel has the shape \[3, 4\]; .* \[4, 3\]"),
        ({"layers/0/bias": np.ones(3, np.float64)}, "bias is F64; convert it to F32, F16 or BF16"),
        ({"layers/0/bias": np.ones(3, np.int32)}, "bias is I32; convert"),
        ({"layers/0/bias": np.array([0, np.nan, 0], np.float32)}, "bias holds NaN or infinity"),
        ({"scale": np.array(-np.inf, np.float16)}, "scale holds NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, named, layout: Layout, changes, said: str):
    arrays = {name: array for name, array in (named | changes).items() if array is not None}
    safetensors.numpy.save_file(arrays, tmp_path / "file")
    with pytest.raises(DataError, match=said):
        load_weights(tmp_path / "file", layout)


def entry(start: int, end: int) -> dict:
    return {"dtype": "F32", "shape": [(end - start) // 4], "data_offsets": [start, end]}


def test_files_that_are_none_are_refused(tmp_path: Path):
    layout, path = Layout.of({"w": jnp.zeros(2)}), tmp_path / "file"
    one, data = json.dumps(entry(0, 8)), bytes(8)
    np.testing.assert_array_equal(load_weights(raw(path, f'{{"w":{one}}}', data), layout), np.zeros(2))
    twice = f'{{"w":{one},"w":{one}}}'
    for header, content, said in (
        (twice, data, "a key stands twice"),
        (f'{{"w":{one[:-1]},"dtype":"F32"}}}}', data, "a key stands twice"),
        ('{"w":', b"", "not a safetensors file"),
        ("[" * 100_000, b"", "not a safetensors file"),
        (f'{{"w":{one}}}', data[:-1], "not a safetensors file"),
        (f'{{"w":{one}}}', data + b"\0", "not a safetensors file"),
        ({"w": entry(0, 8), "v": entry(4, 12)}, bytes(12), "not a safetensors file"),
        ({"w": entry(4, 12)}, bytes(12), "not a safetensors file"),
    ):
        with pytest.raises(FormatError, match=said):
            load_weights(raw(path, header, content), layout)
    with pytest.raises(FormatError, match="header of 18446744073709551615 are no safetensors file"):
        load_weights(raw(path, "{}", length=2**64 - 1), layout)
    with pytest.raises(FormatError, match="header of 1048577"):
        load_weights(raw(path, " " * (2**20 + 1)), layout)
    raw(path, f'{{"w":{one}}}', bytes(2**20 + 9))
    with pytest.raises(DataError, match="too many for the 2 parameters"):
        load_weights(path, layout)
    path.write_bytes(b"123")
    with pytest.raises(FormatError, match="3 bytes"):
        load_weights(path, layout)
    with pytest.raises(DataError, match=r"cannot be read .*give the path of a safetensors file"):
        load_weights(tmp_path / "absent", layout)


def test_only_float32_is_written(tmp_path: Path):
    for weights in ({"w": np.ones(2)}, {"__metadata__": np.ones(2, np.float32)}):
        with pytest.raises(DataError, match="weights are float32"):
            save_weights(tmp_path / "file", weights, {})
    assert not list(tmp_path.iterdir())
