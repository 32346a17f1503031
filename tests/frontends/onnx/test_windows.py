"""Rows of convolution, pooling and normalisation: forms of old opsets, constants that become attributes,
what is refused. What is read is judged by ONNX's own reference, or by ONNX Runtime where that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nbcnn
from nbcnn import reference
from nbcnn.errors import ModelFileError
from nbcnn.frontends.onnx import importer
from nbcnn.ir import Graph

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
helper = onnx.helper
Evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator

AXES = pytest.mark.parametrize("axes", (1, 2, 3))


def model(kind: str, shape: tuple, opset: int, outputs: tuple, weights: list, attributes: dict) -> Any:
    """One node of operands ``x`` and constants."""
    tensors = [onnx.numpy_helper.from_array(w.astype(np.float32), f"w{i}") for i, w in enumerate(weights)]
    node = helper.make_node(kind, ["x", *(t.name for t in tensors)], list(outputs), **attributes)
    inputs = [helper.make_tensor_value_info("x", 1, shape)]
    results = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    graph = helper.make_graph([node], "windows", inputs, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def load(
    kind: str,
    shape: tuple,
    *weights: np.ndarray,
    opset: int = 17,
    outputs: tuple[str, ...] = ("y",),
    by: str = "onnx",
    **attributes: Any,
) -> Any:
    """The operator that was read, after its answer was found to be that of another engine."""
    made = model(kind, shape, opset, outputs, list(weights), attributes)
    graph = importer.load(made)
    x = np.random.default_rng(0).standard_normal([3 if isinstance(d, str) else d for d in shape])
    x = x.astype(np.float32)
    if by == "onnx":
        want = Evaluator(made).run(None, {"x": x})
    else:
        session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        want = session.run(None, {"x": x})
    got = reference.run(graph, {"x": x})
    for name, array in zip((o for o in outputs if o), want, strict=True):
        assert got[name].dtype == array.dtype
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    assert same_after_export(graph, x, got)
    return graph.nodes[0].op


def same_after_export(graph: Graph, x: np.ndarray, got: dict[str, np.ndarray]) -> bool:
    """Whether the graph gives the same written and read again."""
    from nbcnn.frontends.onnx.exporter import to_model

    again = reference.run(importer.load(to_model(graph)), {"x": x})
    return all(np.allclose(again[k], v, rtol=1e-5, atol=1e-6) for k, v in got.items())


def refused(kind: str, shape: tuple, *weights: np.ndarray, opset: int = 17, **options: Any) -> str:
    """Why a node cannot be read."""
    outputs = options.pop("outputs", ("y",))
    with pytest.raises(ModelFileError) as caught:
        importer.load(model(kind, shape, opset, outputs, list(weights), options))
    return str(caught.value)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


def places(axes: int) -> tuple:
    return ("N", 4, *(7, 6, 5)[:axes])


@AXES
@pytest.mark.parametrize("auto_pad", ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"))
def test_convolutions(axes: int, auto_pad: str) -> None:
    pads = {"pads": [0, 1, 2, 1, 0, 1][: 2 * axes]} if auto_pad == "NOTSET" else {"auto_pad": auto_pad}
    weight = normal(6, 2, *(3, 2, 3)[:axes])
    options = {"strides": [2, 1, 3][:axes], "group": 2, **pads}
    op = load("Conv", places(axes), weight, normal(6), by="ort", **options)
    assert op.name == f"conv{axes}d"
    assert (op.groups, op.bias) == (2, True)
    if auto_pad.startswith("SAME"):
        assert op.padding == {"SAME_UPPER": "same", "SAME_LOWER": "same_lower"}[auto_pad]
    assert not load("Conv", places(axes), weight, group=2, dilations=[2] * axes, by="ort").bias


@AXES
def test_transposed_convolutions(axes: int) -> None:
    weight = normal(4, 3, *(3, 2, 3)[:axes])
    shape, strides = places(axes), [2] * axes
    op = load("ConvTranspose", shape, weight, normal(6), group=2, strides=strides, by="ort")
    assert (op.name, op.channels, op.groups) == (f"conv_transpose{axes}d", 6, 2)
    pads = [1, 0, 1, 0, 1, 1][: 2 * axes]
    more = {"output_padding": [1] * axes, "pads": pads}
    load("ConvTranspose", shape, weight, strides=strides, **more, by="ort")
    wanted = [14, 13, 12][:axes]
    for auto_pad in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        options = {"auto_pad": auto_pad, "output_shape": wanted, "strides": strides}
        op = load("ConvTranspose", shape, weight, **options, by="ort")
        assert op.output_shape == tuple(wanted)
    assert (
        load("ConvTranspose", shape, weight, auto_pad="SAME_UPPER", strides=strides, by="ort").padding
        == "same"
    )


@AXES
def test_max_pools(axes: int) -> None:
    window = {"kernel_shape": [3] * axes, "strides": [2] * axes}
    assert load("MaxPool", places(axes), **window, opset=6, by="ort").ceil_mode is False
    load("MaxPool", places(axes), **window, ceil_mode=1, pads=[1] * 2 * axes, by="ort")
    load("MaxPool", places(axes), **window, dilations=[2] + [1] * (axes - 1), by="ort")
    load("MaxPool", places(axes), **window, auto_pad="SAME_LOWER", by="ort")
    two = load("MaxPool", places(axes), **window, outputs=("y", "i"), by="ort")
    assert two.indices
    assert not load("MaxPool", places(axes), **window, outputs=("y", ""), by="ort").indices
    by_column = load("MaxPool", places(axes), **window, outputs=("y", "i"), storage_order=1, by="ort")
    assert by_column.storage_order == 1


@AXES
def test_means_and_norms_of_windows(axes: int) -> None:
    window = {"kernel_shape": [3] * axes, "strides": [2] * axes}
    load("AveragePool", places(axes), **window, pads=[1] * 2 * axes, by="ort")
    counting = {"count_include_pad": 1, "pads": [1, 0, 1, 1, 0, 1][: 2 * axes]}
    assert load("AveragePool", places(axes), **window, **counting, by="ort").count_include_pad
    load("AveragePool", places(axes), **window, auto_pad="SAME_UPPER", by="ort")
    dilated = load("AveragePool", places(axes), **window, opset=19, dilations=[2] * axes, by="ort")
    assert set(dilated.dilation) == {2}
    assert load("LpPool", places(axes), **window, p=3, by="ort").p == 3
    assert load("GlobalLpPool", places(axes), by="ort").p == 2
    load("GlobalAveragePool", places(axes))
    load("GlobalMaxPool", places(axes), by="ort")


def test_groups_of_channels() -> None:
    shape = ("N", 6, 4, 5)
    op = load("GroupNormalization", shape, normal(3), normal(3), opset=18, num_groups=3)
    assert (op.name, op.num_groups) == ("group_norm", 3)
    load("GroupNormalization", shape, normal(6), normal(6), opset=21, num_groups=2, epsilon=1e-2)
    load("InstanceNormalization", shape, normal(6), normal(6), epsilon=1e-2)
    why = refused("GroupNormalization", shape, normal(4), normal(4), opset=18, num_groups=4)
    assert "6 channels in 4 groups" in why


def test_layers() -> None:
    shape = ("N", 4, 5, 6)
    op = load("LayerNormalization", shape, normal(6), normal(6))
    assert (op.axes, op.bias, op.statistics) == ((3,), True, False)
    op = load("LayerNormalization", shape, normal(5, 6), axis=2, epsilon=1e-2)
    assert (op.axes, op.bias) == ((2, 3), False)
    load("LayerNormalization", shape, normal(6), normal(5, 1), axis=-2)  # they broadcast
    op = load("LayerNormalization", shape, normal(6), normal(6), outputs=("y", "", "s"))
    assert op.statistics
    assert load("RMSNormalization", shape, normal(1), opset=23, axis=1).axes == (1, 2, 3)
    assert "does not broadcast" in refused("LayerNormalization", shape, normal(5))
    assert "axis 4" in refused("LayerNormalization", shape, normal(6), axis=4)
    assert "another type" in refused("LayerNormalization", shape, normal(6), stash_type=11)


def test_the_other_norms() -> None:
    shape = ("N", 5, 3, 4)
    op = load("LRN", shape, size=5, alpha=0.1, bias=2.0, by="ort")
    assert (op.size, op.beta, op.bias) == (5, 0.75, 2.0)
    assert load("LpNormalization", shape, axis=1, p=1, by="ort").p == 1
    op = load("MeanVarianceNormalization", (2, 5, 3, 4), axes=[0, 2, 3], by="ort")
    assert op.axes == (0, 2, 3)
    assert "p must be" in refused("LpNormalization", shape, p=3)


def test_what_is_refused_says_why() -> None:
    image, weight = ("N", 4, 5, 6), normal(6, 4, 3, 3)
    assert "4 axes behind the channels" in refused("Conv", ("N", 4, 2, 2, 2, 2), normal(6, 4, 1, 1, 1, 1))
    assert "kernel_shape (2, 2)" in refused("Conv", image, weight, kernel_shape=[2, 2])
    assert "strides has 1" in refused("Conv", image, weight, strides=[2])
    assert "pads has 2" in refused("Conv", image, weight, pads=[1, 1])
    assert "negative pads" in refused("Conv", image, weight, pads=[-1, 0, 0, 0])
    assert "auto_pad 'SAME'" in refused("Conv", image, weight, auto_pad="SAME")
    assert "groups" in refused("Conv", image, weight, group=3)
    assert "does not fit" in refused("Conv", image, normal(6, 4, 3))
    assert "output_padding" in refused("ConvTranspose", image, normal(4, 2, 3, 3), output_padding=[1, 1])
    assert "kernel_shape has 1" in refused("MaxPool", image, kernel_shape=[2])
    assert "storage_order 2" in refused("MaxPool", image, kernel_shape=[2, 2], storage_order=2)
    assert "training" in refused("BatchNormalization", image, *(normal(4) for _ in range(4)), training_mode=1)


def test_names_in_the_yaml_are_those_of_the_operators() -> None:
    graph = importer.load(model("LRN", ("N", 3, 4, 4), 13, ("y",), [], {"size": 3}))
    assert isinstance(graph, Graph)
    assert nbcnn.optimize(graph).nodes[0].op.name == "lrn"
