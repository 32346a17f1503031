"""Matrix products."""

from __future__ import annotations

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ops.dense import Dense
from nbcnn.ops.transpose import Transpose


def read_gemm(call: ReadCall) -> None:
    plain = (
        call.number("alpha", 1.0) == 1 and call.number("beta", 1.0) == 1 and not call.flag("transA", False)
    )
    call.refuse_unless(plain, "alpha, beta or transA")
    weight = call.operand(1)
    if not call.flag("transB", False):
        weight = call.part(Transpose((1, 0)), weight)
    call.last(Dense(call.type_of(weight).shape[0], call.has(2)), call.x, weight, *call.given[2:])  # type: ignore[arg-type]


def write_dense(call: WriteCall) -> str:
    return call.last("Gemm", *call.inputs, transB=1)


IMPORT = {"Gemm": read_gemm}
EXPORT = {"dense": write_dense}
