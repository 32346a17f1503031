"""ONNX models, and small wrongs done to them: what a fuzz of the importer is made of."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 4096, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63), 2**63 - 1)
DTYPES = (*range(0, 30),)


def seeds() -> dict[str, onnx.ModelProto]:
    """Small valid models that between them use most of what the importer knows."""
    return {"image": _image(), "shapes": _shapes(), "function": _function(), "old": _old(), "parts": _parts()}


def model(nodes, inputs, outputs, constants=(), opset: int = 17, functions=()) -> onnx.ModelProto:
    """A model of nodes; inputs are (name, shape) of float32 or value infos, constants (name, array)."""
    infos = [i if not isinstance(i, tuple) else value(*i) for i in inputs]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants]
    graph = helper.make_graph(
        nodes, "model", infos, [helper.make_empty_tensor_value_info(o) for o in outputs], tensors
    )
    domains = {f.domain for f in functions}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions)


def value(name: str, shape, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _image() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2], group=1),
        helper.make_node("BatchNormalization", ["c", "s", "b", "b", "s"], ["n"], epsilon=1e-3),
        helper.make_node("Clip", ["n", "zero", "six"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Resize", ["m", "", "scales"], ["u"], mode="linear"),
        helper.make_node("Pad", ["u", "pads"], ["p"], mode="reflect"),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["d"], transB=1),
        helper.make_node("Softmax", ["d"], ["y"], axis=-1),
    ]
    constants = [
        ("w", _weights(4, 3, 3, 3)),
        ("b", _weights(4)),
        ("s", abs(_weights(4)) + 1),
        ("zero", np.float32(0)),
        ("six", np.float32(6)),
        ("scales", np.array([1, 1, 2, 2], np.float32)),
        ("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1])),
        ("v", _weights(5, 4)),
    ]
    return model(nodes, [("x", ["batch", 3, 8, 8])], ["y"], constants)


def _shapes() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("Slice", ["r", "zeros", "ends", "one"], ["c"]),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
        helper.make_node("ReduceSum", ["t", "one"], ["y"], keepdims=0),
        helper.make_node("ConstantOfShape", ["ends"], ["k"]),
        helper.make_node("Tile", ["k", "ends"], ["z"]),
    ]
    constants = [
        ("zero", np.int64(0)),
        ("axes", np.array([0])),
        ("rest", np.array([-1, 4])),
        ("zeros", np.array([0])),
        ("ends", np.array([2])),
        ("one", np.array([1])),
    ]
    return model(nodes, [("x", ["N", 6, 4])], ["y", "z"], constants)


def _function() -> onnx.ModelProto:
    inner = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    body = helper.make_graph([helper.make_node("Relu", ["t"], ["o"])], "then", [], [value("o", None)])
    other = helper.make_graph([helper.make_node("Neg", ["t"], ["q"])], "else", [], [value("q", None)])
    nodes = [
        helper.make_node("Twice", ["x"], ["t"], domain="mine"),
        helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=other),
        helper.make_node("Mish", ["y"], ["z"]),
    ]
    return model(nodes, [("x", [2, 3])], ["z"], [("yes", np.array(True))], 18, [inner])


def _old() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], broadcast=1, axis=1),
        helper.make_node("BatchNormalization", ["a", "b", "b", "b", "b"], ["n"], is_test=1, spatial=1),
        helper.make_node("Pad", ["n"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant", value=1.0),
        helper.make_node("Split", ["p"], ["s", "t"], axis=1, split=[1, 2]),
        helper.make_node("Sum", ["t", "t", "t"], ["u"]),
        helper.make_node("Dropout", ["u"], ["d"], is_test=1),
        helper.make_node("Softmax", ["d"], ["y"], axis=1),
    ]
    return model(nodes, [("x", [1, 3, 4, 4])], ["y", "s"], [("b", abs(_weights(3)))], 6)


def _parts() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Cast", ["c"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("ArgMax", ["h"], ["i"], axis=1),
        helper.make_node("TopK", ["c", "k"], ["v", "at"], axis=1),
        helper.make_node("Where", ["m", "v", "v"], ["y"]),
    ]
    constants = [
        ("q", np.arange(12, dtype=np.int8).reshape(4, 3, 1, 1)),
        ("scale", np.full(4, 0.1, np.float32)),
        ("zero", np.zeros(4, np.int8)),
        ("k", np.array([2])),
        ("m", np.array(True)),
    ]
    return model(nodes, [("x", [2, 3, 5, 5])], ["y", "i", "at"], constants)


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut off, left out or doubled."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at, what = int(rng.integers(len(data))), rng.integers(4)
        if what == 0:
            data[at] = int(rng.integers(256))
        elif what == 1:
            del data[at:]
        elif what == 2:
            del data[at : at + int(rng.integers(1, 9))]
        else:
            data[at:at] = data[at : at + int(rng.integers(1, 65))]
        if not data:
            break
    return bytes(data)


def wronged(good: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    """A copy with one to three parts of it replaced by others that fit the format."""
    bad = onnx.ModelProto()
    bad.CopyFrom(good)
    for _ in range(rng.integers(1, 4)):
        WRONGS[int(rng.integers(len(WRONGS)))](bad.graph, rng)
    return bad


def _pick(items, rng):
    return items[int(rng.integers(len(items)))] if len(items) else None


def _attribute(graph, rng) -> None:
    if (node := _pick(graph.node, rng)) is None or (attribute := _pick(node.attribute, rng)) is None:
        return
    name = attribute.name if rng.random() < 0.9 else "unheard_of"
    options = [int(_pick(NUMBERS, rng)), [int(_pick(NUMBERS, rng)) for _ in range(rng.integers(0, 9))]]
    options += [float(_pick((0.0, -1.0, np.nan, np.inf, 1e300), rng)), "NONSENSE", _weights(2)]
    made = _pick(options, rng)
    made = numpy_helper.from_array(made) if isinstance(made, np.ndarray) else made
    attribute.CopyFrom(helper.make_attribute(name, made, attr_type=7 if made == [] else None))


def _operand(graph, rng) -> None:
    if (node := _pick(graph.node, rng)) is None or not node.input:
        return
    names = [*(i.name for i in graph.input), *(t.name for t in graph.initializer), "", "nothing"]
    names += [o for n in graph.node for o in n.output]
    node.input[int(rng.integers(len(node.input)))] = _pick(names, rng)


def _output(graph, rng) -> None:
    if (node := _pick(graph.node, rng)) is not None and node.output:
        names = [o for n in graph.node for o in n.output]
        node.output[int(rng.integers(len(node.output)))] = _pick([*names, "", "x"], rng)


def _count(graph, rng) -> None:
    if (node := _pick(graph.node, rng)) is None:
        return
    if rng.random() < 0.5 and node.input:
        del node.input[-1]
    else:
        node.input.append(_pick([*node.input, ""], rng) or "")


def _kind(graph, rng) -> None:
    from nbcnn.frontends.onnx.table import IMPORT

    if (node := _pick(graph.node, rng)) is not None:
        node.op_type = _pick([*IMPORT, "Unheard", "If", "Loop"], rng)


def _order(graph, rng) -> None:
    nodes = [graph.node[int(i)] for i in rng.permutation(len(graph.node))]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _extent(graph, rng) -> None:
    if (info := _pick(graph.input, rng)) is None:
        return
    if (dim := _pick(info.type.tensor_type.shape.dim, rng)) is None or rng.random() < 0.2:
        info.type.tensor_type.shape.dim.add().dim_value = int(_pick(NUMBERS, rng))
    elif rng.random() < 0.2:
        dim.dim_param = "open"
    else:
        dim.dim_value = int(_pick(NUMBERS, rng))


def _dtype(graph, rng) -> None:
    if (info := _pick(graph.input, rng)) is not None:
        info.type.tensor_type.elem_type = int(_pick(DTYPES, rng))


def _tensor(graph, rng) -> None:
    if (tensor := _pick(graph.initializer, rng)) is None:
        return
    what = rng.integers(4)
    if what == 0:
        tensor.data_type = int(_pick(DTYPES, rng))
    elif what == 1 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = int(_pick(NUMBERS, rng))
    elif what == 2:
        tensor.dims.append(1)
    else:
        array = _weights(2)
        with contextlib.suppress(Exception):  # it was wronged before
            array = numpy_helper.to_array(tensor)
        numbers = np.resize([_pick(NUMBERS, rng) for _ in range(4)], array.shape)
        with np.errstate(all="ignore"):
            tensor.CopyFrom(numpy_helper.from_array(numbers.astype(array.dtype), tensor.name))


def _double(graph, rng) -> None:
    if (node := _pick(graph.node, rng)) is not None:
        graph.node.add().CopyFrom(node)


WRONGS = (_attribute, _operand, _output, _count, _kind, _order, _extent, _dtype, _tensor, _double)
