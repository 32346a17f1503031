"""The trained detector and segmenter, on scenes of digits that they were not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nbcnn
from nbcnn.frontends.boxes import overlap
from nbcnn.frontends.preprocess import Placement

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WHOLE = Placement((96, 96), (96, 96), (1.0, 1.0), (0.0, 0.0))


@pytest.fixture
def scenes(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import train_digits
    import train_scenes

    _, images, _, labels = train_digits.data()
    rng = np.random.default_rng(1)
    return [train_scenes.scene(images, labels, rng) for _ in range(60)]


def test_digits_are_found(scenes) -> None:
    """Of the boxes nearly all are right, and nearly all digits have one: the digit, and half of its area."""
    graph = nbcnn.load("digit_scenes")
    model, task = nbcnn.compile(graph), graph.meta["task"]
    right = found = there = 0
    for scene in scenes:
        boxes = task.read(graph, model.run({"image": scene.image[None, None]}), WHOLE)
        for box in boxes:
            at = np.array((box.left, box.top, box.right, box.bottom))
            right += bool(((overlap(at, scene.boxes) >= 0.5) & (scene.labels == box.index)).any())
        found += len(boxes)
        there += len(scene.boxes)
    assert there > 150
    assert right / found >= 0.95
    assert right / there >= 0.95


def test_pixels_are_told_apart(scenes) -> None:
    """Intersection over union, of ink and ground, and the digit that most of its ink is given."""
    graph = nbcnn.load("digit_masks")
    model, task = nbcnn.compile(graph), graph.meta["task"]
    both = either = right = there = 0
    for scene in scenes:
        got = task.read(graph, model.run({"image": scene.image[None, None]}), WHOLE).pixels
        both += ((got > 0) & (scene.mask > 0)).sum()
        either += ((got > 0) | (scene.mask > 0)).sum()
        for (left, top, right_, bottom), label in zip(scene.boxes.astype(int), scene.labels, strict=True):
            votes = np.bincount(got[top:bottom, left:right_].ravel(), minlength=11)[1:]
            right += votes.argmax() == label
            there += 1
    assert both / either >= 0.8
    assert right / there >= 0.9
