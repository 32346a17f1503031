"""Functions of the elements of one operand or several, with broadcasting, and casts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nbcnn.errors import GraphError
from nbcnn.frontends.onnx.proto import package
from nbcnn.frontends.onnx.read import ReadCall, read_as
from nbcnn.frontends.onnx.write import OPSET, WriteCall, write_as
from nbcnn.ir.op import Op
from nbcnn.ops import check
from nbcnn.ops.arithmetic import Add, Div, Maximum, Minimum, Mod, Mul, Pow, Prelu, Sub
from nbcnn.ops.bitwise import BitShift, BitwiseAnd, BitwiseNot, BitwiseOr, BitwiseXor
from nbcnn.ops.cast import Cast
from nbcnn.ops.comparison import (
    Equal,
    Greater,
    GreaterEqual,
    IsInf,
    IsNan,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    LogicalXor,
    Where,
)
from nbcnn.ops.elementary import (
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Erf,
    Exp,
    Floor,
    Log,
    Neg,
    Reciprocal,
    Round,
    Sign,
    Sin,
    Sinh,
    Sqrt,
    Tan,
)
from nbcnn.ops.reshape import Reshape


def read_binary(make: Callable[[], Op]) -> Callable[[ReadCall], None]:
    """The row of an operator of two operands."""

    def read(call: ReadCall) -> None:
        call.ignore("consumed_inputs")
        call.last(make(), call.x, aligned(call))

    return read


def aligned(call: ReadCall) -> str:
    """Operand 1 so that NumPy's broadcasting places it.

    Before opset 7 it lies along the axes of operand 0 from attribute ``axis`` on (the last ones when it is
    not given), if ``broadcast`` is set.
    """
    if call.opset >= 7 or not call.flag("broadcast", False):
        return call.operand(1)
    rank, given = call.rank(0), call.rank(1)
    axis = call.integer("axis", rank - given)
    after = rank - (axis + rank if axis < 0 else axis) - given
    call.refuse_unless(0 <= after <= rank - given, f"axis {axis} of {call.type(1)} within {call.type(0)}")
    if not after:
        return call.operand(1)
    return call.part(Reshape((*call.shape(1), *(1,) * after)), call.operand(1))  # type: ignore[arg-type]


def read_chain(make: Callable[[], Op]) -> Callable[[ReadCall], None]:
    """The row of an operator of any number of operands: ``make()`` is that of two."""

    def read(call: ReadCall) -> None:
        call.ignore("consumed_inputs")
        value, *rest = call.given
        if not rest:
            return call.result(value)
        for operand in rest[:-1]:
            value = call.part(make(), value, operand)
        call.last(make(), value, rest[-1])
        return None

    return read


def read_mean(call: ReadCall) -> None:
    value, *rest = call.given
    for operand in rest:
        value = call.part(Add(), value, operand)
    call.last(Div(), value, call.constant(np.array(len(rest) + 1, call.type(0).dtype)))


def read_prelu(call: ReadCall) -> None:
    """Before opset 7 a slope of one axis has a number for each channel."""
    call.ignore("consumed_inputs")
    slope = call.operand(1)
    if call.opset < 7 and call.rank(1) == 1 and call.shape(1) != (1,):
        column = (call.shape(1)[0], *(1,) * (call.rank(0) - 2))
        slope = call.part(Reshape(column), slope)  # type: ignore[arg-type]
    call.last(Prelu(), call.x, slope)


def read_mod(call: ReadCall) -> None:
    call.last(Mod(call.flag("fmod", False)), call.x, call.operand(1))


def write_mod(call: WriteCall) -> str:
    """Of floats with the sign of the divisor, which opset 17 lacks: a - b * floor(a / b)."""
    if call.op.fmod or check.kind(call.types[0]) != "f":
        return call.last("Mod", *call.inputs, fmod=int(call.op.fmod))
    a, b = call.inputs
    rest = call.part("Mod", a, b, fmod=1)
    zero = call.number("zero", 0)
    differs = call.part("Less", call.part("Mul", rest, b), zero)
    return call.last("Where", differs, call.part("Add", rest, b), rest)


def read_bit_shift(call: ReadCall) -> None:
    direction = call.text("direction").lower()
    call.refuse_unless(direction in ("left", "right"), f"direction {direction}")
    call.last(BitShift(direction), call.x, call.operand(1))


def write_bit_shift(call: WriteCall) -> str:
    if check.kind(call.types[0]) == "i":
        return missing("BitShift of integers with a sign", 28)(call)
    return call.last("BitShift", *call.inputs, direction=call.op.direction.upper())


def read_is_inf(call: ReadCall) -> None:
    call.last(IsInf(call.flag("detect_negative", True), call.flag("detect_positive", True)), call.x)


def write_is_inf(call: WriteCall) -> str:
    op = call.op
    return call.last("IsInf", call.x, detect_negative=int(op.negative), detect_positive=int(op.positive))


def read_cast(call: ReadCall) -> None:
    call.ignore("saturate", "round_mode")  # of 8-bit floats
    call.last(Cast(_dtype(call)), call.x)


def read_cast_like(call: ReadCall) -> None:
    call.ignore("saturate", "round_mode")
    call.last(Cast(call.type(1).dtype), call.x)


def _dtype(call: ReadCall) -> str:
    """The dtype that attribute ``to`` stands for, by its number or (before opset 6) its name."""
    onnx = package()
    to = onnx.TensorProto.DataType.Value(call.text("to").upper()) if call.opset < 6 else call.integer("to")
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(to).name
    except KeyError:
        call.fail(f"a cast to type {to}")


def write_cast(call: WriteCall) -> str:
    return call.last("Cast", call.x, to=package().helper.np_dtype_to_tensor_dtype(np.dtype(call.op.to)))


def missing(what: str, since: int) -> Callable[[WriteCall], str]:
    """The row of an operator that came after the opset which is written, and that no others can express."""

    def write(call: WriteCall) -> str:
        raise GraphError(f"ONNX has {what} from opset {since} on, not in opset {OPSET}", node=call.output)

    return write


BINARY: dict[str, type[Op]] = {
    "Add": Add,
    "Sub": Sub,
    "Mul": Mul,
    "Div": Div,
    "Pow": Pow,
    "Less": Less,
    "LessOrEqual": LessEqual,
    "Greater": Greater,
    "GreaterOrEqual": GreaterEqual,
    "Equal": Equal,
    "And": LogicalAnd,
    "Or": LogicalOr,
    "Xor": LogicalXor,
    "BitwiseAnd": BitwiseAnd,
    "BitwiseOr": BitwiseOr,
    "BitwiseXor": BitwiseXor,
}
UNARY: dict[str, type[Op]] = {
    "Not": LogicalNot,
    "BitwiseNot": BitwiseNot,
    "IsNaN": IsNan,
    "Abs": Abs,
    "Neg": Neg,
    "Sign": Sign,
    "Floor": Floor,
    "Ceil": Ceil,
    "Round": Round,
    "Reciprocal": Reciprocal,
    "Sqrt": Sqrt,
    "Exp": Exp,
    "Log": Log,
    "Erf": Erf,
    "Sin": Sin,
    "Cos": Cos,
    "Tan": Tan,
    "Asin": Asin,
    "Acos": Acos,
    "Atan": Atan,
    "Sinh": Sinh,
    "Cosh": Cosh,
    "Asinh": Asinh,
    "Acosh": Acosh,
    "Atanh": Atanh,
}

IMPORT = {
    **{kind: read_binary(op) for kind, op in BINARY.items()},
    **{kind: read_as(op) for kind, op in UNARY.items()},
    "Sum": read_chain(Add),
    "Max": read_chain(Maximum),
    "Min": read_chain(Minimum),
    "Mean": read_mean,
    "PRelu": read_prelu,
    "Mod": read_mod,
    "BitShift": read_bit_shift,
    "IsInf": read_is_inf,
    "Where": read_as(Where),
    "Cast": read_cast,
    "CastLike": read_cast_like,
}
EXPORT = {
    **{op.name: write_as(kind) for kind, op in (BINARY | UNARY).items()},
    "maximum": write_as("Max"),
    "minimum": write_as("Min"),
    "prelu": write_as("PRelu"),
    **{op.name: missing(kind, 18) for kind, op in (BINARY | UNARY).items() if kind.startswith("Bitwise")},
    "mod": write_mod,
    "bit_shift": write_bit_shift,
    "is_inf": write_is_inf,
    "where": write_as("Where"),
    "cast": write_cast,
    "identity": write_as("Identity"),
}
