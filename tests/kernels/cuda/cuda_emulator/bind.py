"""The emulator's side of ``make(bind, config)``: instructions and macros on arrays of 32 lanes.

What all lanes share (block numbers, loop counters) is a Python int, on which a kernel may branch; to
branch on an array is an error, as in a warp that must not diverge.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from nbcnn.runtime.cuda.maps import Im2col, Tiled
from nbcnn.runtime.cuda.ptx import Op, Table, codes, groups

from . import tensor_maps
from .instructions import INSTRUCTIONS
from .machine import SHARED_BASE

_DTYPES = {"u16": np.uint16, "u32": np.uint32, "i32": np.int32, "u64": np.uint64, "f32": np.float32}


def lanes(code: str, x: Any) -> np.ndarray:
    """``x`` as 32 values of a type; integers wrap."""
    dtype = _DTYPES[code]
    if isinstance(x, np.ndarray):
        assert code == "f32" or x.dtype.kind in "iub", f"{x.dtype} where {code} is wanted"
        return x if x.dtype == dtype else x.astype(dtype)
    if code != "f32":
        x = int(x) & ((1 << 8 * np.dtype(dtype).itemsize) - 1)
        if code == "i32" and x >> 31:
            x -= 1 << 32
    return np.full(32, x, dtype)


def _converter(code: str):
    bits = 8 * np.dtype(_DTYPES[code]).itemsize

    def convert(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return lanes(code, x)
        x = int(x) & ((1 << bits) - 1)
        return x - (1 << bits) if code == "i32" and x >> 31 else x

    return convert


def _call(name: str, spec: Op, imms: tuple, args: tuple) -> Any:
    ins = codes(spec.ins)
    assert len(args) == len(ins), f"{name} takes {len(ins)} operands, not {len(args)}"
    uniform = spec.pure and args and not any(isinstance(a, np.ndarray) for a in args)
    out = INSTRUCTIONS[name](*imms, *(lanes(c, a) for c, a in zip(ins, args, strict=True)))
    count = len(codes(spec.outs))
    if count < 2:
        return int(out[0]) if uniform and out is not None else out
    return tuple(lanes(c, v) for c, v in zip(codes(spec.outs), out, strict=True))


def bind(table: Table) -> Any:
    """What `nbcnn.runtime.cuda.jit.bind` gives, on arrays."""
    space = SimpleNamespace(**{code: _converter(code) for code in ("u16", "u32", "i32", "u64")})
    for name, entry in table.items():
        setattr(space, name, _operation(name, entry))
    space.macro = lambda outs="", ins="": lambda function: _macro(table, function, outs, ins)
    space.device = lambda function: function
    space.shared_base = lambda: SHARED_BASE
    space.map_address = _map_address
    return space


def _operation(name: str, entry: Any) -> Any:
    if isinstance(entry, Op):
        return lambda *args: _call(name, entry, (), args)
    return lambda *imms: lambda *args: _call(name, entry(*imms), imms, args)


def _map_address(map_: Tiled | Im2col) -> int:
    return tensor_maps.handle(map_)


def _macro(table: Table, function: Any, outs: str, ins: str) -> Any:
    operands = groups(ins)
    results = codes(outs)

    def run(*args: Any) -> Any:
        values = []
        for arg, (code, times) in zip(args, operands, strict=True):
            if times:
                assert len(arg) == times, f"{function.__name__} wants {times} of {code}, not {len(arg)}"
                values.append([lanes(code, v) for v in arg])
            else:
                values.append(lanes(code, arg))
        out = function(Emitter(table), *values)
        out = [] if out is None else list(out) if isinstance(out, (list, tuple)) else [out]
        made = tuple(lanes(c, v) for c, v in zip(results, out, strict=True))
        return made[0] if len(made) == 1 else made

    return run


class Emitter:
    """Computes at once what the compiler's emitter writes as code: same names, same meaning."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def op(self, name: str, *args: Any, imms: tuple = ()) -> Any:
        entry = self._table[name]
        spec = entry if isinstance(entry, Op) else entry(*imms)
        out = _call(name, spec, imms, tuple(lanes(c, a) for c, a in zip(codes(spec.ins), args, strict=True)))
        return list(out) if isinstance(out, tuple) else out

    def _pair(self, x: Any, y: Any) -> tuple[Any, Any]:
        like = y if isinstance(x, (int, float)) else x
        x, y = (np.full(32, v, like.dtype) if isinstance(v, (int, float)) else v for v in (x, y))
        assert x.dtype == y.dtype, f"{x.dtype} and {y.dtype}"
        return x, y

    def u32(self, x: int) -> Any:
        return lanes("u32", x)

    def f32(self, x: float) -> Any:
        return lanes("f32", x)

    def add(self, x: Any, y: Any) -> Any:
        return np.add(*self._pair(x, y))

    def sub(self, x: Any, y: Any) -> Any:
        return np.subtract(*self._pair(x, y))

    def mul(self, x: Any, y: Any) -> Any:
        return np.multiply(*self._pair(x, y))

    def and_(self, x: Any, y: Any) -> Any:
        return np.bitwise_and(*self._pair(x, y))

    def or_(self, x: Any, y: Any) -> Any:
        return np.bitwise_or(*self._pair(x, y))

    def xor(self, x: Any, y: Any) -> Any:
        return np.bitwise_xor(*self._pair(x, y))

    def shl(self, x: Any, y: Any) -> Any:
        x, y = self._pair(x, y)
        return np.where(y < 8 * x.itemsize, np.left_shift(x, y % (8 * x.itemsize)), 0).astype(x.dtype)

    def shr(self, x: Any, y: Any) -> Any:
        return np.right_shift(*self._pair(x, y))

    def less(self, x: Any, y: Any) -> Any:
        x, y = self._pair(x, y)
        return x < y

    def both(self, p: Any, q: Any) -> Any:
        return p & q

    def flag(self, p: Any) -> Any:
        return p.astype(np.uint32)

    def select(self, p: Any, x: Any, y: Any) -> Any:
        return np.where(p, *self._pair(x, y))

    def when(self, p: Any, body: Callable[[], None]) -> None:
        assert p.all() or not p.any(), "the lanes of a warp disagree on a branch"
        if p.all():
            body()

    def wide(self, x: Any) -> Any:
        return x.astype(np.uint64)

    def signed(self, x: Any) -> Any:
        return x.view(np.int32).astype(np.int64).view(np.uint64)

    def bits(self, x: Any) -> Any:
        return x.view(np.uint32)

    def as_float(self, x: Any) -> Any:
        return x.view(np.float32)

    def from_int(self, x: Any) -> Any:
        return x.view(np.int32).astype(np.float32)

    def fadd(self, x: Any, y: Any) -> Any:
        return np.add(*self._pair(x, y))

    def fsub(self, x: Any, y: Any) -> Any:
        return np.subtract(*self._pair(x, y))

    def fmul(self, x: Any, y: Any) -> Any:
        return np.multiply(*self._pair(x, y))

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        x, y, z = (lanes("f32", v).astype(np.float64) for v in (x, y, z))
        return (x * y + z).astype(np.float32)
