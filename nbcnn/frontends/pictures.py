"""Pictures of what a model found: classes painted over the image, boxes around things."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nbcnn.errors import ModelFileError
from nbcnn.frontends.boxes import Box
from nbcnn.frontends.masks import UNSEEN, Mask, Segmentation

if TYPE_CHECKING:
    from PIL.Image import Image

_TURN = (5**0.5 - 1) / 2
"""Of a circle of hues, from one class to the next: the golden ratio keeps them apart."""


def color(index: int, palette: Sequence[str] = ()) -> tuple[int, int, int]:
    """Red, green and blue of a class: from ``palette`` ("#rrggbb"), or made up."""
    if index < len(palette):
        return tuple(bytes.fromhex(palette[index][1:]))  # type: ignore[return-value]
    red, green, blue = colorsys.hsv_to_rgb((index * _TURN) % 1, 0.8, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def paint(image: Image, mask: Mask, task: Segmentation) -> Image:
    """``image`` under the colours of its pixels' classes; the background stays as it is."""
    from PIL import Image

    highest = max((segment.index for segment in mask.segments), default=0)
    colors = np.array([color(i, task.palette) for i in range(highest + 1)], np.uint8)
    bare = (mask.pixels == UNSEEN) | (mask.pixels == (UNSEEN if task.background is None else task.background))
    alpha = np.where(bare, 0, round(task.opacity * 255)).astype(np.uint8)
    return Image.composite(Image.fromarray(colors[mask.pixels]), image, Image.fromarray(alpha))


def outline(image: Image, boxes: Sequence[Box]) -> Image:
    """``image`` with a frame around each box, and its label and score on it; the best on top."""
    from PIL import ImageDraw, ImageFont

    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    short = min(image.size)
    width, font = max(1, short // 200), ImageFont.load_default(max(10, short // 30))
    for box in reversed(boxes):
        ground = color(box.index)
        frame = (box.left, box.top, max(box.left, box.right - 1), max(box.top, box.bottom - 1))
        pen.rectangle(frame, outline=ground, width=width)
        text = f"{box.label} {box.score:.0%}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font)
        high, wide = bottom - top + 2 * width, right - left + 2 * width
        x = max(0, min(box.left, image.width - wide))  # above the box where there is room, else in it
        y = box.top - high if box.top >= high else box.top
        pen.rectangle((x, y, x + wide, y + high), fill=ground)
        ink = "black" if sum(ground) > 382 else "white"
        pen.text((x + width - left, y + width - top), text, ink, font)
    return picture


def save(image: Image, path: Path) -> None:
    """Write ``image`` to ``path``, and the folders above it; raises ModelFileError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ModelFileError(f"cannot be written: {reason}", where=str(path)) from None
