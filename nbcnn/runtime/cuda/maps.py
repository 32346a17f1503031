"""Tensor maps as data: what the TMA unit is told of a tensor. Encoded for a driver or read by an emulator.

Reference: cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col of the CUDA driver API. Extents, boxes and
coordinates begin with the innermost dimension; ``pitches`` are bytes and leave out the innermost. Rows
are swizzled over 128 bytes; what lies outside the extents reads as zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tiled:
    """Boxes of a tensor of ``len(extents)`` dimensions; ``size`` bytes an element."""

    address: Any
    kind: str
    size: int
    extents: tuple[int, ...]
    pitches: tuple[int, ...]
    box: tuple[int, ...]


@dataclass(frozen=True)
class Im2col:
    """``pixels`` windows of NHWC, ``channels`` each, from a box of corners that are ``strides`` apart.

    Corners run from ``lower`` to ``extent - 1 + upper``, both (w, h), along w, then h, then n.
    """

    address: Any
    kind: str
    size: int
    extents: tuple[int, int, int, int]  # C, W, H, N
    pitches: tuple[int, int, int]
    lower: tuple[int, int]
    upper: tuple[int, int]
    strides: tuple[int, int]
    channels: int
    pixels: int
