"""Writing LLVM IR: instructions of a table as inline assembly, and the `Emitter` that macros compute with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from nbcnn.runtime.cuda.ptx import Op, Table, codes

I16, I32, I64 = (ir.IntType(n) for n in (16, 32, 64))
F32 = ir.FloatType()
MAP_BYTES = ir.ArrayType(I64, 16)

TYPES: dict[str, tuple[Any, str]] = {  # code: (LLVM type, asm constraint)
    "u16": (I16, "h"),
    "u32": (I32, "r"),
    "i32": (I32, "r"),
    "u64": (I64, "l"),
    "f32": (F32, "f"),
    "map": (MAP_BYTES.as_pointer(), "l"),
}


class Emitter:
    """Writes LLVM IR: what a macro computes with. Values are IR values; Python numbers are constants.

    Integers are unsigned 32 or 64 bits wide and wrap; comparisons give predicates, for `select`,
    `both` and `flag`. Floating point is rounded to nearest; the compiler may fuse a product into the sum
    that takes it.
    """

    def __init__(self, table: Table, builder: ir.IRBuilder) -> None:
        self._table, self._b = table, builder

    def op(self, name: str, *args: Any, imms: tuple = ()) -> Any:
        """Operation ``name`` of the table: one value, a list of several, or None."""
        entry = self._table[name]
        spec = entry if isinstance(entry, Op) else entry(*imms)
        ins = codes(spec.ins)
        values = [self.value(a, TYPES[code][0]) for a, code in zip(args, ins, strict=True)]
        out = emit(spec, self._b, values)
        return out[0] if len(out) == 1 else (out or None)

    def value(self, x: Any, type_: ir.Type) -> Any:
        """A Python number as a constant of the type; an IR value as it is."""
        return ir.Constant(type_, x) if isinstance(x, (int, float)) else x

    def _pair(self, x: Any, y: Any) -> tuple[Any, Any]:
        type_ = y.type if isinstance(x, (int, float)) else x.type
        return self.value(x, type_), self.value(y, type_)

    def u32(self, x: int) -> Any:
        return ir.Constant(I32, x)

    def f32(self, x: float) -> Any:
        return ir.Constant(F32, x)

    def add(self, x: Any, y: Any) -> Any:
        return self._b.add(*self._pair(x, y))

    def sub(self, x: Any, y: Any) -> Any:
        return self._b.sub(*self._pair(x, y))

    def mul(self, x: Any, y: Any) -> Any:
        return self._b.mul(*self._pair(x, y))

    def and_(self, x: Any, y: Any) -> Any:
        return self._b.and_(*self._pair(x, y))

    def or_(self, x: Any, y: Any) -> Any:
        return self._b.or_(*self._pair(x, y))

    def xor(self, x: Any, y: Any) -> Any:
        return self._b.xor(*self._pair(x, y))

    def shl(self, x: Any, y: Any) -> Any:
        return self._b.shl(*self._pair(x, y))

    def shr(self, x: Any, y: Any) -> Any:
        return self._b.lshr(*self._pair(x, y))

    def less(self, x: Any, y: Any) -> Any:
        """Unsigned ``x < y``."""
        return self._b.icmp_unsigned("<", *self._pair(x, y))

    def both(self, p: Any, q: Any) -> Any:
        return self._b.and_(p, q)

    def flag(self, p: Any) -> Any:
        """A predicate as u32, 0 or 1."""
        return self._b.zext(p, I32)

    def select(self, p: Any, x: Any, y: Any) -> Any:
        return self._b.select(p, *self._pair(x, y))

    def when(self, p: Any, body: Callable[[], None]) -> None:
        """``body()`` behind a branch; all lanes must agree on ``p``, and values made inside stay inside."""
        with self._b.if_then(p):
            body()

    def wide(self, x: Any) -> Any:
        """u32 to u64."""
        return self._b.zext(x, I64)

    def signed(self, x: Any) -> Any:
        """A 32-bit value in two's complement to u64."""
        return self._b.sext(x, I64)

    def bits(self, x: Any) -> Any:
        """A float32's bits as u32."""
        return self._b.bitcast(x, I32)

    def as_float(self, x: Any) -> Any:
        """u32 bits as the float32."""
        return self._b.bitcast(x, F32)

    def from_int(self, x: Any) -> Any:
        """The float32 nearest to a signed 32-bit integer."""
        return self._b.sitofp(x, F32)

    def fadd(self, x: Any, y: Any) -> Any:
        return self._b.fadd(*self._pair(x, y))

    def fsub(self, x: Any, y: Any) -> Any:
        return self._b.fsub(*self._pair(x, y))

    def fmul(self, x: Any, y: Any) -> Any:
        return self._b.fmul(*self._pair(x, y))

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        return self._b.fma(*(self.value(v, F32) for v in (x, y, z)))


def emit(spec: Op, builder: ir.IRBuilder, values: Sequence[Any]) -> list[Any]:
    """Call ``spec`` on IR values; its results."""
    outs, ins = codes(spec.outs), codes(spec.ins)
    memory = ["~{memory}"] if spec.memory and not spec.pure else []
    constraints = ["=" + TYPES[c][1] for c in outs] + [TYPES[c][1] for c in ins] + memory
    returned: Any = ir.VoidType()
    if outs:
        members = [TYPES[c][0] for c in outs]
        returned = members[0] if len(members) == 1 else ir.LiteralStructType(members)
    function = ir.FunctionType(returned, [TYPES[c][0] for c in ins])
    asm = ir.InlineAsm(function, spec.text, ",".join(constraints), side_effect=not spec.pure)
    result = builder.call(asm, values)
    if len(outs) < 2:
        return [result] if outs else []
    return [builder.extract_value(result, i) for i in range(len(outs))]
