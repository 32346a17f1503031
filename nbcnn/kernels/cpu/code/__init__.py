"""Numba code of the CPU kernels: the only folder under ``nbcnn/kernels/cpu`` that imports numba.

Each module holds one family of kernels and a factory ``make(**ints)`` that returns a plain
function ``(args, part, parts) -> None``; ``nbcnn.runtime.jit`` compiles it.  ``simd`` is the
vocabulary the kernels are written in, ``emit`` the same vocabulary one level down.
"""
