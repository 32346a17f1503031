"""Constants, and operators that change nothing at inference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall


def read_identity(call: ReadCall) -> None:
    call.result(call.x)


def read_dropout(call: ReadCall) -> None:
    """Nothing at inference; the mask keeps everything."""
    call.ignore("ratio", "seed", "is_test", "consumed_inputs")
    if call.has(2):
        call.refuse_unless(not call.scalar(2), "training")
    call.result(call.x)
    if any(call.outputs[1:]):
        shape = call.shape(0)
        if any(isinstance(d, str) for d in shape):
            call.fail("a mask for an open batch")
        kind = "bool" if call.opset >= 10 else call.type(0).dtype
        call.result(call.constant(np.broadcast_to(np.ones((), kind), shape), "mask"), 1)  # type: ignore[arg-type]


def read_constant(call: ReadCall) -> None:
    """The one attribute that is there, under its name in any opset."""
    if "value" in call.attributes:
        value = call.tensor("value")
    elif "value_float" in call.attributes:
        value = np.array(call.number("value_float"), np.float32)
    elif "value_floats" in call.attributes:
        value = np.array(call.numbers("value_floats"), np.float32)
    elif "value_int" in call.attributes:
        value = np.array(call.integer("value_int"), np.int64)
    elif "value_ints" in call.attributes:
        value = np.array(call.integers("value_ints"), np.int64)
    else:
        call.fail("a constant that is no tensor and no numbers")
    call.result(call.constant(value, "value"))


def read_constant_of_shape(call: ReadCall) -> None:
    value = call.tensor("value", np.zeros(1, np.float32))
    call.refuse_unless(value.size == 1, "a value of several elements")
    shape = call.ints(0)
    call.refuse_unless(min(shape, default=0) >= 0, f"negative extents {list(shape)}")
    call.result(call.constant(np.broadcast_to(value.reshape(()), shape), "value"))


def read_if(call: ReadCall) -> None:
    """The branch that is taken, where that is known."""
    call.ignore("then_branch", "else_branch")
    values = call.graph("then_branch" if call.scalar(0) else "else_branch")
    call.refuse_unless(len(values) == len(call.outputs), "the branches do not have the results of the node")
    for index, value in enumerate(values):
        call.result(value, index)


IMPORT = {
    "If": read_if,
    "Identity": read_identity,
    "Dropout": read_dropout,
    "Constant": read_constant,
    "ConstantOfShape": read_constant_of_shape,
}


def write_dropout(call: WriteCall) -> str:
    return call.x


EXPORT: dict[str, Callable[[WriteCall], str]] = {"dropout": write_dropout}
