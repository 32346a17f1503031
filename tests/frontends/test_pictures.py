from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nbcnn.errors import ModelFileError
from nbcnn.frontends.boxes import Box
from nbcnn.frontends.masks import UNSEEN, Mask, Segment, Segmentation
from nbcnn.frontends.pictures import color, outline, paint, save


def test_colours_differ_and_a_palette_wins() -> None:
    assert len({color(i) for i in range(100)}) == 100
    assert color(1, ("#000000", "#0a0B0c")) == (10, 11, 12)
    assert color(2, ("#000000", "#0a0B0c")) == color(2)


def test_paint_covers_all_but_the_background_and_what_was_not_seen(rng) -> None:
    pixels = rng.integers(0, 256, (3, 2, 3), np.uint8)
    classes = np.array([[0, 1], [2, UNSEEN], [1, 0]], np.int16)
    mask = Mask(classes, [Segment(i, str(i), 0.2) for i in range(3)])
    palette = ("#ff0000", "#00ff00", "#0000ff")
    for background in (0, 1, None):
        task = Segmentation(background, palette, opacity=0.25)
        got = np.asarray(paint(Image.fromarray(pixels), mask, task), float)
        for at in np.ndindex(3, 2):
            want = pixels[at].astype(float)
            if classes[at] not in (background, UNSEEN):
                want = 0.75 * want + 0.25 * np.array(color(int(classes[at]), palette))
            assert abs(got[at] - want).max() <= 2


def test_outline_frames_each_box() -> None:
    image = Image.new("RGB", (200, 160), "gray")
    boxes = [
        Box(1, "a", 0.9, 30, 50, 120, 110),
        Box(2, "b", 0.5, 0, 0, 200, 160),
        Box(3, "c", 0.4, 7, 7, 7.5, 7.5),
    ]
    got = outline(image, boxes)
    assert got.size == image.size
    for x, y in ((30, 80), (119, 80), (70, 109)):
        assert got.getpixel((x, y)) == color(1)
    assert got.getpixel((199, 100)) == got.getpixel((100, 159)) == color(2)
    assert got.getpixel((75, 80)) == image.getpixel((0, 0)) == (128, 128, 128)
    assert got.getpixel((30, 45)) == color(1)  # the label stands on the frame


def test_labels_of_boxes_at_the_edge_stay_in_the_picture() -> None:
    got = np.asarray(outline(Image.new("RGB", (100, 60)), [Box(1, "label", 1, 95, 0, 100, 60)]))
    assert (got[:10, 60:] == color(1)).all(axis=-1).mean() > 0.3


def test_a_picture_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").touch()
    image = Image.new("RGB", (2, 2))
    save(image, tmp_path / "new" / "a.png")
    assert Image.open(tmp_path / "new" / "a.png").size == (2, 2)
    with pytest.raises(ModelFileError, match=r"file/a\.png: cannot be written"):
        save(image, tmp_path / "file" / "a.png")
