"""Functions of the elements of several operands, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import write_as
from nbcnn.ir.op import Op
from nbcnn.ops.arithmetic import Add, Mul
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


IMPORT = {"Add": read_binary(Add), "Mul": read_binary(Mul), "Sum": read_chain(Add)}
EXPORT = {"add": write_as("Add"), "mul": write_as("Mul")}
