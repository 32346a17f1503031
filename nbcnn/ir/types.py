"""Types of values: a logical shape (NCHW for images) and a dtype, never a memory layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Dim = int | str
"""An extent: a number, or a symbol that is bound later (``N``, the batch, at each call)."""

BATCH = "N"
"""The symbol of the batch, the one symbol that may still be unbound when a graph is compiled."""

FLOATS = ("float32", "float64", "float16", "bfloat16")

DTYPES = (
    *FLOATS,
    *("int64", "int32", "int16", "int8"),
    *("uint64", "uint32", "uint16", "uint8"),
    "bool",
)

PACKED = {
    **{"float8_e4m3fn": 8, "float8_e5m2": 8, "float4_e2m1fn": 4},
    **{"int4": 4, "uint4": 4, "int2": 2, "uint2": 2},
}
"""Dtypes that weights are kept in and never computed in, with their bits in a file (here a byte each)."""


def is_float(dtype: np.dtype) -> bool:
    """Whether ``dtype`` is one of floats: bfloat16 too, which NumPy does not count among them."""
    return dtype.name in FLOATS


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a value: ``TensorType(("N", 3, 224, 224))`` is a batch of RGB images in float32."""

    shape: tuple[Dim, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.dtype == "bfloat16" or self.dtype in PACKED:
            import ml_dtypes  # noqa: F401  # numpy.dtype("bfloat16") exists once it is imported

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def floating(self) -> bool:
        """Whether the elements are floats."""
        return self.dtype in FLOATS

    def bind(self, symbols: Mapping[str, int]) -> TensorType:
        """The same type with the symbols that ``symbols`` names replaced by their extents."""
        return TensorType(
            tuple(symbols.get(d, d) if isinstance(d, str) else d for d in self.shape), self.dtype
        )

    def symbols(self) -> set[str]:
        return {d for d in self.shape if isinstance(d, str)}

    def elements(self, batch: int = 1) -> int:
        """Number of elements at batch size ``batch``; every other extent must be a number."""
        return math.prod(self.extents(batch))

    def extents(self, batch: int = 1) -> tuple[int, ...]:
        """The shape in numbers at batch size ``batch``."""
        return tuple(batch if d == BATCH else int(d) for d in self.shape)

    def nbytes(self, batch: int = 1) -> int:
        """Bytes of a dense array of this type at batch size ``batch``."""
        return self.elements(batch) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"
