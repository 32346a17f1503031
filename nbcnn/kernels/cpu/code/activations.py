"""Activations on vectors, for the epilogue of any kernel.

``activate(v, ACT, a, b)`` applies activation ``ACT`` (an int literal, see ``activation_ids``) with
its float32 arguments; ``emit_activation`` is the same one level down.  NaN gives NaN (0 where a
threshold decides, as in ONNX); finite arguments and infinities never do, but for the roots and logarithms of
negative numbers.  Errors against float64, in ulps of max(|f(x)|, 2**-100), over all float32 x, with and
without FMA (tests/kernels/cpu/test_activation_code.py holds the bounds):

clamp, abs, neg, sign, floor, ceil, round, thresholded_relu 0, leaky_relu, shrink, sqrt, reciprocal 0.5,
elu 3.5, selu 4, tanh 3.5, hard_sigmoid 1.5 (of |a x| + |b|), hard_swish 3, softplus 3, softsign 1.5,
exp 1.5, log 3, erf 3.5, and times 1 + |ln f(x)| / 2 (a relative error of u is u times that in exp(u)):
sigmoid 3, silu 3, swish 4, gelu 4, gelu_tanh 7, mish 4.

Cycles of a vector of 16 lanes, AVX-512 of Zen 5, where only loading and storing takes 2: hard_swish 2.5,
silu 6.5, sigmoid 6.8, elu 7, exp 8, mish, gelu_tanh, tanh 9.5, swish 14, gelu 16, erf 20.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.coefficients import PHI, PHI_RATE
from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.elementary import exp, exp_near, expm1, log
from nbcnn.kernels.cpu.code.emit import V
from nbcnn.kernels.cpu.code.simd import literal, vec_type


def _none(x: V, a: V, b: V) -> V:
    return x


def _clamp(x: V, a: V, b: V) -> V:
    return emit.minimum(emit.maximum(x, a), b)


def _leaky_relu(x: V, a: V, b: V) -> V:
    return emit.select(x < 0.0, x * a, x)


def _elu(x: V, a: V, b: V) -> V:
    return emit.select(x < 0.0, a * expm1(x, b), x)


def _selu(x: V, a: V, b: V) -> V:
    return a * emit.select(x < 0.0, b * expm1(x), x)


def _sigmoid(x: V, a: V, b: V) -> V:
    return 1.0 / (exp_near(x, -1.0) + 1.0)


def _tanh(x: V, a: V, b: V) -> V:
    m = expm1(_clamp(x, x.like(-15.0), x.like(15.0)), 2.0)
    return m / (m + 2.0)


def _silu(x: V, a: V, b: V) -> V:
    x = emit.maximum(x, -88.0)  # the result is about 0 from here on; the exponential stays finite
    return x / (exp_near(x, -1.0) + 1.0)


def _swish(x: V, a: V, b: V) -> V:
    # Where a * x is -inf the gate is 0, and x is made finite: the limit of the product is 0.
    gate = 1.0 / (exp(-a * x) + 1.0)
    return emit.select(gate > 0.0, x, 1.0) * gate


def _hard_sigmoid(x: V, a: V, b: V) -> V:
    return emit.minimum(emit.maximum(emit.fma(a, x, b), 0.0), 1.0)


def _hard_swish(x: V, a: V, b: V) -> V:
    x = emit.maximum(x, -3.0)
    return (x * (1.0 / 6.0)) * emit.minimum(x + 3.0, 6.0)


def _tail(y: V) -> V:
    """Phi(-y) for 0 <= y <= 15."""
    t = 1.0 / emit.fma(y, PHI_RATE, 1.0)
    return exp_near(y * y, -0.5) * (t * emit.polynomial(t, PHI))


def _gelu(x: V, a: V, b: V) -> V:
    x = emit.maximum(x, -15.0)  # gelu(-15) is below the least float32
    tail = _tail(emit.minimum(emit.absolute(x), 15.0))
    return x * emit.select(x < 0.0, tail, 1.0 - tail)


def _gelu_tanh(x: V, a: V, b: V) -> V:
    # (1 + tanh(u)) / 2 is sigmoid(2u).  Beyond 15 the sigmoid is 0 or 1, and cubes overflow.
    x = emit.maximum(x, -15.0)
    y = emit.minimum(x, 15.0)
    rate = 2.0 * math.sqrt(2.0 / math.pi)
    u = y * emit.fma(y * y, rate * 0.044715, rate)
    return x / (exp_near(u, -1.0) + 1.0)


def _softplus(x: V, a: V, b: V) -> V:
    # log(1 + e) for 0 <= e <= 1: what rounding 1 + e loses, over 1 + e, is the derivative's part.
    e = exp(-emit.absolute(x))
    sum_ = e + 1.0
    return emit.maximum(x, 0.0) + (log(sum_) + (e - (sum_ - 1.0)) / sum_)


def _softsign(x: V, a: V, b: V) -> V:
    # The limit at infinity is the sign; at 2**127 it is reached.
    x = _clamp(x, x.like(-(2.0**127)), x.like(2.0**127))
    return x / (emit.absolute(x) + 1.0)


def _mish(x: V, a: V, b: V) -> V:
    # tanh(log(1 + E)) with E = exp(x) is p / (p + 2), p = E (E + 2); from 20 on it is 1.
    x = emit.maximum(x, -88.0)  # -inf * 0 would be no number
    e = exp_near(emit.minimum(x, 20.0))
    p = e * (e + 2.0)
    return x * (p / (p + 2.0))


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
    return exp(x)


def _log(x: V, a: V, b: V) -> V:
    return log(x)


# erf(x) / x in x * x: its Taylor series, 2/sqrt(pi) (-1)**n / (n! (2n + 1)); below 1e-9 off for |x| < 0.5.
_ERF = tuple(2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(6, -1, -1))


def _erf(x: V, a: V, b: V) -> V:
    size = emit.absolute(x)
    tail = _tail(emit.minimum(size, 9.0) * math.sqrt(2.0))
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
    "swish": _swish,
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
    ACTIVATIONS[name]
    for name in (
        *("none", "clamp", "leaky_relu", "thresholded_relu", "abs", "neg"),
        *("hard_sigmoid", "hard_swish", "silu"),
    )
)
"""Codes of a dozen instructions at most, which kernels may repeat for every register of a tile."""


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
