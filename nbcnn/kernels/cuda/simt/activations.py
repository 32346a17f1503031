"""Activations in float32, for the epilogue of any plain kernel.

They mean what `nbcnn.kernels.activation_ids` says. NaN gives NaN (0 where a threshold decides, as in ONNX);
finite arguments and infinities never do, but for the roots and logarithms of negative numbers. Each
constant is a typed float32: a Python number would make the expression float64, at 1/64 of the speed or less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from nbcnn.kernels.coefficients import PHI, PHI_RATE
from nbcnn.runtime.cuda.launcher import simulated

if simulated():

    def _rounded_once(function: Callable[[float], float]) -> Callable[[Any], Any]:
        """The function on a float32; unlike Python's own, NumPy's give infinities where a GPU's do."""
        return lambda x: np.float32(function(np.float64(x)))

    _exp, _expm1, _log, _log1p = map(_rounded_once, (np.exp, np.expm1, np.log, np.log1p))
    _tanh, _erf = map(_rounded_once, (np.tanh, math.erf))
    _floor, _ceil, _rint, _sqrt = np.floor, np.ceil, np.rint, np.sqrt
else:
    from numba.cuda import libdevice

    _exp, _expm1, _log, _log1p, _tanh = math.exp, math.expm1, math.log, math.log1p, math.tanh
    _floor, _ceil, _rint, _sqrt, _erf = math.floor, math.ceil, libdevice.rintf, math.sqrt, math.erf

_0, _1, _2, _3, _6, _15, _20 = (np.float32(n) for n in (0, 1, 2, 3, 6, 15, 20))
_HALF, _SIXTH = np.float32(0.5), np.float32(1 / 6)
_FAR = np.float32(88.0)
"""exp(88) is finite, and one over it about 0."""
_HUGE = np.float32(2.0**127)
_RATE = np.float32(2 * math.sqrt(2 / math.pi))
_CUBIC = np.float32(2 * math.sqrt(2 / math.pi) * 0.044715)
_PHI, _PHI_RATE = tuple(np.float32(c) for c in PHI), np.float32(PHI_RATE)


def _device(function: Callable[..., Any]) -> Any:
    """``function`` for the device; in the simulator without warnings of what a GPU does silently."""
    return cuda.jit(device=True, inline="always")(
        np.errstate(all="ignore")(function) if simulated() else function
    )


@_device
def _above(x, low):
    """max(x, low), NaN for NaN."""
    return low if x < low else x


@_device
def _below(x, high):
    """min(x, high), NaN for NaN."""
    return high if x > high else x


@_device
def _gate(x):
    return _1 / (_1 + _exp(-x))


@_device
def _tail(y):
    """Phi(-y) of the normal distribution, 0 <= y <= 15."""
    t = _1 / (_1 + _PHI_RATE * y)
    p = _PHI[0]
    p = p * t + _PHI[1]
    p = p * t + _PHI[2]
    p = p * t + _PHI[3]
    p = p * t + _PHI[4]
    p = p * t + _PHI[5]
    p = p * t + _PHI[6]
    p = p * t + _PHI[7]
    p = p * t + _PHI[8]
    return _exp(-_HALF * (y * y)) * (t * p)


def _none(x, a, b):
    return x


def _clamp(x, a, b):
    return _below(_above(x, a), b)


def _leaky_relu(x, a, b):
    return x * a if x < _0 else x


def _elu(x, a, b):
    return a * _expm1(x * b) if x < _0 else x


def _sigmoid(x, a, b):
    return _gate(x)


def _tangent(x, a, b):
    return _tanh(x)


def _silu(x, a, b):
    y = _above(x, -_FAR)  # -inf / inf would be no number
    return y / (_1 + _exp(-y))


def _swish(x, a, b):
    # Where a * x is -inf the gate is 0, and x is made finite: the limit of the product is 0.
    gate = _gate(a * x)
    return (x if gate > _0 else _1) * gate


def _hard_sigmoid(x, a, b):
    return _below(_above(a * x + b, _0), _1)


def _hard_swish(x, a, b):
    y = _above(x, -_3)
    return (y * _SIXTH) * _below(y + _3, _6)


def _gelu(x, a, b):
    y = _above(x, -_15)  # gelu(-15) is below the least float32
    tail = _tail(_below(abs(y), _15))
    return y * (tail if y < _0 else _1 - tail)


def _gelu_tanh(x, a, b):
    # (1 + tanh(u)) / 2 is sigmoid(2u). Beyond 15 the sigmoid is 0 or 1, and cubes overflow.
    y = _above(x, -_15)
    z = _below(y, _15)
    return y * _gate(z * (_RATE + _CUBIC * (z * z)))


def _selu(x, a, b):
    return a * (b * _expm1(x) if x < _0 else x)


def _softplus(x, a, b):
    return _above(x, _0) + _log1p(_exp(-abs(x)))


def _softsign(x, a, b):
    y = _below(_above(x, -_HUGE), _HUGE)  # the limit at infinity is the sign; here it is reached
    return y / (_1 + abs(y))


def _mish(x, a, b):
    # tanh(log(1 + E)) with E = exp(x) is p / (p + 2), p = E (E + 2); from 20 on it is 1.
    y = _above(x, -_FAR)
    e = _exp(_below(y, _20))
    p = e * (e + _2)
    return y * (p / (p + _2))


def _thresholded_relu(x, a, b):
    return x if x > a else _0


def _shrink(x, a, b):
    return x + b if x < -a else (x - b if x > a else _0)


def _abs(x, a, b):
    return abs(x)


def _neg(x, a, b):
    return -x


def _sign(x, a, b):
    return _1 if x > _0 else (-_1 if x < _0 else x)


def _floored(x, a, b):
    return _floor(x)


def _ceiled(x, a, b):
    return _ceil(x)


def _rounded(x, a, b):
    return _rint(x)


def _reciprocal(x, a, b):
    return _1 / x


def _root(x, a, b):
    return _sqrt(x)


def _exponential(x, a, b):
    return _exp(x)


def _logarithm(x, a, b):
    return _log(x)


def _error_function(x, a, b):
    return _erf(x)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "none": _none,
    "clamp": _clamp,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": _sigmoid,
    "tanh": _tangent,
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
    "floor": _floored,
    "ceil": _ceiled,
    "round": _rounded,
    "reciprocal": _reciprocal,
    "sqrt": _root,
    "exp": _exponential,
    "log": _logarithm,
    "erf": _error_function,
    "swish": _swish,
}


@cache
def activation(name: str) -> Any:
    """The device function ``f(x, a, b) -> float32`` of an activation; all three are float32."""
    return _device(_FUNCTIONS[name])
