"""Codes of the activations that kernels apply while their result is in registers, and of binary operators.

A code is a compile-time constant of a kernel (``ACT``); ``a`` and ``b`` are its two float32
arguments at run time, so that networks which differ in them share compiled kernels.  The code that
emits them is ``nbcnn/kernels/cpu/code/activations.py``; this file imports nothing, so that kernel
records can name an activation without loading the compiler.
"""

ACTIVATIONS: dict[str, int] = {
    "none": 0,  # x
    "clamp": 1,  # min(max(x, a), b); relu: (0, inf), relu6: (0, 6), none: (-inf, inf)
    "leaky_relu": 2,  # x if x >= 0 else a * x
    "elu": 3,  # x if x >= 0 else a * (exp(b * x) - 1), b > 0; celu: b is 1 / a
    "sigmoid": 4,  # 1 / (1 + exp(-x))
    "tanh": 5,
    "silu": 6,  # x * sigmoid(x)
    "hard_sigmoid": 7,  # min(max(a * x + b, 0), 1)
    "hard_swish": 8,  # x * min(max(x + 3, 0), 6) / 6
    "gelu": 9,  # x * (1 + erf(x / sqrt(2))) / 2
    "gelu_tanh": 10,  # x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))
    "selu": 11,  # a * (x if x >= 0 else b * (exp(x) - 1))
    "softplus": 12,  # log(1 + exp(x))
    "softsign": 13,  # x / (1 + |x|)
    "mish": 14,  # x * tanh(softplus(x))
    "thresholded_relu": 15,  # x if x > a else 0
    "shrink": 16,  # x + b if x < -a, x - b if x > a, else 0
    "abs": 17,
    "neg": 18,
    "sign": 19,
    "floor": 20,
    "ceil": 21,
    "round": 22,  # to the even one of two
    "reciprocal": 23,
    "sqrt": 24,
    "exp": 25,
    "log": 26,
    "erf": 27,
    "swish": 28,  # x * sigmoid(a * x)
}
"""Activation name -> code."""

BINARIES: dict[str, int] = {
    name: code for code, name in enumerate(("add", "mul", "sub", "div", "minimum", "maximum", "prelu"))
}
"""Operator on two values -> code."""
