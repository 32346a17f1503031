"""What estimates of kernels have in common: bytes that are moved, activations, the start of a call.

Fitted to the least times of the steps of 17 networks on one thread of an AMD Zen 5 (16 lanes, 1 MiB of L2,
32 MiB of L3): within 10 % for most kernels that only move values, within 25 % for nearly all. Activations
were timed alone over 64x28x28 values in L2.
"""

from __future__ import annotations

from collections.abc import Iterable

from nbcnn.ir.types import TensorType
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import F32, nhwc, round_up
from nbcnn.target import Target

CALL = 0.3e-6
"""Seconds of a call that does nothing: its arguments, its first branches."""

FAR = 3.5e-12
"""Seconds for each byte that does not stay in half of L2, beyond those that it takes there."""

ACTIVATION = {
    "sigmoid": 1.0e-9,
    "silu": 1.1e-9,
    "swish": 1.1e-9,
    "elu": 1.2e-9,
    "selu": 1.3e-9,
    "exp": 1.4e-9,
    "mish": 1.7e-9,
    "tanh": 1.8e-9,
    "gelu_tanh": 1.8e-9,
    "gelu": 3.4e-9,
    "log": 3.5e-9,
    "erf": 4.5e-9,
    "softplus": 10.8e-9,
}
"""Seconds for a vector of values; of those that are not listed, nearly none."""


def nbytes(types: Iterable[TensorType], lanes: int) -> int:
    """Bytes of values at batch 1, whose channels fill whole vectors."""
    total = 0
    for type_ in types:
        image = nhwc(type_).image
        total += F32 * round_up(image[0], lanes) * image[1] * image[2] if image else type_.nbytes()
    return total


def far(moved: int, target: Target, rate: float = FAR) -> float:
    """Seconds that ``moved`` bytes take beyond those that they would in L2."""
    return rate * max(moved - target.l2 // 2, 0)


def streamed(types: Iterable[TensorType], target: Target, near: float) -> float:
    """Seconds of a call that reads or writes values once; ``near`` is the time of a byte in L2."""
    moved = nbytes(types, target.lanes)
    return CALL + near * moved + far(moved, target)


def activated(type_: TensorType, tail: Epilogue, target: Target) -> float:
    """Seconds of the activation of ``tail`` over a value."""
    return ACTIVATION.get(tail.activation, 0.0) * nbytes((type_,), target.lanes) / (F32 * target.lanes)
