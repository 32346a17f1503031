"""Exponentials and logarithms on vectors, from the operations of ``emit``.

An exponential is exp(x) = 2**u = 2**n * (1 + r P(r)), u = x log2(e) = n + r, n whole and |r| <= 1/2.  AVX-512
rounds to n and multiplies by 2**n in one instruction each, and the latter minds overflow, underflow and
infinities; elsewhere n comes from adding 1.5 * 2**23 and goes into the exponent as an integer, for which u is
held in range.  Divisions stay divisions: one of 16 lanes takes 2.5 cycles beside the other units (Zen 5), an
estimated reciprocal and a Newton step two cycles of the units that multiply.

Instructions of a vector with AVX-512: exp 17, exp_near 10 (elsewhere 13), expm1 12.
"""

from __future__ import annotations

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.emit import I32, Scalar, V, fma, maximum, minimum, polynomial, select
from nbcnn.target import detect

_ROUND = 12582912.0  # 1.5 * 2**23: adding it rounds a small float32 to an integer in its low bits
_LOG2E = 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # the high part has 9 bits: n * high is exact
# Cephes expf (S. Moshier): exp(r) = 1 + r + r*r*Q(r) on |r| <= ln(2)/2, highest power first.
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
        4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)  # fmt: skip
# 2**r = 1 + r P(r) on |r| <= 1/2, by least squares reweighted towards minimax: relative error of
# 2**r 1.1e-7, and of 2**r - 1 2.1e-8.
_EXP2 = (1.3264726923e-03, 9.6715128524e-03, 5.5507337458e-02, 2.4022242082e-01, 6.9314697760e-01)
_EXP2M1 = (1.5403512346e-04, 1.3390735705e-03, 9.6182374959e-03,
           5.5503574332e-02, 2.4022649795e-01, 6.9314718793e-01)  # fmt: skip


@cache
def _avx512() -> bool:
    return detect().has("avx512f")


def _scales(x: V) -> bool:
    """Whether one instruction multiplies ``x`` by powers of two."""
    return x.lanes == 16 and _avx512()


def _nearest(x: V) -> V:
    """The whole number nearest to each lane; |x| < 2**22 but for AVX-512."""
    if _scales(x):
        return V(x.bd, emit.call(x.bd, "llvm.rint.v16f32", x.v.type, [x.v]))
    return (x + _ROUND) - _ROUND


def _scalef(x: V, n: V) -> V:
    """x * 2**n, rounded once; 0 and inf for n = -inf and inf even if x is NaN.  AVX-512 alone."""
    every = ir.Constant(ir.IntType(16), -1)
    current_rounding = ir.Constant(I32, 4)
    args = [x.v, n.v, x.v, every, current_rounding]
    return V(x.bd, emit.call(x.bd, "llvm.x86.avx512.mask.scalef.ps.512", x.v.type, args))


def _exponents(n: V) -> Scalar:
    """Whole ``n`` (|n| < 2**22) in the place of the exponent: as i32, 2**23 times as large; 0 for NaN."""
    ints = ir.VectorType(I32, n.lanes)
    return n.bd.shl(n.bd.bitcast((n + _ROUND).v, ints), ir.Constant(ints, [23] * n.lanes))


def _times(x: V, exponents: Scalar) -> V:
    """x * 2**n for `_exponents` of n; neither x nor the result is 0, subnormal or infinite."""
    bits = x.bd.add(x.bd.bitcast(x.v, exponents.type), exponents)
    return V(x.bd, x.bd.bitcast(bits, x.v.type))


def exp(x: V, low: V | None = None) -> V:
    """exp(x), or exp(x + low) with |low| < 0.05, which continues x beyond float32.

    Within 1.5 ulp, with gradual underflow, inf, 0 and NaN as due.
    """
    x = minimum(maximum(x, -104.0), 89.0)  # past these the result is 0 and inf; NaN stays
    n = _nearest(x * _LOG2E)
    r = fma(-n, _LN2_LOW, fma(-n, _LN2_HIGH, x))
    if low is not None:
        r = r + low
    m = fma(r * r, polynomial(r, _EXP), r) + 1.0
    if _scales(x):
        return _scalef(m, n)
    # Two factors: 2**-150 and 2**128 are not float32, and one rounding at the end is enough.
    half = _nearest(n * 0.5)
    return _times(m, _exponents(half)) * _times(x.like(1.0), _exponents(n - half))


def exp_near(x: V, rate: float = 1.0) -> V:
    """exp(rate * x) within 2 ulp + |rate * x| 2**-24 of it: what rounding the exponent costs.

    Beyond 2**-125 and 2**127 it is anything from there to 0 and inf.  NaN stays.
    """
    u = x * (rate * _LOG2E)
    if not _scales(x):
        u = minimum(maximum(u, -125.0), 127.0)
    n = _nearest(u)
    r = u - n
    power = fma(r, polynomial(r, _EXP2), 1.0)
    return _scalef(power, n) if _scales(x) else _times(power, _exponents(n))


def expm1(x: V, rate: V | float = 1.0) -> V:
    """exp(rate * x) - 1 within 3 ulp of it, also near 0; rate * x is below 87, or the result is of no use."""
    # From its parts, (1 + m) 2**n - 1 = m 2**n + (2**n - 1), keeps accuracy near 0.
    u = maximum(x * (rate * _LOG2E), -60.0)  # where the result has long been -1
    if not _scales(x):
        u = minimum(u, 127.0)
    n = _nearest(u)
    r = u - n
    one = x.like(1.0)
    scale = _scalef(one, n) if _scales(x) else _times(one, _exponents(n))
    return fma(r * polynomial(r, _EXP2M1), scale, scale - 1.0)


# Cephes logf (S. Moshier): log(1 + r) = r - r*r/2 + r*r*r*P(r) on sqrt(1/2) <= 1 + r < sqrt(2).
_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
_SQRT_HALF_BITS = 0x3F3504F3


def log(x: V) -> V:
    """The natural logarithm: within 3 ulp; -inf at 0, NaN below, subnormal numbers too."""
    bd, lanes = x.bd, x.lanes
    ints = ir.VectorType(I32, lanes)

    def whole(value: int) -> ir.Constant:
        return ir.Constant(ints, [value] * lanes)

    small = x < 2.0**-126
    scaled = select(small, x * 2.0**23, x)
    # The exponent counted from sqrt(1/2), and what is left of the number without it.
    bits = bd.bitcast(scaled.v, ints)
    n = bd.ashr(bd.sub(bits, whole(_SQRT_HALF_BITS)), whole(23))
    r = V(bd, bd.bitcast(bd.sub(bits, bd.shl(n, whole(23))), x.v.type)) - 1.0
    count = V(bd, bd.sitofp(n, x.v.type)) - select(small, x.like(23.0), 0.0)
    square = r * r
    low = fma(count, _LN2_LOW, r * square * polynomial(r, _LOG))
    found = fma(count, _LN2_HIGH, r + fma(square, -0.5, low))
    found = select(x.compare("==", 0.0), x.like(float("-inf")), found)
    found = select(x < 0.0, x.like(float("nan")), found)
    # What is infinite or NaN stays.
    return select(x < float("inf"), found, select(x < 0.0, found, x))
