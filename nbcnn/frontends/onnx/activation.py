"""Activations, softmax and its kin."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall, read_as
from nbcnn.frontends.onnx.write import WriteCall, write_as
from nbcnn.ir.op import Op
from nbcnn.ops import check
from nbcnn.ops.activation import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Tanh,
)
from nbcnn.ops.arithmetic import Maximum, Minimum
from nbcnn.ops.piecewise import Clip, Shrink, ThresholdedRelu, within
from nbcnn.ops.reshape import Reshape
from nbcnn.ops.smooth import Celu, Mish, Selu, Softplus, Softsign
from nbcnn.ops.softmax import Hardmax, LogSoftmax, Softmax


def read_along_axis(make: Callable[[int], Op]) -> Callable[[ReadCall], None]:
    """The row of softmax and its kin."""

    def read(call: ReadCall) -> None:
        axis, rank = call.integer("axis", -1 if call.opset >= 13 else 1), call.rank(0)
        call.refuse_unless(-rank <= axis < max(rank, 1), f"axis {axis} of {call.type(0)}")
        axis = axis % rank if rank else 0
        if call.opset >= 13 or axis == rank - 1:
            return call.last(make(axis), call.x)
        # Before opset 13: over all axes from this one on, which may be those of extent 1.
        shape = call.shape(0)
        if axis and all(d == 1 for d in shape[axis + 1 :]):
            return call.last(make(axis), call.x)
        flat = call.part(Reshape((*(0,) * axis, -1)), call.x)
        call.last(Reshape((*(0,) * axis, *shape[axis:])), call.part(make(axis), flat))  # type: ignore[arg-type]
        return None

    return read


def write_along_axis(kind: str) -> Callable[[WriteCall], str]:
    def write(call: WriteCall) -> str:
        return call.last(kind, call.x, axis=call.op.axis)

    return write


def read_clip(call: ReadCall) -> None:
    """Bounds that are constants are attributes; others are operands of maximum and minimum."""
    call.ignore("consumed_inputs")
    if call.opset < 11:
        low, high = call.number("min", -math.inf), call.number("max", math.inf)
    elif all(call.is_constant(slot) or not call.has(slot) for slot in (1, 2)):
        low = call.scalar(1) if call.has(1) else -math.inf
        high = call.scalar(2) if call.has(2) else math.inf
    else:
        value = call.part(Maximum(), call.x, call.operand(1)) if call.has(1) else call.x
        return call.last(Minimum(), value, call.operand(2)) if call.has(2) else call.result(value)
    floats = check.kind(call.type(0)) == "f"
    if floats and (low, high) == (0, 6):
        return call.last(Relu6(), call.x)
    low, high = (b if abs(b) < _UNBOUNDED else math.copysign(math.inf, b) for b in (low, high))
    if floats and (low, high) == (0, math.inf):
        return call.last(Relu(), call.x)
    return call.last(Clip(None if low == -math.inf else low, None if high == math.inf else high), call.x)


_UNBOUNDED = float(np.finfo(np.float32).max)
"""From here on a bound does not bound."""


def write_clip(call: WriteCall) -> str:
    low, high = (
        "" if bound is None else call.constant(name, np.array(within(np.dtype(call.types[0].dtype), bound)))
        for name, bound in (("min", call.op.min), ("max", call.op.max))
    )
    return call.last("Clip", call.x, *((low, high) if high else (low,) if low else ()))


def write_relu6(call: WriteCall) -> str:
    return call.last("Clip", call.x, call.number("min", 0), call.number("max", 6))


def reader(make: Callable[..., Op], **defaults: float) -> Callable[[ReadCall], None]:
    """The row of an activation with numbers to set, in the order of the operator's fields."""

    def read(call: ReadCall) -> None:
        call.ignore("consumed_inputs")
        call.last(make(*(call.number(name, value) for name, value in defaults.items())), call.x)

    return read


def writer(kind: str, *fields: str) -> Callable[[WriteCall], str]:
    """The row of an activation whose ``fields`` are ONNX's attributes."""

    def write(call: WriteCall) -> str:
        return call.last(kind, call.x, **{name: getattr(call.op, name) for name in fields})

    return write


def write_silu(call: WriteCall) -> str:
    """Swish came with opset 24."""
    bent = call.x if call.op.alpha == 1 else call.part("Mul", call.x, call.number("alpha", call.op.alpha))
    return call.last("Mul", call.x, call.part("Sigmoid", bent))


def write_mish(call: WriteCall) -> str:
    """Mish came with opset 18."""
    return call.last("Mul", call.x, call.part("Tanh", call.part("Softplus", call.x)))


def read_gelu(call: ReadCall) -> None:
    call.last(Gelu(call.text("approximate", "none")), call.x)


def write_gelu(call: WriteCall) -> str:
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


IMPORT = {
    "Softmax": read_along_axis(Softmax),
    "LogSoftmax": read_along_axis(LogSoftmax),
    "Hardmax": read_along_axis(Hardmax),
    "Sigmoid": read_as(Sigmoid),
    "Tanh": read_as(Tanh),
    "Relu": read_as(Relu),
    "Clip": read_clip,
    "LeakyRelu": reader(LeakyRelu, alpha=0.01),
    "Elu": reader(Elu, alpha=1.0),
    "Celu": reader(Celu, alpha=1.0),
    "Selu": reader(Selu, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "ThresholdedRelu": reader(ThresholdedRelu, alpha=1.0),
    "Shrink": reader(Shrink, bias=0.0, lambd=0.5),
    "Softplus": read_as(Softplus),
    "Softsign": read_as(Softsign),
    "Mish": read_as(Mish),
    "Swish": reader(Silu, alpha=1.0),
    "HardSwish": read_as(HardSwish),
    "HardSigmoid": reader(HardSigmoid, alpha=0.2, beta=0.5),
    "Gelu": read_gelu,
}
EXPORT = {
    "softmax": write_along_axis("Softmax"),
    "log_softmax": write_along_axis("LogSoftmax"),
    "hardmax": write_along_axis("Hardmax"),
    "sigmoid": write_as("Sigmoid"),
    "tanh": write_as("Tanh"),
    "relu": write_as("Relu"),
    "relu6": write_relu6,
    "clip": write_clip,
    "leaky_relu": writer("LeakyRelu", "alpha"),
    "elu": writer("Elu", "alpha"),
    "celu": writer("Celu", "alpha"),
    "selu": writer("Selu", "alpha", "gamma"),
    "thresholded_relu": writer("ThresholdedRelu", "alpha"),
    "shrink": writer("Shrink", "bias", "lambd"),
    "softplus": write_as("Softplus"),
    "softsign": write_as("Softsign"),
    "mish": write_mish,
    "silu": write_silu,
    "hard_swish": write_as("HardSwish"),
    "hard_sigmoid": writer("HardSigmoid", "alpha", "beta"),
    "gelu": write_gelu,
}
