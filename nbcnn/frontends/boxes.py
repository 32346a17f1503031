"""From a detector's grids to boxes on the image: YOLO's decoding, and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nbcnn.errors import InputError, ModelFileError
from nbcnn.frontends.classes import described, labels, no_numbers
from nbcnn.frontends.preprocess import Placement
from nbcnn.ir.graph import Graph

Anchors = tuple[tuple[float, float], ...]
LARGEST = 50.0
"""exp() of more than this is far beyond any image; so a box stays finite."""


@dataclass(frozen=True)
class Box:
    """A thing that was found, and where: pixels of the image, right and bottom exclusive."""

    index: int
    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float

    def __str__(self) -> str:
        where = f"{self.left:.0f},{self.top:.0f} to {self.right:.0f},{self.bottom:.0f}"
        return f"{self.score:6.1%}  {self.label}  at {where}"


@dataclass(frozen=True)
class Detection:
    """The task of models that say for each cell of a grid, and each anchor, what lies there.

    ``anchors`` holds for each output the widths and heights of its anchors, in pixels of the model's
    input; the output is [N, anchors * (5 + classes), h, w], see `decode`. Boxes that score less than
    ``score`` are dropped, and those that share more than ``iou`` of their joint area with a better
    one of their class; of the rest the best ``most`` are kept.
    """

    kind: ClassVar[str] = "detection"
    entries: ClassVar[str] = "boxes"
    anchors: dict[str, Anchors]
    classes: Literal["sigmoid", "softmax"] = "sigmoid"
    score: float = 0.25
    iou: float = 0.45
    most: int = 100

    def __post_init__(self) -> None:
        if not all(self.anchors.values()) or not self.anchors:
            raise ModelFileError("every output of a detector needs at least one anchor")
        if min(side for pairs in self.anchors.values() for pair in pairs for side in pair) <= 0:
            raise ModelFileError("an anchor must be larger than nothing")
        for name in ("score", "iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ModelFileError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.most < 1:
            raise ModelFileError(f"most must be at least 1, got {self.most}")

    def check(self, graph: Graph) -> None:
        """Raise InputError unless the outputs of ``graph`` are grids for the anchors."""
        found = set()
        for name, value in graph.outputs.items():
            type_, count = graph.type(value), len(self.anchors.get(name, ()))
            if type_.rank != 4 or not count or int(type_.shape[1]) % count:
                break
            found.add(int(type_.shape[1]) // count - 5)
        if self.anchors.keys() != graph.outputs.keys() or len(found) != 1 or min(found) < 1:
            raise InputError(
                f"model '{graph.name}' does not fit its anchors, {', '.join(self.anchors)}: an output is "
                f"[N, anchors * (5 + classes), h, w], and they are {described(graph)}"
            )

    def read(self, graph: Graph, outputs: Mapping[str, np.ndarray], place: Placement) -> list[Box]:
        """The boxes of the first image, the best first."""
        heads = [
            decode(outputs[name][0], anchors, place.input, self.classes)
            for name, anchors in self.anchors.items()
        ]
        corners, scores = (np.concatenate(parts) for parts in zip(*heads, strict=True))
        if np.isnan(scores).any() or np.isnan(corners).any():
            raise no_numbers(graph)
        at, which = (scores >= self.score).nonzero()
        corners, scores = corners[at], scores[at, which]
        kept = nms(corners, scores, which, self.iou, self.most)
        names = labels(graph, which.max(initial=0) + 1)
        (top, left), (down, across) = place.offset, place.scale
        corners = (corners - (left, top, left, top)) / (across, down, across, down)
        height, width = place.image
        corners = corners.clip(0, (width, height, width, height))
        return [
            Box(int(which[i]), names[which[i]], float(scores[i]), *map(float, corners[i]))
            for i in kept
            if (corners[i, 2:] > corners[i, :2]).all()  # else it lies outside the image
        ]


def decode(
    grid: np.ndarray, anchors: Anchors, size: tuple[int, int], classes: str = "sigmoid"
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [n, 4] (left, top, right, bottom in pixels of the input) and scores [n, classes] of a grid.

    ``grid`` is [anchors * (5 + classes), h, w] over an input of ``size`` (height, width). For each
    anchor it holds x, y, w, h, whether, and the classes; the centre of a box is sigmoid(x, y) into its
    cell, its sides are those of the anchor times exp(w, h), and a score is sigmoid(whether) times the
    sigmoid of the class (YOLOv3; Redmon, Farhadi 2018) or its softmax (YOLOv2).
    """
    rows, columns = grid.shape[1:]
    parts = grid.astype(np.float64).reshape(len(anchors), -1, rows, columns)
    x = (np.arange(columns) + _sigmoid(parts[:, 0])) * (size[1] / columns)
    y = (np.arange(rows)[:, None] + _sigmoid(parts[:, 1])) * (size[0] / rows)
    half = np.exp(np.minimum(parts[:, 2:4], LARGEST)) * np.reshape(anchors, (-1, 2, 1, 1)) / 2
    corners = np.stack([x - half[:, 0], y - half[:, 1], x + half[:, 0], y + half[:, 1]], axis=-1)
    if classes == "softmax":
        which = np.exp(parts[:, 5:] - parts[:, 5:].max(axis=1, keepdims=True))
        which /= which.sum(axis=1, keepdims=True)
    else:
        which = _sigmoid(parts[:, 5:])
    scores = np.moveaxis(_sigmoid(parts[:, 4:5]) * which, 1, -1)
    return corners.reshape(-1, 4), scores.reshape(-1, scores.shape[-1])


def nms(corners: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float, most: int) -> list[int]:
    """Non-maximum suppression: indices of the boxes to keep, at most ``most``, the best first.

    A box is dropped when one that is kept has its class, a higher score (or the same and a lower
    index), and shares with it more than ``iou`` of the area that the two cover.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        rivals = (classes[order] == classes[best]) & (overlap(corners[best], corners[order]) > iou)
        order = order[~rivals]
    return kept


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of ``box`` [4] with each of ``others`` [n, 4]; 0 where neither has an area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)
