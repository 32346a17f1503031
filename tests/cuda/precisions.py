"""What precisions of a device mean for a test."""

from __future__ import annotations

import numpy as np

from nbcnn.kernels.cuda.packing import from_kind, to_kind
from nbcnn.target import STORED as KINDS

ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Unit roundoff of what images are stored in, where that is not float32."""


def representable(inputs: dict[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """Inputs that images hold just as they are, so that no node is charged with rounding them."""
    kind = KINDS[precision]
    return {
        name: from_kind(kind, to_kind(kind, x)).astype(np.float32) if x.dtype == np.float32 else x
        for name, x in inputs.items()
    }
