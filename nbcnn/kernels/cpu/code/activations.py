"""Activations on vectors, for the epilogue of any kernel.

``activate(v, ACT, a, b)`` applies activation ``ACT`` (an int literal, see ``activation_ids``) with
its float32 arguments; ``emit_activation`` is the same one level down.  NaN gives NaN (0 where a
threshold decides, as in ONNX); finite arguments and infinities never do, but for the roots and logarithms of
negative numbers.  Errors against float64, in ulps of max(|f(x)|, 2**-100), over all float32 x, with and
without FMA (tests/kernels/cpu/test_activation_code.py holds the bounds):

clamp, abs, neg, sign, floor, ceil, round, thresholded_relu 0, leaky_relu, shrink, sqrt, reciprocal 0.5,
elu 3.5, selu 4, sigmoid 3, tanh 3, silu 4 (a = 1), hard_sigmoid 1.5 (of |a x| + |b|), hard_swish 3, gelu 6,
gelu_tanh 6 + 3 |ln f(x)| (a relative error of u is u times that in exp(u)), softplus 3, softsign 1.5,
mish 6, exp 1.5, log 3, erf 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from nbcnn.kernels.cpu.activation_ids import ACTIVATIONS
from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.emit import V
from nbcnn.kernels.cpu.code.simd import literal, vec_type


def _none(x: V, a: V, b: V) -> V:
    return x


def _clamp(x: V, a: V, b: V) -> V:
    return emit.minimum(emit.maximum(x, a), b)


def _leaky_relu(x: V, a: V, b: V) -> V:
    return emit.select(x < 0.0, x * a, x)


def _elu(x: V, a: V, b: V) -> V:
    return emit.select(x < 0.0, a * _expm1(x * b), x)


def _expm1(x: V) -> V:
    """exp(x) - 1 for x <= 0."""
    # From its parts, (1 + m) 2**n - 1 = m 2**n + (2**n - 1), keeps accuracy near 0.
    # Below -40 the result is -1 in float32, and above 0 it is not used.
    m, n = emit.exp_parts(emit.minimum(emit.maximum(x, -40.0), 0.0))
    scale = emit.power_of_two(x.bd, n)
    return emit.fma(m, scale, scale - 1.0)


def _selu(x: V, a: V, b: V) -> V:
    return a * emit.select(x < 0.0, b * _expm1(x), x)


def _sigmoid(x: V, a: V, b: V) -> V:
    # exp of -|x| never overflows, and e / (1 + e) keeps accuracy where the result is small.
    e = emit.exp(-emit.absolute(x))
    return emit.select(x < 0.0, e, 1.0) / (e + 1.0)


# Cephes tanhf (S. Moshier): tanh(x) = x + x * z * P(z), z = x * x, for |x| < 0.625.
_TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2,
         1.33314422036e-1, -3.33332819422e-1)  # fmt: skip


def _tanh(x: V, a: V, b: V) -> V:
    size = emit.absolute(x)
    far = emit.copysign(1.0 - 2.0 / (emit.exp(size + size) + 1.0), x)
    z = x * x
    near = emit.fma(x * z, emit.polynomial(z, _TANH), x)
    return emit.select(size < 0.625, near, far)


def _silu(x: V, a: V, b: V) -> V:
    # Where a * x is -inf the gate is 0, and x is made finite: the limit of the product is 0.
    gate = _sigmoid(x * a, a, b)
    return emit.select(gate > 0.0, x, 1.0) * gate


def _hard_sigmoid(x: V, a: V, b: V) -> V:
    return emit.minimum(emit.maximum(emit.fma(a, x, b), 0.0), 1.0)


def _hard_swish(x: V, a: V, b: V) -> V:
    return emit.maximum(x, -3.0) * (_clamp(x + 3.0, x.like(0.0), x.like(6.0)) * (1.0 / 6.0))


# Phi(-y) exp(y*y/2) = t P(t) with t = 1 / (1 + 0.35 y), Phi the normal distribution function:
# least squares in float64 reweighted towards minimax over 0 <= y <= 15, relative error 3.2e-8.
_PHI_RATE = 0.35
_PHI = (-0.029164569452404976, 0.14406384527683258, -0.25590795278549194, 0.1593995839357376,
        -0.02326819859445095, 0.1055765375494957, 0.11981508880853653, 0.13986438512802124,
        0.13962125778198242)  # fmt: skip


def _gelu(x: V, a: V, b: V) -> V:
    bd, lanes = x.bd, x.lanes
    x = emit.maximum(x, -15.0)  # gelu(-15) is below the least float32
    y = emit.minimum(emit.absolute(x), 15.0)
    # y*y/2 in two parts: rounding it would cost y*y/2 ulps of the exponential.  The high half of
    # the bits of y squares exactly.
    ints = ir.VectorType(emit.I32, lanes)
    mask = ir.Constant(ints, [-4096] * lanes)
    high = V(bd, bd.bitcast(bd.and_(bd.bitcast(y.v, ints), mask), y.v.type))
    e = emit.exp(high * high * -0.5, (y - high) * (y + high) * -0.5)
    t = 1.0 / emit.fma(y, _PHI_RATE, 1.0)
    tail = e * t * emit.polynomial(t, _PHI)  # Phi(-y)
    return x * emit.select(x < 0.0, tail, 1.0 - tail)


def _gelu_tanh(x: V, a: V, b: V) -> V:
    # (1 + tanh(u)) / 2 is sigmoid(2u).  Beyond 15 the sigmoid is 0 or 1, and cubes overflow.
    y = emit.minimum(emit.maximum(x, -15.0), 15.0)
    rate = 2.0 * math.sqrt(2.0 / math.pi)
    u = y * emit.fma(y * y, rate * 0.044715, rate)
    return emit.maximum(x, -15.0) * _sigmoid(u, a, b)


def _softplus(x: V, a: V, b: V) -> V:
    # log(1 + e) for 0 <= e <= 1: what rounding 1 + e loses, over 1 + e, is the derivative's part.
    e = emit.exp(-emit.absolute(x))
    sum_ = e + 1.0
    return emit.maximum(x, 0.0) + (emit.log(sum_) + (e - (sum_ - 1.0)) / sum_)


def _softsign(x: V, a: V, b: V) -> V:
    # The limit at infinity is the sign; at 2**127 it is reached.
    x = _clamp(x, x.like(-(2.0**127)), x.like(2.0**127))
    return x / (emit.absolute(x) + 1.0)


def _mish(x: V, a: V, b: V) -> V:
    # tanh(log(1 + E)) with E = exp(x) is p / (p + 2), p = E (E + 2); above 0 both are divided by E**2.
    e = emit.exp(-emit.absolute(x))
    above = x > 0.0
    p = emit.select(above, emit.fma(e, 2.0, 1.0), e * (e + 2.0))
    q = p + emit.select(above, 2.0 * (e * e), 2.0)
    return emit.maximum(x, -120.0) * (p / q)  # -inf * 0 would be no number


def _thresholded_relu(x: V, a: V, b: V) -> V:
    return emit.select(x > a, x, 0.0)


def _shrink(x: V, a: V, b: V) -> V:
    return emit.select(x < -a, x + b, emit.select(x > a, x - b, 0.0))


def _abs(x: V, a: V, b: V) -> V:
    return emit.absolute(x)


def _neg(x: V, a: V, b: V) -> V:
    return -x


def _sign(x: V, a: V, b: V) -> V:
    return emit.select(x > 0.0, x.like(1.0), emit.select(x < 0.0, x.like(-1.0), x))


_WHOLE = 2.0**23
"""From here on every float32 is a whole number, and below it, adding this rounds to one."""


def _round(x: V, a: V, b: V) -> V:
    size = emit.absolute(x)
    rounded = emit.copysign((size + _WHOLE) - _WHOLE, x)
    return emit.select(size < _WHOLE, rounded, x)


def _floor(x: V, a: V, b: V) -> V:
    near = _round(x, a, b)
    return emit.select(near > x, near - 1.0, near)


def _ceil(x: V, a: V, b: V) -> V:
    return -_floor(-x, a, b)


def _reciprocal(x: V, a: V, b: V) -> V:
    return 1.0 / x


def _sqrt(x: V, a: V, b: V) -> V:
    return emit.sqrt(x)


def _exp(x: V, a: V, b: V) -> V:
    return emit.exp(x)


def _log(x: V, a: V, b: V) -> V:
    return emit.log(x)


# erf(x) / x in x * x: its Taylor series, 2/sqrt(pi) (-1)**n / (n! (2n + 1)); below 1e-9 off for |x| < 0.5.
_ERF = tuple(2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(6, -1, -1))


def _erf(x: V, a: V, b: V) -> V:
    size = emit.absolute(x)
    y = emit.minimum(size, 9.0) * math.sqrt(2.0)
    t = 1.0 / emit.fma(y, _PHI_RATE, 1.0)
    tail = emit.exp(y * y * -0.5) * t * emit.polynomial(t, _PHI)
    far = emit.copysign(1.0 - 2.0 * tail, x)
    return emit.select(size < 0.5, x * emit.polynomial(x * x, _ERF), far)


_EMITTERS: dict[str, Callable[[V, V, V], V]] = {
    "none": _none,
    "clamp": _clamp,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "silu": _silu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "selu": _selu,
    "softplus": _softplus,
    "softsign": _softsign,
    "mish": _mish,
    "thresholded_relu": _thresholded_relu,
    "shrink": _shrink,
    "abs": _abs,
    "neg": _neg,
    "sign": _sign,
    "floor": _floor,
    "ceil": _ceil,
    "round": _round,
    "reciprocal": _reciprocal,
    "sqrt": _sqrt,
    "exp": _exp,
    "log": _log,
    "erf": _erf,
}
_BY_CODE = {ACTIVATIONS[name]: emitter for name, emitter in _EMITTERS.items()}

CHEAP = frozenset(
    ACTIVATIONS[name] for name in ("none", "clamp", "leaky_relu", "thresholded_relu", "abs", "neg")
)
"""Codes of one to three instructions, which kernels may repeat for every register of a tile."""


def emit_activation(code: int, x: V, a: V, b: V) -> V:
    """Emit activation ``code`` of ``x``; ``a`` and ``b`` are its arguments in every lane."""
    return _BY_CODE[code](x, a, b)


@intrinsic(prefer_literal=True)
def activate(tc, v, code, a, b):
    """Activation ``code`` (int literal) of the vector ``v``, with float32 arguments a and b."""
    kind, number = vec_type(v), literal(code, "ACT")
    if number not in _BY_CODE:
        raise TypingError(f"no activation has the code {number}; codes are {ACTIVATIONS}")

    def emit_activate(context: Any, bd: Any, sig: Any, args: Any) -> Any:
        x = V(bd, args[0])
        a, b = (emit.splat(bd, value, kind.lanes) for value in args[2:])
        return emit_activation(number, x, a, b).v

    return kind(kind, code, types.float32, types.float32), emit_activate
