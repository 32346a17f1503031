"""Tensor cores in NumPy: fragments to matrices, exact products, sums truncated to float32 (s8: exact)."""

from __future__ import annotations

import numpy as np


def values(kind: str, words: np.ndarray) -> np.ndarray:
    """Rows of uint32 words as rows of float64, which holds every product exactly; TF32 ignores 13 bits."""
    words = np.ascontiguousarray(words)
    match kind:
        case "f16":
            return words.view(np.float16).astype(np.float64)
        case "bf16":
            return (words.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        case "s8":
            return words.view(np.int8).astype(np.float64)
    return (words & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def truncate(exact: np.ndarray) -> np.ndarray:
    """Float64 to float32, rounded toward zero: at least as bad as tensor cores round."""
    near = exact.astype(np.float32)
    beyond = np.abs(near.astype(np.float64)) > np.abs(exact)
    return np.where(beyond & np.isfinite(near), np.nextafter(near, np.float32(0)), near)


def add_product(kind: str, total: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``total + a @ b.T`` for rows of words."""
    product = values(kind, a) @ values(kind, b).T
    if kind == "s8":
        return np.clip(total.astype(np.float64) + product, -(2**31), 2**31 - 1).astype(np.int32)
    return truncate(total.astype(np.float64) + product)


def mma(kind: str, operands: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """``mma.sync`` m16n8: registers of 32 lanes, 4 of A, 2 of B, 4 of C. A register is 8 rows of 16 bytes."""
    a = join_fragment(operands[:4])
    b = np.stack(operands[4:6]).reshape(2, 8, 4).transpose(1, 0, 2).reshape(8, 8)
    return split_rows(add_product(kind, join_rows(operands[6:]), a, b))


def join_fragment(registers: list[np.ndarray]) -> np.ndarray:
    """Four registers of A as 16 rows of 32 bytes: halves of rows, then row / 8, vary."""
    return np.stack(registers).reshape(2, 2, 8, 4).transpose(1, 2, 0, 3).reshape(16, 8)


def join_rows(registers: list[np.ndarray]) -> np.ndarray:
    """Registers of accumulators (4 for each 8 columns) as a matrix of 16 rows."""
    fields = np.stack(registers).reshape(-1, 2, 2, 8, 4)  # columns / 8, row / 8, column % 2, row % 8, pair
    return fields.transpose(1, 3, 0, 4, 2).reshape(16, -1)


def split_rows(matrix: np.ndarray) -> tuple[np.ndarray, ...]:
    """The inverse of `join_rows`."""
    fields = matrix.reshape(2, 8, -1, 4, 2).transpose(2, 0, 4, 1, 3)
    return tuple(fields.reshape(-1, 32))
