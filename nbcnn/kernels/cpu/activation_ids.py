"""Codes of the activations that kernels apply while their result is in registers.

A code is a compile-time constant of a kernel (``ACT``); ``a`` and ``b`` are its two float32
arguments at run time, so that networks which differ in them share compiled kernels.  The code that
emits them is ``nbcnn/kernels/cpu/code/activations.py``; this file imports nothing, so that kernel
records can name an activation without loading the compiler.
"""

ACTIVATIONS: dict[str, int] = {
    "none": 0,  # x
    "clamp": 1,  # min(max(x, a), b); relu: (0, inf), relu6: (0, 6), none: (-inf, inf)
    "leaky_relu": 2,  # x if x >= 0 else a * x
    "elu": 3,  # x if x >= 0 else a * (exp(x) - 1)
    "sigmoid": 4,  # 1 / (1 + exp(-x))
    "tanh": 5,
    "silu": 6,  # x * sigmoid(x)
    "hard_sigmoid": 7,  # min(max(a * x + b, 0), 1)
    "hard_swish": 8,  # x * min(max(x + 3, 0), 6) / 6
    "gelu": 9,  # x * (1 + erf(x / sqrt(2))) / 2
    "gelu_tanh": 10,  # x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))
}
"""Activation name -> code."""
