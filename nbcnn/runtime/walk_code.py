"""The serial walker of step tables, as a kernel: compiled and cached like any other."""

from __future__ import annotations

from llvmlite import ir
from numba import types

from nbcnn.runtime import jit


@jit.intrinsic
def load(typing, address, index):
    """The ``index``-th int64 at ``address``."""

    def generate(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load(builder.gep(pointer, [args[1]]))

    return types.int64(types.intp, types.intp), generate


@jit.intrinsic
def store(typing, address, index, value):
    """Write the ``index``-th int64 at ``address``."""

    def generate(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        builder.store(args[2], builder.gep(pointer, [args[1]]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.int64), generate


@jit.intrinsic
def call(typing, kernel, args, part, parts):
    """Call the kernel at address ``kernel``."""

    def generate(context, builder, signature, values):
        word = context.get_value_type(types.intp)
        function = ir.FunctionType(ir.VoidType(), [word] * 3)
        builder.call(builder.inttoptr(values[0], function.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), generate


def make_walk():
    """Walker ``(table, steps, parts)``: every part of a step, then the next step."""

    def walk(table, steps, parts):
        for step in range(steps):
            kernel = load(table, 2 * step)
            args = load(table, 2 * step + 1)
            for part in range(parts):
                call(kernel, args, part, parts)

    return walk
