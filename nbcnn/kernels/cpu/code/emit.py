"""The SIMD vocabulary at the level of LLVM IR: what ``simd`` wraps and micro-kernels use directly.

:class:`V` is an LLVM vector of float32 together with the builder that emits for it, with Python's
operators, so that a formula such as ``x * x + 1.0`` in a function below *emits* its instructions.
Only generic LLVM operations are used (no target intrinsics): LLVM legalises any number of lanes
for any CPU.  Multiply-add is ``llvm.fmuladd``, never ``llvm.fma``: on a CPU without FMA the latter
becomes a call into libm, some 15 times slower than multiply and add.

Nothing here is fast-math: NaN and infinities follow IEEE 754 unless a docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

F32, I1, I8 = ir.FloatType(), ir.IntType(1), ir.IntType(8)
I32, I64 = ir.IntType(32), ir.IntType(64)

Builder = ir.IRBuilder
Scalar = Any  # an llvmlite value: the library has no useful static types


def i64(value: int) -> ir.Constant:
    """A 64-bit integer constant."""
    return ir.Constant(I64, value)


def call(bd: Builder, name: str, result: ir.Type, args: Sequence[Scalar]) -> Scalar:
    """Call the LLVM intrinsic (or extern function) ``name``, declaring it on first use."""
    module = bd.module
    fn = module.globals.get(name)
    if fn is None:
        fn = ir.Function(module, ir.FunctionType(result, [a.type for a in args]), name)
    return bd.call(fn, args)


def pointer(bd: Builder, addr: Scalar, to: ir.Type) -> Scalar:
    """The integer address ``addr`` as a pointer to ``to``."""
    return bd.inttoptr(addr, to.as_pointer())


def opaque(bd: Builder, x: Scalar) -> Scalar:
    """The integer ``x``, of which the optimiser knows nothing: sums with it stay as they are written."""
    same = ir.InlineAsm(ir.FunctionType(I64, [I64]), "", "=r,0")
    return bd.call(same, [x])


def prefetch(bd: Builder, addr: Scalar, locality: int = 3) -> None:
    """Ask for the cache line at ``addr`` for reading, into the first cache (3) or the second (2).

    Any address is allowed.
    """
    one = ir.Constant(I32, 1)
    args = [pointer(bd, addr, I8), ir.Constant(I32, 0), ir.Constant(I32, locality), one]
    call(bd, "llvm.prefetch.p0", ir.VoidType(), args)


class V:
    """A vector of float32 and its builder.  Operators emit; floats and scalars broadcast."""

    __slots__ = ("bd", "v")

    def __init__(self, bd: Builder, value: Scalar) -> None:
        self.bd, self.v = bd, value

    @property
    def lanes(self) -> int:
        return self.v.type.count

    def like(self, other: V | float) -> V:
        """``other`` as a vector of as many lanes as this one."""
        if isinstance(other, V):
            return other
        return V(self.bd, ir.Constant(self.v.type, [float(other)] * self.lanes))

    def __add__(self, o: V | float) -> V:
        return V(self.bd, self.bd.fadd(self.v, self.like(o).v))

    def __sub__(self, o: V | float) -> V:
        return V(self.bd, self.bd.fsub(self.v, self.like(o).v))

    def __rsub__(self, o: float) -> V:
        return self.like(o) - self

    def __mul__(self, o: V | float) -> V:
        return V(self.bd, self.bd.fmul(self.v, self.like(o).v))

    def __truediv__(self, o: V | float) -> V:
        return V(self.bd, self.bd.fdiv(self.v, self.like(o).v))

    def __rtruediv__(self, o: float) -> V:
        return self.like(o) / self

    def __neg__(self) -> V:
        return V(self.bd, self.bd.fneg(self.v))

    __radd__, __rmul__ = __add__, __mul__

    def compare(self, op: str, o: V | float) -> Scalar:
        """Lane mask (vector of i1) of ``self op o``; false where either is NaN, but for '!='."""
        make = self.bd.fcmp_unordered if op == "!=" else self.bd.fcmp_ordered
        return make(op, self.v, self.like(o).v)

    def __lt__(self, o: V | float) -> Scalar:
        return self.compare("<", o)

    def __gt__(self, o: V | float) -> Scalar:
        return self.compare(">", o)


def vector(lanes: int) -> ir.VectorType:
    """The LLVM type of ``lanes`` float32."""
    return ir.VectorType(F32, lanes)


def splat(bd: Builder, x: Scalar, lanes: int) -> V:
    """The scalar ``x`` (float32 value) in every lane."""
    undef = ir.Constant(vector(lanes), ir.Undefined)
    first = bd.insert_element(undef, x, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    return V(bd, bd.shuffle_vector(first, undef, zeros))


def spread(x: V, at: int, width: int) -> V:
    """Lane ``at`` of every ``width`` lanes of ``x``, in all of those lanes."""
    undef = ir.Constant(x.v.type, ir.Undefined)
    picks = [lane // width * width + at for lane in range(x.lanes)]
    return V(x.bd, x.bd.shuffle_vector(x.v, undef, ir.Constant(ir.VectorType(I32, x.lanes), picks)))


def zero(bd: Builder, lanes: int) -> V:
    return V(bd, ir.Constant(vector(lanes), [0.0] * lanes))


def load(bd: Builder, addr: Scalar, lanes: int, align: int = 4) -> V:
    """``lanes`` consecutive float32 from ``addr``, which is a multiple of ``align`` bytes."""
    return V(bd, bd.load(pointer(bd, addr, vector(lanes)), align=align))


def store(addr: Scalar, x: V, align: int = 4) -> None:
    x.bd.store(x.v, pointer(x.bd, addr, x.v.type), align=align)


def load_scalar(bd: Builder, addr: Scalar, of: ir.Type) -> Scalar:
    """One ``of`` (float32, int32) from ``addr``, naturally aligned."""
    return bd.load(pointer(bd, addr, of), align=of.width // 8 if of is not F32 else 4)


def first_mask(bd: Builder, n: Scalar, lanes: int) -> Scalar:
    """Mask of the first ``n`` (i64) lanes: none if it is negative, all if it is too many."""
    # Saturate before narrowing, so that the comparison works on 32-bit lanes.
    low, high = i64(0), i64(lanes)
    n = bd.select(bd.icmp_signed("<", n, low), low, n)
    n = bd.select(bd.icmp_signed(">", n, high), high, n)
    kind = ir.VectorType(I32, lanes)
    undef = ir.Constant(kind, ir.Undefined)
    ends = bd.insert_element(undef, bd.trunc(n, I32), ir.Constant(I32, 0))
    ends = bd.shuffle_vector(ends, undef, ir.Constant(kind, [0] * lanes))
    return bd.icmp_signed("<", ir.Constant(kind, list(range(lanes))), ends)


def store_first(addr: Scalar, x: V, n: Scalar) -> None:
    """Store the first ``n`` lanes of ``x``; no byte past them is touched."""
    bd = x.bd
    # Masked stores are microcoded or scalarised on many CPUs: keep them off the common path.
    with bd.if_else(bd.icmp_signed(">=", n, i64(x.lanes)), likely=True) as (full, partial):
        with full:
            store(addr, x)
        with partial:
            args = [x.v, pointer(bd, addr, x.v.type), ir.Constant(I32, 4),
                    first_mask(bd, n, x.lanes)]  # fmt: skip
            call(bd, f"llvm.masked.store.v{x.lanes}f32.p0", ir.VoidType(), args)


def load_first(bd: Builder, addr: Scalar, n: Scalar, lanes: int) -> V:
    """The first ``n`` lanes from ``addr`` and zeros; no byte past them is read."""
    kind = vector(lanes)
    with bd.if_else(bd.icmp_signed(">=", n, i64(lanes)), likely=True) as (full, partial):
        with full:
            whole, from_full = load(bd, addr, lanes).v, bd.block
        with partial:
            args = [pointer(bd, addr, kind), ir.Constant(I32, 4), first_mask(bd, n, lanes),
                    zero(bd, lanes).v]  # fmt: skip
            some = call(bd, f"llvm.masked.load.v{lanes}f32.p0", kind, args)
            from_partial = bd.block
    value = bd.phi(kind)
    value.add_incoming(whole, from_full)
    value.add_incoming(some, from_partial)
    return V(bd, value)


def loop(
    bd: Builder,
    start: Scalar,
    stop: Scalar,
    step: int,
    carried: Sequence[Scalar],
    body: Callable[[Scalar, list[Scalar]], Sequence[Scalar]],
) -> list[Scalar]:
    """``for index in range(start, stop, step): carried = body(index, carried)``; the last carried.

    The carried values stay in registers (phi nodes), which is why a micro-kernel wants this rather
    than a loop of Numba's over variables.
    """
    before = bd.block
    inside, after = bd.append_basic_block("loop"), bd.append_basic_block("after")
    bd.cbranch(bd.icmp_signed("<", start, stop), inside, after)
    bd.position_at_end(inside)
    index = bd.phi(start.type)
    index.add_incoming(start, before)
    values = [bd.phi(value.type) for value in carried]
    for phi, value in zip(values, carried, strict=True):
        phi.add_incoming(value, before)
    done = list(body(index, list(values)))
    bottom = bd.block
    following = bd.add(index, ir.Constant(start.type, step))
    index.add_incoming(following, bottom)
    for phi, value in zip(values, done, strict=True):
        phi.add_incoming(value, bottom)
    bd.cbranch(bd.icmp_signed("<", following, stop), inside, after)
    bd.position_at_end(after)
    results = [bd.phi(value.type) for value in carried]
    for phi, first, last in zip(results, carried, done, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(last, bottom)
    return results


def fma(a: V, b: V | float, c: V | float) -> V:
    """``a * b + c``, fused where the CPU can (the rounding of the product may thus differ)."""
    args = [a.v, a.like(b).v, a.like(c).v]
    return V(a.bd, call(a.bd, f"llvm.fmuladd.v{a.lanes}f32", a.v.type, args))


def select(mask: Scalar, yes: V, no: V | float) -> V:
    """``yes`` where ``mask`` is set, else ``no``."""
    return V(yes.bd, yes.bd.select(mask, yes.v, yes.like(no).v))


def maximum(x: V, low: V | float) -> V:
    """``max(x, low)``; NaN in ``x`` is kept, a NaN in ``low`` is ignored.  One instruction."""
    return select(x < low, x.like(low), x)


def minimum(x: V, high: V | float) -> V:
    """``min(x, high)``; NaN in ``x`` is kept, a NaN in ``high`` is ignored.  One instruction."""
    return select(x > high, x.like(high), x)


def minimum_nan(x: V, y: V) -> V:
    """``min(x, y)`` that keeps a NaN of either."""
    return select(y.compare("!=", y), y, minimum(x, y))


def maximum_nan(x: V, y: V) -> V:
    """``max(x, y)`` that keeps a NaN of either: for two vectors of data, such as in pooling."""
    return select(y.compare("!=", y), y, maximum(x, y))


def absolute(x: V) -> V:
    return V(x.bd, call(x.bd, f"llvm.fabs.v{x.lanes}f32", x.v.type, [x.v]))


def sqrt(x: V) -> V:
    return V(x.bd, call(x.bd, f"llvm.sqrt.v{x.lanes}f32", x.v.type, [x.v]))


def copysign(magnitude: V, sign: V) -> V:
    args = [magnitude.v, sign.v]
    return V(sign.bd, call(sign.bd, f"llvm.copysign.v{sign.lanes}f32", sign.v.type, args))


def fold(x: V, combine: Any) -> Scalar:
    """All lanes combined pairwise: log2(lanes) steps; lanes is a power of two."""
    bd, half = x.bd, x.lanes // 2
    undef = ir.Constant(x.v.type, ir.Undefined)
    while half:
        order = [(i + half) % x.lanes for i in range(x.lanes)]
        picks = ir.Constant(ir.VectorType(I32, x.lanes), order)
        x = combine(x, V(bd, bd.shuffle_vector(x.v, undef, picks)))
        half //= 2
    return bd.extract_element(x.v, ir.Constant(I32, 0))


def sum_lanes(x: V) -> Scalar:
    """Sum of the lanes, as a float32 scalar (added pairwise)."""
    return fold(x, lambda p, q: p + q)


def max_lanes(x: V) -> Scalar:
    """Largest lane, as a float32 scalar; NaN if any lane is NaN."""
    return fold(x, maximum_nan)


def polynomial(x: V, coefficients: Sequence[float]) -> V:
    """The polynomial in ``x`` by Horner's rule, highest power first."""
    acc = x.like(coefficients[0])
    for c in coefficients[1:]:
        acc = fma(acc, x, c)
    return acc
