"""Weights and constants as the kernels read them. NumPy has no bfloat16: its bits travel as uint16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nbcnn.kernels.cuda.shapes import KINDS, ConvMma

BLOCK = 1 << 14
"""Elements that are converted at a time."""


def to_kind(kind: str, values: np.ndarray) -> np.ndarray:
    """Values in the type that ``kind`` has in memory: rounded to nearest even; s8 rounded and saturated."""
    match kind:
        case "f16":
            return values.astype(np.float16)
        case "bf16":
            return to_bfloat16(values)
        case "s8":
            return np.clip(np.rint(values), -128, 127).astype(np.int8)
    return values.astype(np.float32)


def from_kind(kind: str, values: np.ndarray) -> np.ndarray:
    """The inverse of `to_kind`, in float64."""
    if kind == "bf16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16, ties to even; NaN stays NaN."""
    values = np.ascontiguousarray(values, np.float32)
    bits = values.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def round_tf32(values: np.ndarray) -> np.ndarray:
    """Float32 with the low 13 bits of the significand rounded off, ties away from zero (``cvt.rna.tf32``)."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    finite = (bits & 0x7F800000) != 0x7F800000
    return np.where(finite, (bits + 0x1000) & 0xFFFFE000, bits).view(np.float32)


def conv_weights(kind: str, weights: np.ndarray) -> np.ndarray:
    """[K, C, R, S] to [K, R, S, C] of ``kind``, C and K filled up with zeros to 16-byte vectors.

    ``kind`` tf32 rounds here what the tensor core would truncate. In groups, C is that of one group, and
    must be whole vectors.
    """
    vector = 16 // KINDS[kind].size
    k, c, r, s = weights.shape
    packed = np.zeros((k + -k % vector, r, s, c + -c % vector), to_kind(kind, np.zeros(1)).dtype)
    for part in _blocks(k, c * r * s):
        values = to_kind(kind, np.ascontiguousarray(weights[part].transpose(0, 2, 3, 1)))
        packed[part, ..., :c] = round_tf32(values) if kind == "tf32" else values
    return packed


def _blocks(rows: int, width: int) -> Iterator[slice]:
    """Parts of ``rows`` rows of ``width`` elements that are small enough for a cache."""
    step = max(BLOCK // max(width, 1), 1)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def spread(filters: np.ndarray, merge: int, groups: int) -> np.ndarray:
    """[K, C of a group, ...] with every ``merge`` of the groups as one: zeros where they do not meet."""
    if merge == 1:
        return filters
    k, c, *rest = filters.shape
    wide = np.zeros((groups // merge, merge, k // groups, merge, c, *rest), filters.dtype)
    own = np.arange(merge)
    wide[:, own, :, own] = filters.reshape(groups // merge, merge, k // groups, c, *rest).swapaxes(0, 1)
    return wide.reshape(k, merge * c, *rest)


def split_tf32(packed: np.ndarray) -> np.ndarray:
    """Float32 as the sum of two TF32 numbers, [2, ...]: high parts, then low parts (`conv_wgmma_f32`)."""
    parts = np.empty((2, *packed.shape), np.float32)
    for block in _blocks(len(packed), packed[0].size):
        parts[0, block] = high = round_tf32(packed[block])
        parts[1, block] = round_tf32(packed[block] - high)
    return parts


def pixel_weights(config: ConvMma, weights: np.ndarray) -> np.ndarray:
    """[K, C <= 4, R, S] to [K, taps, 4] for ``config.pixels4``; taps filled up to whole steps."""
    k, c, r, s = weights.shape
    if c > 4:
        raise ValueError(f"pixels of 4 channels cannot hold {c}")
    vector, step = 16 // KINDS[config.kind].size, config.bk // 4
    packed = np.zeros((-(-k // vector) * vector, -(-r * s // step) * step, 4), weights.dtype)
    packed[:k, : r * s, :c] = weights.transpose(0, 2, 3, 1).reshape(k, r * s, c)
    packed = to_kind(config.kind, packed)
    return round_tf32(packed) if config.kind == "tf32" else packed


def bias_vector(bias: np.ndarray | None, filters: int, vector: int) -> np.ndarray:
    """Float32, one for each of ``filters``, zeros where there are none, filled up to whole vectors."""
    packed = np.zeros(-(-filters // vector) * vector, np.float32)
    if bias is not None:
        packed[:filters] = bias
    return packed


def depthwise_weights(kind: str, weights: np.ndarray) -> np.ndarray:
    """[C, 1, R, S] to [R, S, C] of ``kind``, C filled up with zeros to 16-byte vectors."""
    padded = np.pad(weights[:, 0], ((0, -len(weights) % (16 // KINDS[kind].size)), (0, 0), (0, 0)))
    return np.ascontiguousarray(to_kind(kind, padded.transpose(1, 2, 0)))
