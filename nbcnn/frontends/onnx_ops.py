"""Each operator in ONNX: one table from its YAML word to a function that writes its nodes.

Opset 17. Whatever depends on sizes (``padding: same``, windows that hang over) is written out, so that no
engine has to agree with another about how it is worked out; functions that this opset lacks are
written as the products and sums that define them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nbcnn.ir.types import TensorType

OPSET = 17


class Writer(Protocol):
    """What a call writes to."""

    def node(self, kind: str, inputs: list[str], outputs: list[str], attributes: dict[str, Any]) -> None: ...

    def constant(self, name: str, array: np.ndarray) -> str: ...

    def fresh(self, name: str) -> str: ...

    def flipped(self, weight: str) -> str: ...


@dataclass(frozen=True)
class Call:
    """One application: ONNX names of its operands (data, then weights), the types of the data operands."""

    op: Any
    inputs: list[str]
    types: list[TensorType]
    outputs: list[str]
    writer: Writer

    @property
    def output(self) -> str:
        """The name of the first result."""
        return self.outputs[0]

    @property
    def x(self) -> str:
        return self.inputs[0]

    def last(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Write the node that makes the result."""
        self.writer.node(kind, list(inputs), self.outputs, attributes)
        return self.output

    def part(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Write a node on the way to it; returns the name of its value."""
        output = self.writer.fresh(f"{self.output}.{kind.lower()}")
        self.writer.node(kind, list(inputs), [output], attributes)
        return output

    def number(self, name: str, value: float) -> str:
        """A scalar of the operand's dtype."""
        return self.constant(name, np.array(value, self.types[0].dtype))

    def constant(self, name: str, array: np.ndarray) -> str:
        return self.writer.constant(f"{self.output}.{name}", array)


def conv2d(call: Call) -> str:
    op = call.op
    weight = call.writer.flipped(call.inputs[1]) if op.flip else call.inputs[1]
    return call.last(
        "Conv",
        call.x,
        weight,
        *call.inputs[2:],
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.pads(call.types[0]),
        dilations=op.dilation,
        group=op.groups,
    )


def conv_transpose2d(call: Call) -> str:
    op = call.op
    return call.last(
        "ConvTranspose",
        *call.inputs,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.padding,
        output_padding=op.output_padding,
        dilations=op.dilation,
        group=op.groups,
    )


def pad(call: Call) -> str:
    top, left, bottom, right = call.op.padding
    pads = call.constant("pads", np.array([0, 0, top, left, 0, 0, bottom, right]))
    return call.last("Pad", call.x, pads, call.number("value", call.op.value))


def reduce_mean(call: Call) -> str:
    return call.last("ReduceMean", call.x, axes=call.op.along(call.types[0]), keepdims=int(call.op.keepdims))


def transpose(call: Call) -> str:
    return call.last("Transpose", call.x, perm=call.op.perm)


def max_pool(call: Call) -> str:
    return call.last("MaxPool", call.x, **_window(call), dilations=call.op.dilation)


def avg_pool(call: Call) -> str:
    window = _window(call)
    if window["ceil_mode"] and call.op.count_include_pad and any(window["pads"]):
        # Padding counts, what lies beyond it does not: engines disagree, unless it is made part of the image.
        top, left, bottom, right = window.pop("pads")
        pads = call.constant("pads", np.array([0, 0, top, left, 0, 0, bottom, right]))
        return call.last("AveragePool", call.part("Pad", call.x, pads), **window)
    return call.last("AveragePool", call.x, **window, count_include_pad=int(call.op.count_include_pad))


def _window(call: Call) -> dict[str, Any]:
    """Attributes of a pooling window, ``ceil_mode`` only where a window does hang over the padding.

    Padding that no window reads is kept as it was given unless ONNX would refuse or misread it.
    """
    op, x = call.op, call.types[0]
    size, out = x.shape[2:], op.infer(x)[0].shape[2:]
    pads = op.pads(x)
    read = []
    for i in (0, 1):
        end = (out[i] - 1) * op.stride[i] + op.dilation[i] * (op.kernel[i] - 1) + 1
        read.append(max(end - size[i] - pads[i], 0))
    over = [need > given for need, given in zip(read, pads[2:], strict=True)]
    after = [
        need if not hangs and (any(over) or given >= kernel) else given
        for need, given, hangs, kernel in zip(read, pads[2:], over, op.kernel, strict=True)
    ]
    return {
        "kernel_shape": op.kernel,
        "strides": op.stride,
        "pads": (*pads[:2], *after),
        "ceil_mode": int(any(over)),
    }


def dense(call: Call) -> str:
    return call.last("Gemm", *call.inputs, transB=1)


def batch_norm(call: Call) -> str:
    return call.last("BatchNormalization", *call.inputs, epsilon=call.op.epsilon)


def concat(call: Call) -> str:
    return call.last("Concat", *call.inputs, axis=call.op.axis)


def split(call: Call) -> str:
    return call.last("Split", call.x, call.constant("sizes", np.array(call.op.sizes)), axis=call.op.axis)


def flatten(call: Call) -> str:
    if call.op.axis == 1:
        return call.last("Flatten", call.x, axis=1)
    shape = call.constant("shape", np.array([0] * call.op.axis + [-1]))
    return call.last("Reshape", call.x, shape)


def reshape(call: Call) -> str:
    return call.last("Reshape", call.x, call.constant("shape", np.array(call.op.shape)))


def dropout(call: Call) -> str:
    return call.x


def softmax(call: Call) -> str:
    return call.last("Softmax", call.x, axis=call.op.axis)


def relu6(call: Call) -> str:
    return call.last("Clip", call.x, call.number("min", 0), call.number("max", 6))


def leaky_relu(call: Call) -> str:
    return call.last("LeakyRelu", call.x, alpha=call.op.alpha)


def elu(call: Call) -> str:
    return call.last("Elu", call.x, alpha=call.op.alpha)


def silu(call: Call) -> str:
    return call.last("Mul", call.x, call.part("Sigmoid", call.x))


def hard_sigmoid(call: Call) -> str:
    return call.last("HardSigmoid", call.x, alpha=call.op.alpha, beta=call.op.beta)


def gelu(call: Call) -> str:
    """x * (0.5 + 0.5 * erf(x / sqrt 2)), or the tanh that approximates it."""
    if call.op.approximate == "none":
        bent = call.part("Erf", call.part("Mul", call.x, call.number("scale", math.sqrt(0.5))))
    else:
        square = call.part("Mul", call.x, call.x)
        inner = call.part("Mul", square, call.number("cubic", 0.044715 * math.sqrt(2 / math.pi)))
        inner = call.part("Add", inner, call.number("linear", math.sqrt(2 / math.pi)))
        bent = call.part("Tanh", call.part("Mul", inner, call.x))
    half = call.number("half", 0.5)
    gate = call.part("Add", call.part("Mul", bent, half), half)
    return call.last("Mul", call.x, gate)


def plain(kind: str) -> Callable[[Call], str]:
    """For an operator that ONNX has under the name ``kind`` with nothing to set."""

    def write(call: Call) -> str:
        return call.last(kind, *call.inputs)

    return write


OPS: dict[str, Callable[[Call], str]] = {
    "conv2d": conv2d,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "global_avg_pool": plain("GlobalAveragePool"),
    "global_max_pool": plain("GlobalMaxPool"),
    "conv_transpose2d": conv_transpose2d,
    "pad": pad,
    "reduce_mean": reduce_mean,
    "transpose": transpose,
    "dense": dense,
    "batch_norm": batch_norm,
    "add": plain("Add"),
    "mul": plain("Mul"),
    "concat": concat,
    "split": split,
    "flatten": flatten,
    "reshape": reshape,
    "dropout": dropout,
    "softmax": softmax,
    "sigmoid": plain("Sigmoid"),
    "tanh": plain("Tanh"),
    "relu": plain("Relu"),
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "silu": silu,
    "hard_swish": plain("HardSwish"),
    "hard_sigmoid": hard_sigmoid,
    "gelu": gelu,
}
"""YAML word -> the function that writes it and returns the name of the result.

``fused`` is missing: the nodes of its body are written.
"""
