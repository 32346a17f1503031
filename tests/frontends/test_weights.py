import json
from pathlib import Path

import numpy as np
import pytest
from model_files import CONV, model, write
from safetensors.numpy import save_file

import nbcnn
from nbcnn.errors import NbcnnError
from nbcnn.frontends.weights import TensorFile, renamed

SHAPES = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,)}


@pytest.fixture
def arrays(rng):
    return {k: rng.standard_normal(s).astype("f4") for k, s in SHAPES.items()}


def with_file(folder, arrays, section="{file: w.safetensors}"):
    save_file(arrays, folder / "w.safetensors")
    return model(folder, f"{CONV}weights: {section}\n")


def refusal(folder, arrays) -> str:
    def read_all():
        return [weight.array for weight in with_file(folder, arrays).weights.values()]

    with pytest.raises(NbcnnError) as caught:
        read_all()
    message = str(caught.value)
    assert message.startswith(f"{folder}/w.safetensors: ")
    assert "\n" not in message
    return message


def test_weights_are_the_files_and_read_only(tmp_path, arrays):
    graph = with_file(tmp_path, arrays | {"bn.num_batches_tracked": np.array(3)})
    for name, array in arrays.items():
        got = graph.weight(name).array
        np.testing.assert_array_equal(got, array)
        assert not got.flags.writeable
        assert got.ctypes.data % 4 == 0


@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_other_floats_are_converted(tmp_path, arrays, dtype):
    graph = with_file(tmp_path, {k: a.astype(dtype) for k, a in arrays.items()})
    got = graph.weight("conv.weight").array
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, arrays["conv.weight"].astype(dtype).astype("f4"))


def test_numbers_beyond_the_models_dtype(tmp_path, arrays):
    large = {k: a.astype("f8") for k, a in arrays.items()} | {
        "conv.bias": np.full(SHAPES["conv.bias"], 1e300)
    }
    assert "tensor 'conv.bias' holds numbers that are too large for float32" in refusal(tmp_path, large)


def raw_file(path, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bfloat16_is_widened(tmp_path, arrays):
    short = {k: a.view("u4") >> 16 for k, a in arrays.items()}
    raw_file(
        tmp_path / "w.safetensors",
        {k: ("BF16", list(SHAPES[k]), a.astype("<u2").tobytes()) for k, a in short.items()},
    )
    graph = model(tmp_path, CONV + "weights: {file: w.safetensors}\n")
    for name, bits in short.items():
        np.testing.assert_array_equal(graph.weight(name).array.view("u4"), bits << 16)


def test_unaligned_data_is_copied_into_place(tmp_path, arrays):
    path = tmp_path / "w.safetensors"
    for pad in range(4):
        name = {f"{'x' * pad}.num_batches_tracked": ("U8", [1], b"0")}
        raw_file(path, name | {k: ("F32", list(SHAPES[k]), a.tobytes()) for k, a in arrays.items()})
        graph = model(tmp_path, CONV + "weights: {file: w.safetensors}\n")
        for key, array in arrays.items():
            np.testing.assert_array_equal(graph.weight(key).array, array)
            assert graph.weight(key).array.flags.aligned


def test_all_that_does_not_fit_is_one_error(tmp_path, arrays):
    message = refusal(tmp_path, {"conv.weight": arrays["conv.bias"], "fc.bias": arrays["conv.bias"]})
    assert "1 ('conv.bias') missing" in message
    assert "1 ('fc.bias') unexpected" in message
    assert "1 of the wrong type: 'conv.weight' is [4], should be [4, 3, 3, 3]" in message


def test_integers_are_no_weights(tmp_path, arrays):
    message = refusal(tmp_path, arrays | {"conv.bias": np.zeros(4, np.int64)})
    assert "'conv.bias' is I64, should be float32" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(tmp_path, arrays, value):
    arrays["conv.weight"][1, 2, 0, 1] = value
    assert "tensor 'conv.weight' holds NaN or infinity" in refusal(tmp_path, arrays)


def test_infinities_that_cancel_and_sums_that_overflow(tmp_path, arrays):
    arrays["conv.bias"][:2] = np.inf, -np.inf
    assert "holds NaN or infinity" in refusal(tmp_path, arrays)
    arrays["conv.bias"][:] = 3e38
    assert with_file(tmp_path, arrays).weight("conv.bias").array[0] == np.float32(3e38)


@pytest.mark.parametrize("keep", [0, 4, 8, 40, -1])
def test_truncated(tmp_path, arrays, keep):
    path = tmp_path / "w.safetensors"
    save_file(arrays, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(NbcnnError, match=r"w.safetensors: is (no safetensors file, or it is )?truncated"):
        model(tmp_path, CONV + "weights: {file: w.safetensors}\n")


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[]",
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}',
        b"[" * 100_000,
    ],
)
def test_headers_that_are_no_headers(tmp_path, header):
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(NbcnnError, match=r"w.safetensors: "):
        TensorFile(path)


