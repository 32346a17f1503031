"""Matrix products; one with a constant matrix is `Dense`."""

from __future__ import annotations

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ops.arithmetic import Add, Mul
from nbcnn.ops.dense import Dense
from nbcnn.ops.einsum import Einsum
from nbcnn.ops.matmul import Gemm, MatMul
from nbcnn.ops.repeat import Expand
from nbcnn.ops.reshape import Reshape
from nbcnn.ops.transpose import Transpose


def read_gemm(call: ReadCall) -> None:
    call.ignore("broadcast")
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    turn_a, turn_b = call.flag("transA", False), call.flag("transB", False)
    if not _is_weight(call):
        c = call.operand(2) if call.has(2) else call.constant(np.zeros((), call.type(0).dtype), "none")
        return call.last(Gemm(alpha, beta, turn_a, turn_b), call.x, call.operand(1), c)
    x = call.part(Transpose((1, 0)), call.x) if turn_a else call.x
    weight = call.operand(1) if turn_b else call.part(Transpose((1, 0)), call.operand(1))
    weight = _times(call, alpha, weight)
    channels = int(call.type_of(weight).shape[0])
    if not call.has(2):
        return call.last(Dense(channels, False), x, weight)
    other, shape = _times(call, beta, call.operand(2)), call.shape(2)
    if call.is_constant(2) and len(shape) <= 2 and (len(shape) < 2 or shape[0] == 1):
        if shape != (channels,):
            flat = other if len(shape) < 2 else call.part(Reshape((int(shape[1]),)), other)
            other = call.part(Expand((channels,)), flat)
        return call.last(Dense(channels), x, weight, other)
    call.last(Add(), call.part(Dense(channels, False), x, weight), other)
    return None


def read_matmul(call: ReadCall) -> None:
    if not _is_weight(call):
        return call.last(MatMul(), *call.inputs)
    weight = call.part(Transpose((1, 0)), call.operand(1))
    call.last(Dense(int(call.type_of(weight).shape[0]), False), call.x, weight)
    return None


def read_einsum(call: ReadCall) -> None:
    call.last(Einsum(call.text("equation")), *call.inputs)


def write_einsum(call: WriteCall) -> str:
    return call.last("Einsum", *call.inputs, equation=call.op.equation)


def _is_weight(call: ReadCall) -> bool:
    """Whether operand 1 can be the weight of a `Dense`: a constant matrix of floats, beside rows."""
    floats = "float" in call.type(1).dtype
    return call.is_constant(1) and floats and call.rank(1) == 2 == call.rank(0) and min(call.shape(1)) > 0  # type: ignore[type-var]


def _times(call: ReadCall, factor: float, value: str) -> str:
    if factor == 1:
        return value
    return call.part(Mul(), value, call.constant(np.array(factor, call.type_of(value).dtype), "factor"))


def write_dense(call: WriteCall) -> str:
    return call.last("Gemm", *call.inputs, transB=1)


def write_gemm(call: WriteCall) -> str:
    op = call.op
    turns = {"transA": int(op.transpose_a), "transB": int(op.transpose_b)}
    return call.last("Gemm", *call.inputs, alpha=op.alpha, beta=op.beta, **turns)


def write_matmul(call: WriteCall) -> str:
    return call.last("MatMul", *call.inputs)


IMPORT = {"Gemm": read_gemm, "MatMul": read_matmul, "Einsum": read_einsum}
EXPORT = {"dense": write_dense, "gemm": write_gemm, "matmul": write_matmul, "einsum": write_einsum}
