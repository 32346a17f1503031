"""Float64 formulas of the activations, and the error each kernel may make, of any target."""

from __future__ import annotations

import math

import numpy as np

A, B = np.float32(0.3), np.float32(0.6)  # arguments, where an activation takes them
GELU_RATE = 2 * math.sqrt(2 / math.pi)
erfc = np.vectorize(math.erfc, otypes=[np.float64])


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def gelu(x):
    x = np.maximum(x, -40)
    return x * 0.5 * erfc(-x / math.sqrt(2))


def gelu_tanh(x):
    u = GELU_RATE * (x + 0.044715 * x**3)
    return np.maximum(x, -1e4) * sigmoid(u)


def mish(x):
    e = np.exp(-np.abs(x))
    p = np.where(x > 0, 1 + 2 * e, e * (e + 2))
    return np.maximum(x, -1e4) * p / (p + np.where(x > 0, 2 * e * e, 2))


def softsign(x):
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


# name -> (float64 formula, bound in ulps of max(|f|, TINY))
CASES = {
    "none": (lambda x: x, 0),
    "clamp": (lambda x: np.clip(x, A, B), 0),
    "leaky_relu": (lambda x: np.where(x < 0, x * float(A), x), 0.5),
    "elu": (lambda x: np.where(x < 0, float(A) * np.expm1(np.minimum(x, 0) * float(B)), x), 3.5),
    "sigmoid": (sigmoid, 3),
    "tanh": (np.tanh, 3.5),
    "silu": (lambda x: np.maximum(x, -1e4) * sigmoid(x), 3),
    "swish": (lambda x: np.maximum(x, -1e4) * sigmoid(float(A) * x), 4),
    "hard_sigmoid": (lambda x: np.clip(float(A) * x + float(B), 0, 1), 1.5),
    "hard_swish": (lambda x: np.maximum(x, -3) * np.clip(x + 3, 0, 6) / 6, 3),
    "gelu": (gelu, 4),
    "gelu_tanh": (gelu_tanh, 7),
    "selu": (lambda x: float(A) * np.where(x < 0, float(B) * np.expm1(np.minimum(x, 0)), x), 4),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 3),
    "softsign": (softsign, 1.5),
    "mish": (mish, 4),
    "thresholded_relu": (lambda x: np.where(x > A, x, 0), 0),
    "shrink": (lambda x: np.where(x < -A, x + float(B), np.where(x > A, x - float(B), 0)), 0.5),
    "abs": (np.abs, 0),
    "neg": (np.negative, 0),
    "sign": (np.sign, 0),
    "floor": (np.floor, 0),
    "ceil": (np.ceil, 0),
    "round": (np.rint, 0),
    "reciprocal": (np.reciprocal, 0.5),
    "sqrt": (np.sqrt, 0.5),
    "exp": (np.exp, 1.5),
    "log": (np.log, 3),
    "erf": (np.vectorize(math.erf, otypes=[np.float64]), 3.5),
}

# Those whose tail is an exponential: their bounds are so many ulps times 1 + |ln f(x)| / 2.
SCALED = ("sigmoid", "silu", "swish", "gelu", "gelu_tanh", "mish")

TINY = 2.0**-100


def check(name, x, got, more=0):
    """Assert that ``got``, activation ``name`` of all ``x`` in float32, lies within its bound.

    ``more`` ulps are granted to those that are not exact or rounded once.
    """
    formula, bound = CASES[name]
    bound += more if bound > 0.5 else 0
    with np.errstate(all="ignore"):
        want = formula(x.astype(np.float64))
        infinite = want.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want) & (np.abs(want) < 3.4e38)
    np.testing.assert_array_equal(got[~finite & ~np.isnan(x)], infinite[~finite & ~np.isnan(x)])
    x, got, want = x[finite].astype(np.float64), got[finite], want[finite]
    size = np.maximum(np.abs(want), TINY)
    if name == "hard_sigmoid":  # the sum a x + b may cancel
        size = np.where(want == np.clip(want, 1e-9, 1 - 1e-9), np.abs(A * x) + B, size)
    ulp = 2.0 ** (np.floor(np.log2(size)) - 23)
    error = np.abs(got - want) / ulp
    if name in SCALED:  # exp(u) multiplies a relative error of u by u
        error /= 1 + 0.5 * np.abs(np.log(size))
    worst = error.argmax()
    assert error[worst] <= bound, (error[worst], x[worst], got[worst], want[worst])
