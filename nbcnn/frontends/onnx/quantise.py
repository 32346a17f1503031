"""Quantised operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.window import per_axis, read_padding, spatial_axes
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ir.types import TensorType
from nbcnn.ops.quantise import QUANTISED, DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from nbcnn.ops.quantised_conv import ConvInteger, QLinearConv
from nbcnn.ops.quantised_product import BYTES, MatMulInteger, QLinearMatMul

NUMBERS = {
    **{"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "float16": 10, "float64": 11},
    **{"float8_e4m3fn": 17, "float8_e5m2": 19, "uint4": 21, "int4": 22, "float4_e2m1fn": 23},
    **{"uint2": 25, "int2": 26},
}
"""ONNX's numbers for dtypes."""


def _zero_point(call: ReadCall, slot: int, dtype: str, shape: Any = ()) -> str:
    """Operand ``slot``, or zeros where it is omitted."""
    if call.has(slot):
        return call.operand(slot)
    return call.constant(np.broadcast_to(np.zeros((), dtype), shape), "zero_point")


def read_quantize_linear(call: ReadCall) -> None:
    call.refuse_unless(call.flag("saturate", True), "infinities for what float8 does not hold")
    wanted, dtypes = call.integer("output_dtype", 0), {NUMBERS[d]: d for d in QUANTISED}
    call.refuse_unless(wanted == 0 or wanted in dtypes, f"output_dtype {wanted}")
    dtype = dtypes.get(wanted, "uint8")
    precision = call.integer("precision", 0)
    call.refuse_unless(precision in (0, NUMBERS.get(call.type(1).dtype)), f"precision {precision}")
    zero_point = _zero_point(call, 2, dtype, call.shape(1))
    call.refuse_unless(wanted == 0 or call.type_of(zero_point).dtype == dtype, "two output dtypes")
    call.last(
        QuantizeLinear(call.integer("axis", 1), call.integer("block_size", 0)),
        call.x,
        call.operand(1),
        zero_point,
    )


def read_dequantize_linear(call: ReadCall) -> None:
    wanted = call.integer("output_dtype", 0)
    call.refuse_unless(wanted in (0, NUMBERS.get(call.type(1).dtype)), f"output_dtype {wanted}")
    zero_point = _zero_point(call, 2, call.type(0).dtype, call.shape(1))
    call.last(
        DequantizeLinear(call.integer("axis", 1), call.integer("block_size", 0)),
        call.x,
        call.operand(1),
        zero_point,
    )


def read_dynamic_quantize_linear(call: ReadCall) -> None:
    call.last(DynamicQuantizeLinear(), call.x)


def read_matmul_integer(call: ReadCall) -> None:
    zero_points = (_zero_point(call, slot + 2, call.type(slot).dtype) for slot in (0, 1))
    call.last(MatMulInteger(), *call.inputs[:2], *zero_points)


def read_qlinear_matmul(call: ReadCall) -> None:
    call.last(QLinearMatMul(), *call.inputs)


def _window(call: ReadCall, weight: int) -> dict[str, Any]:
    axes = spatial_axes(call)
    kernel = call.shape(weight)[2:]
    call.refuse_unless(call.integers("kernel_shape", kernel) == kernel, f"the weight is {call.type(weight)}")
    return {
        "stride": per_axis(call, "strides", axes),
        "dilation": per_axis(call, "dilations", axes),
        "padding": read_padding(call, axes),
        "groups": call.integer("group", 1),
    }


def read_conv_integer(call: ReadCall) -> None:
    zero_points = (_zero_point(call, slot + 2, call.type(slot).dtype) for slot in (0, 1))
    call.last(ConvInteger(**_window(call, 1)), *call.inputs[:2], *zero_points)


def read_qlinear_conv(call: ReadCall) -> None:
    bias = _zero_point(call, 8, "int32", call.shape(3)[:1])
    call.last(QLinearConv(**_window(call, 3)), *call.inputs[:8], bias)


