"""Functions of one number, and softmax."""

from __future__ import annotations

import math

from nbcnn.frontends.onnx.read import ReadCall, read_as
from nbcnn.frontends.onnx.write import WriteCall, write_as
from nbcnn.ops.activation import Elu, Gelu, HardSigmoid, HardSwish, LeakyRelu, Relu, Relu6, Sigmoid, Tanh
from nbcnn.ops.reshape import Reshape
from nbcnn.ops.softmax import Softmax


def read_softmax(call: ReadCall) -> None:
    axis, rank = call.integer("axis", -1 if call.opset >= 13 else 1), call.rank(0)
    call.refuse_unless(-rank <= axis < max(rank, 1), f"axis {axis} of {call.type(0)}")
    axis = axis % rank if rank else 0
    if call.opset >= 13 or axis == rank - 1:
        return call.last(Softmax(axis), call.x)
    # Before opset 13: over all axes from this one on, which may be those of extent 1.
    shape = call.shape(0)
    if axis and all(d == 1 for d in shape[axis + 1 :]):
        return call.last(Softmax(axis), call.x)
    flat = call.part(Reshape((*(0,) * axis, -1)), call.x)
    call.last(Reshape((*(0,) * axis, *shape[axis:])), call.part(Softmax(axis), flat))  # type: ignore[arg-type]
    return None


def write_softmax(call: WriteCall) -> str:
    return call.last("Softmax", call.x, axis=call.op.axis)


def read_clip(call: ReadCall) -> None:
    if call.opset < 11:
        low, high = call.number("min", -math.inf), call.number("max", math.inf)
    else:
        low = call.scalar(1) if call.has(1) else -math.inf
        high = call.scalar(2) if call.has(2) else math.inf
    if (low, high) == (0, 6):
        return call.last(Relu6(), call.x)
    if (low, high) == (0, math.inf):
        return call.last(Relu(), call.x)
    call.fail(f"clip to {low} ... {high}")


def write_relu6(call: WriteCall) -> str:
    return call.last("Clip", call.x, call.number("min", 0), call.number("max", 6))


def read_leaky_relu(call: ReadCall) -> None:
    call.ignore("consumed_inputs")
    call.last(LeakyRelu(call.number("alpha", 0.01)), call.x)


def write_leaky_relu(call: WriteCall) -> str:
    return call.last("LeakyRelu", call.x, alpha=call.op.alpha)


def read_elu(call: ReadCall) -> None:
    call.ignore("consumed_inputs")
    call.last(Elu(call.number("alpha", 1.0)), call.x)


def write_elu(call: WriteCall) -> str:
    return call.last("Elu", call.x, alpha=call.op.alpha)


def write_silu(call: WriteCall) -> str:
    return call.last("Mul", call.x, call.part("Sigmoid", call.x))


def read_hard_sigmoid(call: ReadCall) -> None:
    call.ignore("consumed_inputs")
    call.last(HardSigmoid(call.number("alpha", 0.2), call.number("beta", 0.5)), call.x)


def write_hard_sigmoid(call: WriteCall) -> str:
    return call.last("HardSigmoid", call.x, alpha=call.op.alpha, beta=call.op.beta)


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
    "Softmax": read_softmax,
    "Sigmoid": read_as(Sigmoid),
    "Tanh": read_as(Tanh),
    "Relu": read_as(Relu),
    "Clip": read_clip,
    "LeakyRelu": read_leaky_relu,
    "Elu": read_elu,
    "HardSwish": read_as(HardSwish),
    "HardSigmoid": read_hard_sigmoid,
    "Gelu": read_gelu,
}
EXPORT = {
    "softmax": write_softmax,
    "sigmoid": write_as("Sigmoid"),
    "tanh": write_as("Tanh"),
    "relu": write_as("Relu"),
    "relu6": write_relu6,
    "leaky_relu": write_leaky_relu,
    "elu": write_elu,
    "silu": write_silu,
    "hard_swish": write_as("HardSwish"),
    "hard_sigmoid": write_hard_sigmoid,
    "gelu": write_gelu,
}
