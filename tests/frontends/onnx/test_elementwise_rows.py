"""Element-wise operators and activations in the forms that older opsets gave them."""

from __future__ import annotations

import numpy as np
import pytest

import nbcnn
from nbcnn import reference
from nbcnn.errors import NbcnnError

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")

X = (2, 3, 4, 5)


def run(opset: int, kind: str, constants=(), inputs=(), outputs=1, shape=X, **attributes):
    """The operators that a node becomes, and its result on random numbers: x, other inputs, constants."""
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal(shape).astype(np.float32)}
    arrays |= {f"i{k}": np.asarray(a, np.float32) for k, a in enumerate(inputs)}
    names = [*arrays, *(f"c{k}" for k, a in enumerate(constants))]
    names = ["" if n[0] == "c" and constants[int(n[1:])] is None else n for n in names]
    tensors = [
        onnx.numpy_helper.from_array(np.asarray(a, np.float32), f"c{k}")
        for k, a in enumerate(constants)
        if a is not None
    ]
    infos = [helper.make_tensor_value_info(n, 1, a.shape) for n, a in arrays.items()]
    result = helper.make_tensor_value_info("y", 1, None)
    node = helper.make_node(kind, names, ["y"], name="node", **attributes)
    graph = helper.make_graph([node], "g", infos, [result], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    read = nbcnn.from_onnx(model)
    return [n.op.name for n in read.nodes], reference.run(read, arrays)["y"], list(arrays.values())


@pytest.mark.parametrize("kind, function", [("Add", np.add), ("Sub", np.subtract), ("Div", np.divide)])
@pytest.mark.parametrize("axis, shape", [(1, (3, 4)), (1, (3,)), (None, (4, 5)), (0, (2,)), (-1, (5,))])
def test_broadcast_from_an_axis(kind, function, axis, shape) -> None:
    b = np.random.default_rng(1).uniform(1, 2, shape).astype(np.float32)
    attributes = {"broadcast": 1} | ({} if axis is None else {"axis": axis})
    _, y, (x,) = run(6, kind, [b], **attributes)
    first = (4 - len(shape)) if axis is None else axis % 4
    column = b.reshape(b.shape + (1,) * (4 - first - len(shape)))
    np.testing.assert_array_equal(y, function(x, column))


def test_a_slope_for_each_channel() -> None:
    slope = np.array([0.1, -0.2, 0.3], np.float32)
    _, y, (x,) = run(6, "PRelu", [slope])
    np.testing.assert_array_equal(y, np.where(x < 0, x * slope[:, None, None], x))
    _, y, (x,) = run(9, "PRelu", [slope[:, None, None]])
    np.testing.assert_array_equal(y, np.where(x < 0, x * slope[:, None, None], x))
    _, y, (x,) = run(6, "PRelu", [slope[:1]])
    np.testing.assert_array_equal(y, np.where(x < 0, x * slope[0], x))


def test_clip_by_attributes_constants_and_operands() -> None:
    for words, y, (x,) in (
        run(6, "Clip", min=-0.5, max=0.25),
        run(11, "Clip", [-0.5, 0.25]),
        run(13, "Clip", [-0.5, 0.25]),
    ):
        assert words == ["clip"]
        np.testing.assert_array_equal(y, np.clip(x, np.float32(-0.5), np.float32(0.25)))
    assert run(6, "Clip", min=0.0, max=6.0)[0] == ["relu6"]
    assert run(6, "Clip", min=0.0, max=float(np.finfo(np.float32).max))[0] == ["relu"]
    assert run(13, "Clip", [0.0])[0] == ["relu"]
    words, y, (x,) = run(13, "Clip", [None, 0.5])
    assert words == ["clip"]
    np.testing.assert_array_equal(y, np.minimum(x, 0.5))
    words, y, (x, *_) = run(13, "Clip", inputs=[-0.5, 0.25])
    assert words == ["maximum", "minimum"]
    np.testing.assert_array_equal(y, np.clip(x, np.float32(-0.5), np.float32(0.25)))


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_over_all_axes_from_one_on(kind) -> None:
    _, y, (x,) = run(11, kind, axis=2)
    flat = x.reshape(2, 3, 20).astype(np.float64)
    share = np.exp(flat) / np.exp(flat).sum(axis=2, keepdims=True)
    want = {"Softmax": share, "LogSoftmax": np.log(share), "Hardmax": share == share.max(2, keepdims=True)}
    np.testing.assert_allclose(y, want[kind].reshape(X), rtol=1e-5, atol=1e-6)
    words, y, _ = run(13, kind, axis=2)
    assert len(words) == 1


def test_any_number_of_operands() -> None:
    others = [np.random.default_rng(k).standard_normal(X).astype(np.float32) for k in (3, 4)]
    for kind, want in (
        ("Sum", lambda *v: v[0] + v[1] + v[2]),
        ("Mean", lambda *v: (v[0] + v[1] + v[2]) / np.float32(3)),
        ("Max", lambda *v: np.maximum(np.maximum(v[0], v[1]), v[2])),
        ("Min", lambda *v: np.minimum(np.minimum(v[0], v[1]), v[2])),
    ):
        _, y, arrays = run(8, kind, inputs=others)
        np.testing.assert_array_equal(y, want(*arrays))
        _, y, (x,) = run(8, kind)
        np.testing.assert_array_equal(y, x)


def test_what_cannot_be_read_is_told() -> None:
    with pytest.raises(NbcnnError, match=r"FLOAT8|float8"):
        run(19, "Cast", to=onnx.TensorProto.FLOAT8E4M3FN)
    with pytest.raises(NbcnnError, match="direction"):
        run(11, "BitShift", [1.0], direction="UP")
