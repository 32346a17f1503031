"""What precisions of a device mean for a test."""

from __future__ import annotations

import numpy as np

from nbcnn.kernels.cuda.packing import from_kind, to_kind
from nbcnn.target import STORED as KINDS

ROUNDOFF = {"f32": 0.0, "f16": 2.0**-11, "bf16": 2.0**-8}
"""Unit roundoff of the types that images are stored in, beside that of float32 in which all is computed."""

NARROW = ("float16", "bfloat16")
"""Precisions that store images in fewer bits."""


def stored(precision: str) -> float:
    """Unit roundoff of images at a precision, as `reference.excess` takes it."""
    return ROUNDOFF[KINDS[precision]]


def representable(inputs: dict[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """Inputs that images hold just as they are, so that no node is charged with rounding them."""
    kind = KINDS[precision]
    return {
        name: from_kind(kind, to_kind(kind, x)).astype(np.float32) if x.dtype == np.float32 else x
        for name, x in inputs.items()
    }
