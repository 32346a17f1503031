"""SIMD for Numba: a vector of float32 as a value of njit code.

``LANES`` is an int literal (4, 8 or 16): a literal in the code, or an int that the kernel's
factory closes over.  Addresses are byte addresses (``intp``), as ``array.ctypes.data`` gives
them.  Nothing is bounds-checked.  Any lane count works on any CPU: LLVM splits what is too wide.

=====================================  =========================================================
``arg(args, i)``                       slot ``i`` of a kernel's argument block, as intp
``argf(args, i)``                      the same slot, its low 32 bits as float32
``vload(addr, LANES)``                 LANES float32 from memory; any address that is 4-aligned
``vload_first(addr, n, LANES)``        the first n, then zeros; reads no byte past them
``vstore(addr, v)``                    store all lanes
``vstore_first(addr, v, n)``           store the first n lanes only (n <= 0 none, n >= LANES all)
``vset(x, LANES)``, ``vzero(LANES)``   x in every lane; zeros
``+ - * /``, unary ``-``, ``+=``       by lane; either side may be a scalar
``vfma(a, b, c)``                      a * b + c, fused where the CPU can
``vmax(v, lo)``, ``vmin(v, hi)``       one instruction; NaN in v is kept, NaN in the bound ignored
``vmax_nan(v, w)``, ``vmin_nan``       NaN in either is kept (max pooling)
``vsqrt(v)``                           correctly rounded
``vabs(v)``, ``vexp(v)``, ``vlog(v)``  absolute value; e**v within 1.5 ulp, log within 3, over the whole range
``v < w``, ``<= > >= == !=``           a mask; ``&``, ``|`` combine masks
``vselect(mask, v, w)``                v where the mask is set, else w
``vfirst(n, v, w)``                    the first n lanes of v, the others of w
``vsum(v)``, ``vhmax(v)``              over the lanes, as float32 (vhmax: NaN if any is)
``load_f32(addr)``, ``load_i32(addr)``  one scalar (load_i32 gives intp, sign-extended)
``store_f32(addr, x)``, ``store_i32``  one scalar
``prefetch(addr)``                     ask for a cache line; never faults
=====================================  =========================================================

A kernel, complete (``out = max(x, 0)`` over n float32)::

    def make(LANES):
        def relu(args, part, parts):
            x, out, n = arg(args, 0), arg(args, 1), arg(args, 2)
            steps = (n + LANES - 1) // LANES
            for s in range(steps * part // parts, steps * (part + 1) // parts):
                at = 4 * s * LANES
                v = vmax(vload_first(x + at, n - s * LANES, LANES), vzero(LANES))
                vstore_first(out + at, v, n - s * LANES)
        return relu

The instructions themselves are in ``emit``; this file gives them to Numba's type inference.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from nbcnn.kernels.cpu.code import elementary, emit
from nbcnn.kernels.cpu.code.emit import F32, I32, I64, V


class VecType(types.Type):
    """``lanes`` float32 in a register."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"f32x{lanes}")


