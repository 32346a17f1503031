"""Normalisation."""

from __future__ import annotations

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ops.batch_norm import BatchNorm


def read_batch_norm(call: ReadCall) -> None:
    call.ignore("momentum", "consumed_inputs", "is_test")  # what only training reads
    call.refuse_unless(call.integer("spatial", 1) == 1, "statistics for every element (spatial 0)")
    call.refuse_unless(call.integer("training_mode", 0) == 0, "training")
    call.refuse_unless(not any(call.outputs[1:]), "the statistics of training")
    call.last(BatchNorm(call.number("epsilon", 1e-5)), *call.inputs)


def write_batch_norm(call: WriteCall) -> str:
    return call.last("BatchNormalization", *call.inputs, epsilon=call.op.epsilon)


IMPORT = {"BatchNormalization": read_batch_norm}
EXPORT = {"batch_norm": write_batch_norm}