def write_quantize_linear(call: WriteCall) -> str:
    """What opset 17 does not have (16 bits, blocks, other floats) as the quotients that define it."""
    op, (x, scale, zero_point) = call.op, call.types
    known = scale.dtype == "float32" and x.dtype in ("float32", "int32") and zero_point.dtype in BYTES
    if known and not op.block_size:
        return call.last("QuantizeLinear", *call.inputs, axis=op.axis)
    value = call.x if x.dtype == scale.dtype else call.part("Cast", call.x, to=NUMBERS[scale.dtype])
    value = call.part("Round", call.part("Div", value, _beside(call, 1)))
    value = call.part("Add", value, call.part("Cast", _beside(call, 2), to=NUMBERS[scale.dtype]))
    limits = np.iinfo(zero_point.dtype)
    ends = [call.constant(n, np.array(v, scale.dtype)) for n, v in (("min", limits.min), ("max", limits.max))]
    return call.last("Cast", call.part("Clip", value, *ends), to=NUMBERS[zero_point.dtype])


def write_dequantize_linear(call: WriteCall) -> str:
    op, (x, scale, _) = call.op, call.types
    if not op.block_size and scale.dtype == "float32" and x.dtype in ("uint8", "int8", "int32"):
        return call.last("DequantizeLinear", *call.inputs, axis=op.axis)
    parts = (call.part("Cast", value, to=NUMBERS[scale.dtype]) for value in (call.x, _beside(call, 2)))
    return call.last("Mul", call.part("Sub", *parts), _beside(call, 1))


def _beside(call: WriteCall, slot: int) -> str:
    """A scale or zero point in a shape that broadcasts with the operand."""
    op, x, value = call.op, call.types[0], call.inputs[slot]
    if call.types[slot].shape in ((), (1,)) and not op.block_size:
        return value
    axis = op.axis % x.rank
    if op.block_size:
        blocks = np.arange(int(x.shape[axis])) // op.block_size
        return call.part("Gather", value, call.constant(f"blocks{slot}", blocks), axis=axis)
    shape = np.array((-1,) + (1,) * (x.rank - axis - 1))
    return call.part("Reshape", value, call.constant(f"shape{slot}", shape))


def write_dynamic_quantize_linear(call: WriteCall) -> str:
    return call.last("DynamicQuantizeLinear", call.x)


def write_matmul_integer(call: WriteCall) -> str:
    return call.last("MatMulInteger", *call.inputs)


def write_qlinear_matmul(call: WriteCall) -> str:
    return call.last("QLinearMatMul", *call.inputs)


def write_quantised_conv(call: WriteCall) -> str:
    op = call.op
    slot = op.operands.index("w")
    conv = op.conv(call.types[0], call.types[slot])
    return call.last(
        "ConvInteger" if isinstance(op, ConvInteger) else "QLinearConv",
        *call.inputs,
        kernel_shape=conv.kernel,
        strides=conv.stride,
        pads=conv.pads(TensorType(call.types[0].shape)),
        dilations=conv.dilation,
        group=conv.groups,
    )


IMPORT = {
    "QuantizeLinear": read_quantize_linear,
    "DequantizeLinear": read_dequantize_linear,
    "DynamicQuantizeLinear": read_dynamic_quantize_linear,
    "MatMulInteger": read_matmul_integer,
    "QLinearMatMul": read_qlinear_matmul,
    "ConvInteger": read_conv_integer,
    "QLinearConv": read_qlinear_conv,
}
EXPORT = {
    "quantize_linear": write_quantize_linear,
    "dequantize_linear": write_dequantize_linear,
    "dynamic_quantize_linear": write_dynamic_quantize_linear,
    "matmul_integer": write_matmul_integer,
    "qlinear_matmul": write_qlinear_matmul,
    "conv_integer": write_quantised_conv,
    "qlinear_conv": write_quantised_conv,
}
