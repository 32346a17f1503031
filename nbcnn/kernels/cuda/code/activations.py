"""Activations of a float32 in a register, by the emitter: what epilogues apply before results are stored.

NaN stays NaN; infinities and finite numbers never become NaN. Exponential and reciprocal are the hardware's
approximations (2 ulp, 1 ulp): results are off by at most 8 ulp of max(|f(x)|, 2^-100); sigmoids, gelu and
mish by so many ulp times 1 + |ln f(x)| / 2, because a rounded argument of exp2 counts that often.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.kernels.coefficients import PHI, PHI_RATE

LOG2_E = math.log2(math.e)

# tanh(x) / x in x * x, least squares reweighted towards minimax over |x| < 0.5: relative error 1.3e-8.
_TANH_BELOW = 0.5
_TANH = (0.017135003344921115, -0.05298607364378302, 0.1332477929179963, -0.3333306939272615,
         0.9999999868717314)  # fmt: skip

_SIGN = 0x80000000


def activate(e: Any, name: str, x: Any, a: Any, b: Any) -> Any:
    """``x`` after an activation, ``a`` and ``b`` as `nbcnn.kernels.activation_ids` defines them."""
    return _EMITTERS[name](e, x, a, b)


def _none(e: Any, x: Any, a: Any, b: Any) -> Any:
    return x


def _relu(e: Any, x: Any, a: Any, b: Any) -> Any:
    return e.op("max", x, 0.0)


def _clamp(e: Any, x: Any, a: Any, b: Any) -> Any:
    return e.op("min", e.op("max", x, a), b)


def _leaky_relu(e: Any, x: Any, a: Any, b: Any) -> Any:
    return e.select(_positive(e, x), x, e.fmul(a, x))


def _hard_sigmoid(e: Any, x: Any, a: Any, b: Any) -> Any:
    return e.op("min", e.op("max", e.fma(a, x, b), 0.0), 1.0)


def _hard_swish(e: Any, x: Any, a: Any, b: Any) -> Any:
    x = e.op("max", x, -3.0)
    return e.fmul(x, e.fmul(e.op("min", e.fadd(x, 3.0), 6.0), 1 / 6))


def _sigmoid(e: Any, x: Any, a: Any, b: Any) -> Any:
    return _logistic(e, e.fmul(x, -LOG2_E))


def _silu(e: Any, x: Any, a: Any, b: Any) -> Any:
    gate = _logistic(e, e.fmul(e.fmul(a, x), -LOG2_E))
    return e.fmul(e.select(e.less(0, e.bits(gate)), x, 1.0), gate)  # an infinity times 0 would be no number


def _tanh(e: Any, x: Any, a: Any, b: Any) -> Any:
    size = _absolute(e, x)
    gate = _reciprocal(e, e.fadd(_exp2(e, e.fmul(size, 2 * LOG2_E)), 1.0))
    far = e.as_float(e.or_(e.bits(e.fma(-2.0, gate, 1.0)), e.and_(e.bits(x), _SIGN)))
    near = e.fmul(x, _polynomial(e, e.fmul(x, x), _TANH))
    return e.select(e.less(e.bits(size), _word(_TANH_BELOW)), near, far)


def _elu(e: Any, x: Any, a: Any, b: Any) -> Any:
    return e.select(_positive(e, x), x, e.fmul(a, _expm1(e, e.fmul(b, x))))


def _selu(e: Any, x: Any, a: Any, b: Any) -> Any:
    return e.fmul(a, e.select(_positive(e, x), x, e.fmul(b, _expm1(e, x))))


def _gelu(e: Any, x: Any, a: Any, b: Any) -> Any:
    x = e.op("max", x, -15.0)  # gelu(-15) is below the least float32
    y = e.op("min", _absolute(e, x), 15.0)
    t = _reciprocal(e, e.fma(y, PHI_RATE, 1.0))
    tail = e.fmul(_exp2(e, e.fmul(e.fmul(y, y), -LOG2_E / 2)), e.fmul(t, _polynomial(e, t, PHI)))
    return e.fmul(x, e.select(_positive(e, x), e.fsub(1.0, tail), tail))


def _gelu_tanh(e: Any, x: Any, a: Any, b: Any) -> Any:
    x = e.op("max", x, -15.0)  # beyond 15 the gate is 0 or 1, and cubes overflow
    y = e.op("min", x, 15.0)
    rate = -2.0 * math.sqrt(2.0 / math.pi) * LOG2_E
    return e.fmul(x, _logistic(e, e.fmul(y, e.fma(e.fmul(y, y), rate * 0.044715, rate))))


def _mish(e: Any, x: Any, a: Any, b: Any) -> Any:
    # tanh(log(1 + E)) with E = exp(x) is p / (p + 2), p = E (E + 2); from 20 on it is 1
    x = e.op("max", x, -87.0)
    power = _exp2(e, e.fmul(e.op("min", x, 20.0), LOG2_E))
    p = e.fmul(power, e.fadd(power, 2.0))
    return e.fmul(x, e.fmul(p, _reciprocal(e, e.fadd(p, 2.0))))


_EMITTERS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "none": _none,
    "relu": _relu,
    "clamp": _clamp,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "silu": _silu,
    "hard_swish": _hard_swish,
    "tanh": _tanh,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "mish": _mish,
}


def _positive(e: Any, x: Any) -> Any:
    """Whether the sign bit is clear."""
    return e.less(e.bits(x), _SIGN)


def _absolute(e: Any, x: Any) -> Any:
    return e.as_float(e.and_(e.bits(x), _SIGN - 1))


def _word(x: float) -> int:
    """The bits of a float32; those of positive numbers compare as the numbers do."""
    return int(np.float32(x).view(np.uint32))


def _exp2(e: Any, x: Any) -> Any:
    return e.op("exp2_approx", x)


def _reciprocal(e: Any, x: Any) -> Any:
    return e.op("reciprocal_approx", x)


def _logistic(e: Any, x: Any) -> Any:
    """1 / (1 + 2^x)."""
    return _reciprocal(e, e.fadd(_exp2(e, x), 1.0))


def _expm1(e: Any, x: Any) -> Any:
    """exp(x) - 1 for x <= 0: 2 t / (1 - t) with t = tanh(x / 2), where nothing cancels."""
    t = _tanh(e, e.fmul(x, 0.5), None, None)
    return e.fmul(e.fmul(t, 2.0), _reciprocal(e, e.fsub(1.0, t)))


def _polynomial(e: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    """Horner's rule, the highest power first."""
    total: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        total = e.fma(total, x, coefficient)
    return total
