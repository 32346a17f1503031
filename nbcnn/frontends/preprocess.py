"""From an image file to the array that a model takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes a model's input: resize, crop the centre, ``(pixel * scale - mean) / std``.

    ``resize`` is the shorter side or (height, width), by default that of the model's input;
    ``mean`` and ``std`` are one number or one per channel, pixels 0..255 times ``scale``.
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    scale: float = 1 / 255
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    color: Literal["rgb", "gray"] | None = None
    filter: Literal["bilinear", "bicubic", "box", "nearest"] = "bilinear"
