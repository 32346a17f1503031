"""Seeded weights for a model without a weights file.

Each weight is drawn by itself from a counter-based generator keyed by (seed, name): the same bits
on every machine, in any order, and only when it is read. Only raw 32-bit words are taken from
NumPy (its distributions may change between versions; the words may not).

Ranges are chosen so that activations keep their size through deep networks: He's bound for
products, and batch-norm statistics that are far from the identity, so that folding them is
exercised, yet damp each branch of a residual network a little.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from nbcnn.errors import ModelFileError
from nbcnn.ir.types import TensorType

CHUNK = 1 << 16

RANGES: dict[str, tuple[float, float]] = {
    "zeros": (0.0, 0.0),
    "ones": (1.0, 1.0),
    "bias": (-0.1, 0.1),
    "scale": (0.7, 1.0),
    "running_mean": (-0.2, 0.2),
    "running_var": (0.5, 1.5),
}
"""Bounds of the uniform distribution that each kind of weight is drawn from; ``he`` depends on the shape."""


def draw(kind: str, type_: TensorType, name: str, seed: int = 0) -> np.ndarray:
    """The weight called ``name`` of a model with ``seed``; ``kind`` as in `nbcnn.ir.Param.init`."""
    shape = type_.extents()
    if kind == "he":  # uniform with He's variance, 2 / fan-in: half the price of the normal one
        bound = math.sqrt(6.0 / max(1, math.prod(shape[1:])))
        low, high = -bound, bound
    elif kind in RANGES:
        low, high = RANGES[kind]
    else:
        raise ModelFileError(f"weight '{name}' has the unknown initialiser '{kind}'")
    if low == high:
        return np.full(shape, low, type_.dtype)
    count = math.prod(shape)
    key = int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest(), "little")
    stream = np.random.Philox(key=key)
    values = np.empty(count, np.float32)
    for start in range(0, count, CHUNK):  # in the cache: a large weight costs one pass over memory
        part = values[start : start + CHUNK]
        words = stream.random_raw((part.size + 1) // 2).astype("<u8", copy=False).view("<u4")
        np.multiply(words[: part.size], np.float32((high - low) / 2**32), out=part, casting="unsafe")
        part += np.float32(low)
    return values.reshape(shape).astype(type_.dtype, copy=False)