class MaskType(types.Type):
    """``lanes`` truth values, from a comparison of vectors."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"maskx{lanes}")


@register_model(VecType)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: VecType) -> None:
        super().__init__(manager, kind, emit.vector(kind.lanes))


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: MaskType) -> None:
        super().__init__(manager, kind, ir.VectorType(emit.I1, kind.lanes))


def literal(kind: Any, name: str) -> int:
    """The value of a literal int argument; a TypingError that names it otherwise."""
    if not isinstance(kind, types.IntegerLiteral):
        raise TypingError(f"{name} must be an int literal or an int closed over, not {kind}")
    return kind.literal_value


def vec_type(kind: Any, name: str = "v") -> VecType:
    """``kind`` itself if it is a vector; a TypingError that names the argument otherwise."""
    if not isinstance(kind, VecType):
        raise TypingError(f"{name} must be a vector (vload, vset, ...), not {kind}")
    return kind


# --- operators -------------------------------------------------------------------------------


class _Binary(AbstractTemplate):
    """vector op vector, vector op scalar, scalar op vector -> vector (or mask, for comparisons)"""

    def generic(self, args: Any, kws: Any) -> Any:
        if len(args) != 2:
            return None
        vectors = [a for a in args if isinstance(a, VecType)]
        if not vectors or any(v is not vectors[0] and v != vectors[0] for v in vectors):
            return None
        if not all(isinstance(a, VecType | types.Number) for a in args):
            return None
        result = MaskType(vectors[0].lanes) if self.key in _COMPARE else vectors[0]
        params = [a if isinstance(a, VecType) else types.float32 for a in args]
        return signature(result, *params)


class _MaskBinary(AbstractTemplate):
    """mask op mask -> mask"""

    def generic(self, args: Any, kws: Any) -> Any:
        if len(args) == 2 and isinstance(args[0], MaskType) and args[0] == args[1]:
            return signature(args[0], *args)
        return None


class _Negate(AbstractTemplate):
    """-vector"""

    def generic(self, args: Any, kws: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], VecType):
            return signature(args[0], args[0])
        return None


_ARITHMETIC = {operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/"}
_COMPARE = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=",
            operator.eq: "==", operator.ne: "!="}  # fmt: skip
_INPLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


def _register(op: Any, template: Any) -> None:
    infer_global(op)(type(f"{template.__name__}_{op.__name__}", (template,), {"key": op}))


def _lower_binary(op: Any) -> None:
    def lower(context: Any, bd: Any, sig: Any, args: Any) -> Any:
        lanes = next(a.lanes for a in sig.args if isinstance(a, VecType))
        x, y = (
            V(bd, value) if isinstance(kind, VecType) else emit.splat(bd, value, lanes)
            for kind, value in zip(sig.args, args, strict=True)
        )
        return x.compare(_COMPARE[op], y) if op in _COMPARE else op(x, y).v

    for kinds in ((VecType, VecType), (VecType, types.Float), (types.Float, VecType)):
        lower_builtin(op, *kinds)(lower)


for _op in (*_ARITHMETIC, *_COMPARE):
    _register(_op, _Binary)
    _lower_binary(_op)
for _op in _INPLACE:  # Numba lowers x += y of an immutable type as x = x + y
    _register(_op, _Binary)
for _op in (operator.and_, operator.or_):
    _register(_op, _MaskBinary)
_register(operator.neg, _Negate)


@lower_builtin(operator.neg, VecType)
def _lower_neg(context: Any, bd: Any, sig: Any, args: Any) -> Any:
    return (-V(bd, args[0])).v


@lower_builtin(operator.and_, MaskType, MaskType)
def _lower_and(context: Any, bd: Any, sig: Any, args: Any) -> Any:
    return bd.and_(*args)


@lower_builtin(operator.or_, MaskType, MaskType)
def _lower_or(context: Any, bd: Any, sig: Any, args: Any) -> Any:
    return bd.or_(*args)


# --- memory ----------------------------------------------------------------------------------


@intrinsic
def arg(tc, args, i):
    """Slot ``i`` of the argument block at address ``args``, as intp."""

    def emit_arg(context, bd, sig, a):
        return bd.load(bd.gep(emit.pointer(bd, a[0], I64), [a[1]]))

    return types.intp(types.intp, types.intp), emit_arg


@intrinsic
def argf(tc, args, i):
    """Slot ``i`` of the argument block: its low 32 bits are a float32."""

    def emit_argf(context, bd, sig, a):
        slot = bd.load(bd.gep(emit.pointer(bd, a[0], I64), [a[1]]))
        return bd.bitcast(bd.trunc(slot, I32), F32)

    return types.float32(types.intp, types.intp), emit_argf


@intrinsic(prefer_literal=True)
def vload(tc, addr, lanes):
    """LANES float32 from ``addr`` (a multiple of 4)."""
    n = literal(lanes, "LANES")
    return VecType(n)(types.intp, lanes), lambda ctx, bd, sig, a: emit.load(bd, a[0], n).v


@intrinsic(prefer_literal=True)
def vload_first(tc, addr, n, lanes):
    """The first ``n`` float32 from ``addr``, zeros in the other lanes."""
    count = literal(lanes, "LANES")

    def emit_load(context, bd, sig, a):
        return emit.load_first(bd, a[0], a[1], count).v

    return VecType(count)(types.intp, types.intp, lanes), emit_load


@intrinsic
def vstore(tc, addr, v):
    """Store ``v`` at ``addr`` (a multiple of 4)."""

    def emit_store(context, bd, sig, a):
        emit.store(a[0], V(bd, a[1]))
        return context.get_dummy_value()

    return types.void(types.intp, vec_type(v)), emit_store


@intrinsic
def vstore_first(tc, addr, v, n):
    """Store the first ``n`` lanes of ``v``; no byte past them is touched."""

    def emit_store(context, bd, sig, a):
        emit.store_first(a[0], V(bd, a[1]), a[2])
        return context.get_dummy_value()

    return types.void(types.intp, vec_type(v), types.intp), emit_store


def _scalar_load(kind: Any, of: ir.Type, text: str) -> Any:
    def load(tc, addr):
        def emit_load(context, bd, sig, a):
            value = emit.load_scalar(bd, a[0], of)
            return value if of is F32 else bd.sext(value, I64)

        return kind(types.intp), emit_load

    load.__doc__ = text
    return intrinsic(load)


load_f32 = _scalar_load(types.float32, F32, "The float32 at ``addr``.")
load_i32 = _scalar_load(types.intp, I32, "The int32 at ``addr``, sign-extended to intp.")


@intrinsic
def store_f32(tc, addr, x):
    """Store ``x`` as float32 at ``addr``."""

    def emit_store(context, bd, sig, a):
        bd.store(a[1], emit.pointer(bd, a[0], F32), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.float32), emit_store


@intrinsic
def store_i32(tc, addr, x):
    """Store the low 32 bits of ``x`` at ``addr``."""

    def emit_store(context, bd, sig, a):
        bd.store(bd.trunc(a[1], I32), emit.pointer(bd, a[0], I32), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit_store


@intrinsic
def prefetch(tc, addr):
    """Ask for the cache line at ``addr``; a hint, which never faults."""

    def emit_prefetch(context, bd, sig, a):
        emit.prefetch(bd, a[0])
        return context.get_dummy_value()

    return types.void(types.intp), emit_prefetch


# --- making and combining vectors ------------------------------------------------------------


@intrinsic(prefer_literal=True)
def vset(tc, x, lanes):
    """``x`` (converted to float32) in every lane."""
    n = literal(lanes, "LANES")
    return VecType(n)(types.float32, lanes), lambda ctx, bd, sig, a: emit.splat(bd, a[0], n).v


@intrinsic(prefer_literal=True)
def vzero(tc, lanes):
    """Zero in every lane."""
    n = literal(lanes, "LANES")
    return VecType(n)(lanes), lambda ctx, bd, sig, a: emit.zero(bd, n).v


@intrinsic
def vselect(tc, mask, v, w):
    """``v`` where ``mask`` is set, else ``w``."""
    kind = vec_type(v)
    if mask != MaskType(kind.lanes) or w != kind:
        raise TypingError(f"vselect takes a mask and two vectors of its lanes: {mask}, {v}, {w}")
    return kind(mask, v, w), lambda ctx, bd, sig, a: bd.select(*a)


@intrinsic
def vfirst(tc, n, v, w):
    """The first ``n`` lanes of ``v``, the others of ``w``."""
    kind = vec_type(v)

    def emit_first(context, bd, sig, a):
        return bd.select(emit.first_mask(bd, a[0], kind.lanes), a[1], a[2])

    return kind(types.intp, kind, vec_type(w)), emit_first


@intrinsic
def vfma(tc, a, b, c):
    """``a * b + c``, fused where the CPU can."""
    kind = vec_type(a, "a")

    def emit_fma(context, bd, sig, x):
        return emit.fma(*(V(bd, value) for value in x)).v

    return kind(kind, vec_type(b, "b"), vec_type(c, "c")), emit_fma


def _binary(build: Any, text: str) -> Any:
    def op(tc, v, w):
        if vec_type(v) != vec_type(w, "w"):
            raise TypingError(f"vectors of different lanes: {v} and {w}")
        return v(v, w), lambda ctx, bd, sig, a: build(V(bd, a[0]), V(bd, a[1])).v

    op.__doc__ = text
    return intrinsic(op)


def _unary(build: Any, text: str) -> Any:
    def op(tc, v):
        kind = vec_type(v)
        return kind(kind), lambda ctx, bd, sig, a: build(V(bd, a[0])).v

    op.__doc__ = text
    return intrinsic(op)


def _across(build: Any, text: str) -> Any:
    def op(tc, v):
        return types.float32(vec_type(v)), lambda ctx, bd, sig, a: build(V(bd, a[0]))

    op.__doc__ = text
    return intrinsic(op)


vmax = _binary(emit.maximum, emit.maximum.__doc__ or "")
vmin = _binary(emit.minimum, emit.minimum.__doc__ or "")
vmax_nan = _binary(emit.maximum_nan, emit.maximum_nan.__doc__ or "")
vmin_nan = _binary(emit.minimum_nan, emit.minimum_nan.__doc__ or "")
vsqrt = _unary(emit.sqrt, "The square root of each lane, correctly rounded.")
vabs = _unary(emit.absolute, "The absolute value of each lane.")
vexp = _unary(elementary.exp, "e**v: within 1.5 ulp, gradual underflow; inf, 0 and NaN as due.")
vlog = _unary(elementary.log, elementary.log.__doc__ or "")
vsum = _across(emit.sum_lanes, emit.sum_lanes.__doc__ or "")
vhmax = _across(emit.max_lanes, emit.max_lanes.__doc__ or "")
