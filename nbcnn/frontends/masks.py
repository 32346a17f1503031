"""From scores per pixel to a class for each pixel of the image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import InputError, ModelFileError
from nbcnn.frontends.classes import described, labels, last_op, no_numbers
from nbcnn.frontends.preprocess import Placement
from nbcnn.ir.graph import Graph

UNSEEN = -1
"""The class of pixels that the model was not shown."""


@dataclass(frozen=True)
class Segment:
    """A class, and the share of the pixels that belong to it, of those that the model was shown."""

    index: int
    label: str
    share: float

    def __str__(self) -> str:
        return f"{self.share:6.1%}  {self.label}"


@dataclass(frozen=True)
class Segmentation:
    """The task of models that give scores [N, classes, h, w], or [N, 1, h, w] for one class or none.

    ``palette`` holds a colour ("#rrggbb") for each class, others are made up; ``background`` is the
    class that is not painted, ``opacity`` how much of the colour covers the image, 0 to 1.
    """

    kind: ClassVar[str] = "segmentation"
    entries: ClassVar[str] = "segments"
    background: int | None = 0
    palette: tuple[str, ...] = ()
    opacity: float = 0.5

    def __post_init__(self) -> None:
        for color in self.palette:
            if not re.fullmatch("#[0-9a-fA-F]{6}", color):
                raise ModelFileError(f"a colour of the palette must be '#rrggbb', got '{color[:20]}'")
        if not 0 <= self.opacity <= 1:
            raise ModelFileError(f"opacity must be from 0 to 1, got {self.opacity}")

    def check(self, graph: Graph) -> None:
        """Raise InputError unless ``graph`` gives one map of scores per image."""
        types = graph.types(graph.outputs.values())
        if len(types) != 1 or types[0].rank != 4:
            raise InputError(
                f"model '{graph.name}' gives no map of classes: its outputs are {described(graph)}"
            )

    def read(self, graph: Graph, outputs: Mapping[str, np.ndarray], place: Placement) -> Mask:
        """Which class each pixel of the image belongs to."""
        (scores,) = outputs.values()
        if np.isnan(scores).any():
            raise no_numbers(graph)
        if scores.shape[1] == 1:
            cells = scores[0, 0] > (0.5 if last_op(graph) == "sigmoid" else 0)
        else:
            cells = scores[0].argmax(axis=0)
        rows, columns = (_cells(place, axis, cells.shape[axis]) for axis in (0, 1))
        pixels = cells.astype(np.int16)[rows[:, None], columns]
        pixels[rows < 0], pixels[:, columns < 0] = UNSEEN, UNSEEN
        return Mask(pixels, _segments(pixels, labels(graph, max(2, scores.shape[1]))))


@dataclass(frozen=True)
class Mask:
    """The class of each pixel of an image, int16 [height, width], and the classes, the largest first."""

    pixels: np.ndarray
    segments: list[Segment]


def _segments(pixels: np.ndarray, names: list[str]) -> list[Segment]:
    counts = np.bincount(pixels.ravel() + 1, minlength=1)[1:]
    order = np.argsort(-counts, kind="stable").tolist()
    return [Segment(i, names[i], float(counts[i] / counts.sum())) for i in order if counts[i]]


def _cells(place: Placement, axis: int, count: int) -> np.ndarray:
    """For each row (axis 0) or column of the image: that of ``count`` cells which holds its centre, or -1."""
    centres = (np.arange(place.image[axis]) + 0.5) * place.scale[axis] + place.offset[axis]
    found = np.floor(centres * count / place.input[axis]).astype(np.int64)
    return np.where((found >= 0) & (found < count), found, -1)
