"""Activations in float32, for the epilogue of any plain kernel.

They mean what `nbcnn.kernels.activation_ids` says. NaN gives NaN (0 where a threshold decides, as in ONNX);
finite arguments and infinities never do, but for the roots and logarithms of negative numbers. Each
constant is a typed float32: a Python number would make the whole expression float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from nbcnn.kernels.coefficients import PHI, PHI_RATE
from nbcnn.kernels.cuda.simt.elementary import ceil, erf, exp, expm1, floor, log, log1p, rint, sqrt, tanh

_0, _1, _2, _3, _6, _15, _20 = (np.float32(n) for n in (0, 1, 2, 3, 6, 15, 20))
_HALF, _SIXTH = np.float32(0.5), np.float32(1 / 6)
_FAR = np.float32(88.0)
"""exp(88) is finite, and one over it about 0."""
_HUGE = np.float32(2.0**127)
_RATE = np.float32(2 * math.sqrt(2 / math.pi))
_CUBIC = np.float32(2 * math.sqrt(2 / math.pi) * 0.044715)
_PHI, _PHI_RATE = tuple(np.float32(c) for c in PHI), np.float32(PHI_RATE)


_device = cuda.jit(device=True, inline="always")


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
    return _1 / (_1 + exp(-x))


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
    return exp(-_HALF * (y * y)) * (t * p)


def _none(x, a, b):
    return x


def _clamp(x, a, b):
    return _below(_above(x, a), b)


def _leaky_relu(x, a, b):
    return x * a if x < _0 else x


def _elu(x, a, b):
    return a * expm1(x * b) if x < _0 else x


def _sigmoid(x, a, b):
    return _gate(x)


def _tanh(x, a, b):
    return tanh(x)


def _silu(x, a, b):
    y = _above(x, -_FAR)  # -inf / inf would be no number
    return y / (_1 + exp(-y))


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
    return a * (b * expm1(x) if x < _0 else x)


def _softplus(x, a, b):
    return _above(x, _0) + log1p(exp(-abs(x)))


def _softsign(x, a, b):
    y = _below(_above(x, -_HUGE), _HUGE)  # the limit at infinity is the sign; here it is reached
    return y / (_1 + abs(y))


def _mish(x, a, b):
    # tanh(log(1 + E)) with E = exp(x) is p / (p + 2), p = E (E + 2); from 20 on it is 1.
    y = _above(x, -_FAR)
    e = exp(_below(y, _20))
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


def _floor(x, a, b):
    return floor(x)


def _ceil(x, a, b):
    return ceil(x)


def _round(x, a, b):
    return rint(x)


def _reciprocal(x, a, b):
    return _1 / x


def _sqrt(x, a, b):
    return sqrt(x)


def _exp(x, a, b):
    return exp(x)


def _log(x, a, b):
    return log(x)


def _erf(x, a, b):
    return erf(x)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
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
    "swish": _swish,
}


@cache
def activation(name: str) -> Any:
    """The device function ``f(x, a, b) -> float32`` of an activation; all three are float32."""
    return _device(_FUNCTIONS[name])
