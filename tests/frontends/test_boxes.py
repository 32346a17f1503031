"""Decoding and suppression against what their definitions say, box by box, in plain Python."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbcnn.errors import InputError, ModelFileError
from nbcnn.frontends.boxes import Box, Detection, decode, nms, overlap
from nbcnn.frontends.preprocess import Placement
from nbcnn.ir import Graph, Node, TensorType
from nbcnn.ops.activation import Relu

WHOLE = Placement((64, 96), (64, 96), (1.0, 1.0), (0.0, 0.0))


def detector(*shapes: tuple) -> Graph:
    """A graph with an output ``head0``, ``head1``... for each shape."""
    nodes = [Node(f"head{i}", Relu(), (f"x{i}",), (f"head{i}",)) for i in range(len(shapes))]
    inputs = {f"x{i}": TensorType(shape) for i, shape in enumerate(shapes)}
    return Graph.build("d", inputs, nodes, {}, [n.name for n in nodes])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("classes", ["sigmoid", "softmax"])
def test_decode_cell_by_cell(classes, rng) -> None:
    anchors, size, grid = ((10.0, 20.0), (30.0, 15.0)), (64, 96), rng.standard_normal((2 * 8, 2, 3))
    corners, scores = decode(grid, anchors, size, classes)
    assert (corners.shape, scores.shape) == ((12, 4), (12, 3))
    at = 0
    for a, (wide, high) in enumerate(anchors):
        for i in range(2):
            for j in range(3):
                tx, ty, tw, th, to, *t = grid[8 * a : 8 * a + 8, i, j].tolist()
                x, y = (j + sigmoid(tx)) * 32, (i + sigmoid(ty)) * 32
                w, h = wide * math.exp(tw), high * math.exp(th)
                np.testing.assert_allclose(corners[at], (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
                total = sum(map(math.exp, t))
                which = [sigmoid(c) if classes == "sigmoid" else math.exp(c) / total for c in t]
                np.testing.assert_allclose(scores[at], [sigmoid(to) * p for p in which])
                at += 1


def test_decode_survives_what_a_broken_network_says() -> None:
    corners, scores = decode(np.full((6, 1, 1), 1e30, np.float32), ((1e3, 1e3),), (32, 32))
    assert np.isfinite(corners).all()
    assert (scores == 1).all()


def test_overlap() -> None:
    others = np.array(
        [[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [5, 5, 9, 9], [1, 1, 1, 1], [0.5, 0.5, 1.5, 1.5]]
    )
    want = [1, 2 / 6, 0, 0, 0, 1 / 4]
    np.testing.assert_allclose(overlap(others[0], others), want)
    assert overlap(others[4], others[4:5]) == 0  # no area, and no 0/0


whole = st.integers(0, 6)
boxes = st.tuples(whole, whole, st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 1))


def shared(a: tuple, b: tuple) -> float:
    """Intersection over union by counting the unit squares of both boxes."""
    inside = [{(x, y) for x in range(s[0], s[0] + s[2]) for y in range(s[1], s[1] + s[3])} for s in (a, b)]
    union = len(inside[0] | inside[1])
    return len(inside[0] & inside[1]) / union if union else 0.0


@given(st.lists(boxes, max_size=9), st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.integers(1, 10))
def test_nms_keeps_what_no_better_kept_box_of_its_class_covers(drawn, iou, most) -> None:
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h, _, _ in drawn], float).reshape(-1, 4)
    scores = np.array([s / 4 for *_, s, _ in drawn])
    classes = np.array([c for *_, c in drawn], int)
    ranked = sorted(range(len(drawn)), key=lambda i: (-scores[i], i))
    want: list[int] = []
    for i in ranked:
        if not any(drawn[i][5] == drawn[k][5] and shared(drawn[i], drawn[k]) > iou for k in want):
            want.append(i)
    assert nms(corners, scores, classes, iou, most) == want[:most]


def test_boxes_are_brought_back_to_the_image() -> None:
    grid = np.full((7, 2, 3), -9.0, np.float32)
    grid[:5, 1, 2] = (0, 0, 0, 0, 9)  # the middle of the cell, the anchor's sides
    grid[6, 1, 2] = 9
    graph = detector(("N", 7, 2, 3))
    task = Detection({"head0": ((20.0, 10.0),)})
    # The image of 100 x 32 was doubled, then put 3 to the right of the input's corner and 20 below it.
    place = Placement((32, 100), (64, 96), (2.0, 2.0), (20.0, 3.0))
    (box,) = task.read(graph, {"head0": grid[None]}, place)
    middle = ((80 - 3) / 2, (48 - 20) / 2)
    assert (box.index, box.label) == (1, "1")
    assert box.score == pytest.approx(sigmoid(9) ** 2)
    want = (middle[0] - 5, middle[1] - 2.5, middle[0] + 5, middle[1] + 2.5)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx(want)
    moved = replace(place, image=(15, 40))  # clipped to the image
    (box,) = task.read(graph, {"head0": grid[None]}, moved)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((want[0], want[1], 40, 15))
    assert not task.read(graph, {"head0": grid[None]}, replace(place, image=(11, 40)))  # all outside
    assert str(box) == "100.0%  1  at 34,12 to 40,15"


def test_thresholds_labels_and_several_outputs(rng) -> None:
    shapes = [("N", 2 * 8, 2, 3), ("N", 8, 4, 6)]
    graph = detector(*shapes)
    task = Detection({"head0": ((9.0, 9.0), (30.0, 30.0)), "head1": ((5.0, 5.0),)}, score=0.0, iou=1.0)
    outputs = {f"head{i}": rng.standard_normal((1, *shape[1:])) for i, shape in enumerate(shapes)}
    every = task.read(graph, outputs, WHOLE)
    scores = [box.score for box in every]
    assert len(every) == 100  # of (2 * 6 + 24) * 3
    assert scores == sorted(scores, reverse=True)
    assert {box.index for box in every} == {0, 1, 2}
    some = replace(task, score=0.3, most=9).read(graph, outputs, WHOLE)
    assert some == [box for box in every if box.score >= 0.3][:9]
    assert len(replace(task, iou=0.1).read(graph, outputs, WHOLE)) < len(every)
    named = Graph.build("d", graph.inputs, graph.nodes, {}, graph.outputs, {"labels": ("cat", "dog")})
    assert {box.label for box in task.read(named, outputs, WHOLE)} == {"cat", "dog", "2"}
    outputs["head1"][0, 3, 1, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        task.read(graph, outputs, WHOLE)


def test_nothing_found() -> None:
    task = Detection({"head0": ((9.0, 9.0),)})
    assert task.read(detector(("N", 6, 2, 3)), {"head0": np.full((1, 6, 2, 3), -9.0)}, WHOLE) == []


@pytest.mark.parametrize(
    "anchors, shapes",
    [
        ({"head1": 1}, [("N", 6, 2, 3)]),
        ({"head0": 1}, [("N", 6, 2, 3), ("N", 6, 4, 6)]),
        ({"head0": 1, "head1": 1}, [("N", 6, 2, 3)]),
        ({"head0": 2}, [("N", 7, 2, 3)]),
        ({"head0": 1}, [("N", 5, 2, 3)]),
        ({"head0": 1, "head1": 1}, [("N", 6, 2, 3), ("N", 7, 4, 6)]),
        ({"head0": 1}, [("N", 6)]),
    ],
)
def test_outputs_that_do_not_fit(anchors, shapes) -> None:
    task = Detection({name: ((2.0, 2.0),) * count for name, count in anchors.items()})
    with pytest.raises(InputError, match=r"'d' does not fit its anchors.*5 \+ classes.*head0: "):
        task.check(detector(*shapes))
    Detection({"head0": ((1, 2),) * 3}).check(detector(("N", 21, 5, 4)))


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"anchors": {}}, "at least one anchor"),
        ({"anchors": {"a": ()}}, "at least one anchor"),
        ({"anchors": {"a": ((1, 0),)}}, "larger than nothing"),
        ({"score": 1.5}, "score must be from 0 to 1"),
        ({"iou": -0.1}, "iou must be from 0 to 1"),
        ({"most": 0}, "most must be at least 1"),
    ],
)
def test_bad_settings(settings, says) -> None:
    with pytest.raises(ModelFileError, match=says):
        Detection(**{"anchors": {"a": ((1, 1),)}} | settings)


def test_a_box_in_words() -> None:
    assert str(Box(3, "cat", 0.5, 1.2, 2.6, 10, 20)) == " 50.0%  cat  at 1,3 to 10,20"
