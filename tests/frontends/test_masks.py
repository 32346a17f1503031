from __future__ import annotations

import numpy as np
import pytest

from nbcnn import ops
from nbcnn.errors import InputError, ModelFileError
from nbcnn.frontends.masks import UNSEEN, Segmentation
from nbcnn.frontends.preprocess import Placement
from nbcnn.ir import Graph, Node, TensorType


def graph(op: str = "relu", shape=("N", 3, 2, 4), labels=None) -> Graph:
    node = Node("y", ops.get(op)(), ("x",), ("y",))
    return Graph.build("g", {"x": TensorType(shape)}, [node], {}, ["y"], {"labels": labels} if labels else {})


def place(image, size, scale=(1.0, 1.0), offset=(0.0, 0.0)) -> Placement:
    return Placement(image, size, scale, offset)


def test_the_highest_score_of_each_pixel(rng) -> None:
    scores = rng.standard_normal((1, 3, 2, 4))
    mask = Segmentation().read(graph(labels=("sky", "sea")), {"y": scores}, place((2, 4), (2, 4)))
    np.testing.assert_array_equal(mask.pixels, scores[0].argmax(0))
    shares = {s.index: s.share for s in mask.segments}
    for index in range(3):
        assert shares.get(index, 0) == pytest.approx((mask.pixels == index).mean())
    found = [s.share for s in mask.segments]
    assert found == sorted(found, reverse=True)
    assert {s.index: s.label for s in mask.segments}.items() <= {0: "sky", 1: "sea", 2: "2"}.items()


@pytest.mark.parametrize("op, threshold", [("relu", 0.0), ("sigmoid", 0.5)])
def test_one_class_or_none(op, threshold) -> None:
    scores = np.array([[-0.1, 0.1], [0.4, 0.6]])[None, None]
    mask = Segmentation().read(graph(op, ("N", 1, 2, 2)), {"y": scores}, place((2, 2), (2, 2)))
    np.testing.assert_array_equal(mask.pixels, scores[0, 0] > threshold)


def test_every_pixel_asks_the_cell_that_holds_its_centre() -> None:
    """Against the definition of a placement, pixel by pixel; cells of 8 x 8 pixels of the input."""
    cells = np.arange(2 * 4).reshape(2, 4)
    scores = np.eye(8)[cells].transpose(2, 0, 1)[None]
    for where in (
        place((48, 96), (16, 32), (1 / 3, 1 / 3)),
        place((10, 20), (16, 32), (1.5, 1.5), (0.5, 1.0)),
        place((40, 40), (16, 32), (1.0, 1.0), (-12.0, -4.0)),  # a crop: the rest is not seen
        place((1, 1), (16, 32), (16.0, 32.0)),
    ):
        mask = Segmentation().read(graph(shape=("N", 8, 2, 4)), {"y": scores}, where)
        assert mask.pixels.shape == where.image
        for i in range(where.image[0]):
            for j in range(where.image[1]):
                y, x = (
                    (i + 0.5) * where.scale[0] + where.offset[0],
                    (j + 0.5) * where.scale[1] + where.offset[1],
                )
                inside = 0 <= y < 16 and 0 <= x < 32
                assert mask.pixels[i, j] == (cells[int(y // 8), int(x // 8)] if inside else UNSEEN)
        assert sum(s.share for s in mask.segments) == pytest.approx(1)


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"'g' gives no map of classes: its outputs are y: "):
        Segmentation().check(graph(shape=("N", 3)))
    Segmentation().check(graph())
    with pytest.raises(InputError, match="NaN"):
        Segmentation().read(graph(), {"y": np.full((1, 3, 2, 4), np.nan)}, place((2, 4), (2, 4)))
    with pytest.raises(ModelFileError, match="'#rrggbb', got 'red'"):
        Segmentation(palette=("#00FF7f", "red"))
    with pytest.raises(ModelFileError, match="opacity must be from 0 to 1"):
        Segmentation(opacity=2)
