"""The parallel walker of step tables: the one function that uses Numba's threads and its cache.

Self-contained on purpose. Numba's index is stamped with this file's text, so everything that the
function is made of stands here; and object code that refers to Numba's scheduler can be loaded
only by Numba itself. Imported when a program first runs with more than one thread.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic


@intrinsic
def _load(typing, address, index):
    def generate(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load(builder.gep(pointer, [args[1]]))

    return types.int64(types.intp, types.intp), generate


@intrinsic
def _call(typing, kernel, args, part, parts):
    def generate(context, builder, signature, values):
        word = context.get_value_type(types.intp)
        function = ir.FunctionType(ir.VoidType(), [word] * 3)
        builder.call(builder.inttoptr(values[0], function.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), generate


@njit("void(intp, intp, intp)", cache=True, nogil=True, parallel=True, error_model="numpy")
def walk(table, steps, parts):
    for step in range(steps):
        kernel = _load(table, 2 * step)
        args = _load(table, 2 * step + 1)
        for part in prange(parts):
            _call(kernel, args, part, parts)
