"""Float64 formulas of the activations, and the error each kernel may make."""

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


# name -> (float64 formula, bound in ulps of max(|f|, TINY))
CASES = {
    "none": (lambda x: x, 0),
    "clamp": (lambda x: np.clip(x, A, B), 0),
    "leaky_relu": (lambda x: np.where(x < 0, x * float(A), x), 0.5),
    "elu": (lambda x: np.where(x < 0, float(A) * np.expm1(np.minimum(x, 0)), x), 3),
    "sigmoid": (sigmoid, 3),
    "tanh": (np.tanh, 3),
    "silu": (lambda x: np.maximum(x, -1e4) * sigmoid(x), 4),
    "hard_sigmoid": (lambda x: np.clip(float(A) * x + float(B), 0, 1), 1.5),
    "hard_swish": (lambda x: np.maximum(x, -3) * np.clip(x + 3, 0, 6) / 6, 3),
    "gelu": (gelu, 6),
    "gelu_tanh": (gelu_tanh, 6),
}