def test_a_file_given_at_load_wins_and_may_be_anywhere(tmp_path, arrays):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(arrays, tmp_path / "other.safetensors")
    path = write(folder, CONV + "weights: {file: missing.safetensors}\n")
    graph = nbcnn.load(path, weights=tmp_path / "other.safetensors")
    np.testing.assert_array_equal(graph.weight("conv.bias").array, arrays["conv.bias"])
    with pytest.raises(NbcnnError, match=r"none.safetensors: cannot be read"):
        nbcnn.load(path, weights=tmp_path / "none.safetensors")


def test_names_are_mapped(tmp_path, arrays):
    graph = with_file(
        tmp_path,
        {f"module.stem.{k.split('.')[1]}": a for k, a in arrays.items()},
        "{file: w.safetensors, map: {conv: module.stem}}",
    )
    np.testing.assert_array_equal(graph.weight("conv.bias").array, arrays["conv.bias"])


@pytest.mark.parametrize(
    "renames, name",
    [
        ({}, "a.b.c"),
        ({"a": "x"}, "x.b.c"),
        ({"a": "x", "a.b": "y"}, "y.c"),
        ({"a.b.c": "z"}, "z"),
        ({"": "module"}, "module.a.b.c"),
        ({"a": ""}, "b.c"),
        ({"a.": "x", "b": "y"}, "a.b.c"),
    ],
)
def test_renamed(renames, name):
    assert renamed("a.b.c", renames) == name


@pytest.mark.parametrize("packed", [True, False])
def test_masks(tmp_path, arrays, packed):
    mask = np.arange(108).reshape(4, 3, 3, 3) % 3 > 0
    graph = with_file(tmp_path, arrays | {"conv.weight.mask": np.packbits(mask) if packed else mask})
    weight = graph.weight("conv.weight")
    np.testing.assert_array_equal(weight.mask, mask)
    np.testing.assert_array_equal(weight.array, np.where(mask, arrays["conv.weight"], 0))


def test_a_mask_of_another_shape(tmp_path, arrays):
    assert "mask 'conv.weight.mask' is neither" in refusal(
        tmp_path, arrays | {"conv.weight.mask": np.ones(5, bool)}
    )


def test_ones_at_the_end_of_a_shape_do_not_matter(tmp_path, rng):
    """A dense layer's weight serves a 1x1 convolution, and the other way round."""
    text = (
        "format: 1\nname: m\ninputs: {x: [N, 3, 2, 1]}\nnodes:\n"
        "  - {name: conv, op: conv2d, channels: 4, kernel: 1, bias: false}\n"
        "  - {name: flatten, op: flatten}\n"
        "  - {name: fc, op: dense, channels: 5, bias: false}\nweights: {file: w.safetensors}\n"
    )
    arrays = {"conv.weight": rng.standard_normal((4, 3)), "fc.weight": rng.standard_normal((5, 8, 1, 1))}
    arrays = {k: a.astype("f4") for k, a in arrays.items()}
    save_file(arrays, tmp_path / "w.safetensors")
    graph = model(tmp_path, text)
    for name, shape in (("conv.weight", (4, 3, 1, 1)), ("fc.weight", (5, 8))):
        got = graph.weight(name).array
        np.testing.assert_array_equal(got, arrays[name].reshape(shape))
        assert not got.flags.writeable
    save_file(arrays | {"conv.weight": arrays["conv.weight"][:, None]}, tmp_path / "w.safetensors")
    with pytest.raises(NbcnnError, match=r"'conv.weight' is \[4, 1, 3\], should be \[4, 3, 1, 1\]"):
        model(tmp_path, text)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is resident")
def test_compiling_gives_the_pages_of_the_file_back(tmp_path, rng):
    text = (
        "format: 1\nname: m\ninputs: {x: [N, 1024]}\n"
        "nodes: [{name: fc, op: dense, channels: 2048}]\nweights: {file: w.safetensors}\n"
    )
    arrays = {"fc.weight": rng.standard_normal((2048, 1024), "f4"), "fc.bias": np.zeros(2048, "f4")}
    save_file(arrays, tmp_path / "w.safetensors")
    graph, x = model(tmp_path, text), rng.standard_normal((1, 1024), "f4")
    weight = graph.weight("fc.weight").array
    weight.sum()
    assert resident_kib(tmp_path / "w.safetensors") > 8000
    program = nbcnn.compile(graph, threads=1)
    assert resident_kib(tmp_path / "w.safetensors") < 800
    np.testing.assert_allclose(program(x), x @ arrays["fc.weight"].T, atol=1e-3)
    np.testing.assert_array_equal(weight, arrays["fc.weight"])


def resident_kib(path) -> int:
    """KiB of the mapped file ``path`` that this process holds in memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.endswith(str(path)):
            return next(int(below.split()[1]) for below in lines if below.startswith("Rss:"))
    return 0
