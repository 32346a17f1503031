"""A PTX instruction as data: what a device function is to a back end, which may compile it or emulate it.

A kernel is written once, as ``make(bind, config)``: ``bind`` turns a table of instructions into a
namespace whose members the kernel calls. `nbcnn.runtime.cuda.jit` binds to Numba intrinsics; the
tests' emulator binds to Python functions on the 32 lanes of a warp. Neither the tables nor the
kernels import Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

TYPES = ("u16", "u32", "i32", "u64", "f32", "map")
"""Type codes; ``map`` is a tensor map (128 bytes, passed by value), only ever a kernel's parameter."""


@dataclass(frozen=True)
class Op:
    """Inline PTX: ``$0, $1, ...`` stand for the results, then for the operands.

    ``outs`` and ``ins`` hold type codes separated by blanks; ``f32*4`` repeats. A ``pure`` operation
    may be moved, merged and dropped; others keep their order, and unless ``memory`` is False no access
    to memory moves across them. ``arch`` is the least compute capability in tens (80, 90).
    """

    text: str
    outs: str = ""
    ins: str = ""
    pure: bool = False
    memory: bool = True
    arch: int = 80


Family = Callable[..., Op]
"""Instructions that differ in immediates: ``family(3)`` is one of them."""

Table = dict[str, Op | Family]


@cache
def codes(text: str) -> tuple[str, ...]:
    """``"u64 f32*2"`` as ``("u64", "f32", "f32")``."""
    found: list[str] = []
    for word in text.split():
        code, _, times = word.partition("*")
        if code not in TYPES:
            raise ValueError(f"no type code {code!r} in {text!r}: one of {', '.join(TYPES)}")
        found += [code] * int(times or 1)
    return tuple(found)


@cache
def groups(text: str) -> tuple[tuple[str, int], ...]:
    """``"u64 f32*2"`` as ``(("u64", 1), ("f32", 2))``: a repeated code is one tuple operand of a macro."""
    return tuple((code, int(times or 0)) for code, _, times in (word.partition("*") for word in text.split()))
