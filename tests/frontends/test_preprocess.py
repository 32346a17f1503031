import numpy as np
import pytest
from model_files import CONV, HEAD, model
from PIL import Image

import nbcnn
from nbcnn import resources
from nbcnn.errors import NbcnnError
from nbcnn.frontends import preprocess
from nbcnn.frontends.preprocess import Placement, load_image, prepare, read_image
from nbcnn.reference import run

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture
def picture(tmp_path, rng):
    """A colour picture 20 high and 10 wide, and its path."""
    pixels = rng.integers(0, 256, (20, 10, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    return pixels, tmp_path / "p.png"


def graph(folder, section: str = "", shape: str = "[N, 3, 8, 8]"):
    text = CONV.replace("[N, 3, 8, 8]", shape)
    return model(folder, text + (f"preprocess: {section}\n" if section else ""))


def test_without_a_section_the_picture_is_resized(tmp_path, picture):
    array = load_image(picture[1], graph(tmp_path))
    assert array.shape == (1, 3, 8, 8)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert 0 <= array.min() < array.max() <= 1


def test_crop_scale_mean_and_std(tmp_path, picture):
    settings = "{crop: 8, scale: 0.5, mean: [1, 2, 3], std: [1, 2, 4]}"
    array = load_image(picture[1], graph(tmp_path, settings))
    pixels = picture[0][6:14, 1:9].astype("f4") * 0.5
    wanted = (pixels - [1, 2, 3]) / [1, 2, 4]
    np.testing.assert_allclose(array[0].transpose(1, 2, 0), wanted, rtol=1e-6)


def test_the_shorter_side_is_resized_and_the_centre_kept(tmp_path, picture):
    array = load_image(picture[1], graph(tmp_path, "{resize: 10}"))
    np.testing.assert_allclose(array[0].transpose(1, 2, 0) * 255, picture[0][6:14, 1:9], rtol=1e-5)


def test_gray_alpha_palette_and_sixteen_bits(tmp_path):
    gray = graph(tmp_path, shape="[N, 1, 8, 8]")
    for mode, color, wanted in [
        ("L", 51, 0.2),
        ("RGB", (51, 51, 51), 0.2),
        ("RGBA", (0, 0, 0, 0), 1.0),
        ("LA", (51, 255), 0.2),
        ("1", 1, 1.0),
        ("P", 0, 0.0),
        ("I;16", 51 * 257, 0.2),
    ]:
        Image.new(mode, (8, 8), color).save(tmp_path / "x.png")
        np.testing.assert_allclose(load_image(tmp_path / "x.png", gray), wanted, atol=1e-6, err_msg=mode)


def test_exif_orientation(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0] = 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "x.png", exif=exif)
    array = load_image(tmp_path / "x.png", graph(tmp_path))
    assert array[0, 0, 7].min() == 1
    assert array[0, 0, 0].max() == 0


def refusal(path, model) -> str:
    with pytest.raises(NbcnnError) as caught:
        load_image(path, model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_images(tmp_path, picture):
    taker = graph(tmp_path)
    assert refusal(tmp_path / "m.yaml", taker).startswith(f"{tmp_path}/m.yaml: is no image")
    assert "cannot be read" in refusal(tmp_path / "none.png", taker)
    assert "cannot be read" in refusal(tmp_path, taker)
    raw = picture[1].read_bytes()
    for size in (0, 20, 60, len(raw) // 2):
        picture[1].write_bytes(raw[:size])
        assert refusal(picture[1], taker).startswith(f"{picture[1]}: ")
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    assert "is no image" in refusal(tmp_path / "x.png", taker)


def test_large_and_long_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 1000)
    Image.new("L", (40, 30)).save(tmp_path / "x.png")
    assert "over the limit" in refusal(tmp_path / "x.png", graph(tmp_path))
    Image.new("L", (500, 1)).save(tmp_path / "x.png")
    assert "too long and thin" in refusal(tmp_path / "x.png", graph(tmp_path, "{resize: 8}"))
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    assert "smaller than the crop" in refusal(tmp_path / "x.png", graph(tmp_path, "{crop: 8}"))


def test_models_that_take_no_images(tmp_path, picture):
    vector = model(tmp_path, HEAD.replace("[N, 3, 8, 8]", "[N, 3]") + "nodes: [{name: a, op: relu}]\n")
    assert "does not take images" in refusal(picture[1], vector)
    assert "color is gray" in refusal(picture[1], graph(tmp_path, "{color: gray}"))
    assert "mean has 2 numbers for 3 channels" in refusal(picture[1], graph(tmp_path, "{mean: [1, 2]}"))
    assert "makes images of 9 x 9, the model takes 8 x 8" in refusal(
        picture[1], graph(tmp_path, "{resize: [9, 9]}")
    )


def test_digits_reads_its_samples():
    digits = nbcnn.load("digits")
    folder = resources.folder("graphs") / "samples"
    for number, word in enumerate(WORDS):
        scores = run(digits, load_image(folder / f"{word}.png", digits))["fc"]
        assert digits.meta["labels"][scores.argmax()] == str(number)


def test_letterbox_keeps_the_whole_image_and_its_ratio(tmp_path, picture):
    array = load_image(picture[1], graph(tmp_path, "{letterbox: 51, filter: box}"))[0]  # 20 x 10 to 8 x 4
    np.testing.assert_allclose(array[:, :, [0, 1, 6, 7]], 51 / 255, rtol=1e-6)
    small = np.asarray(Image.fromarray(picture[0]).resize((4, 8), Image.Resampling.BOX), np.float32) / 255
    np.testing.assert_allclose(array[:, :, 2:6].transpose(1, 2, 0), small, rtol=1e-6)
    gray = load_image(picture[1], graph(tmp_path, "{letterbox: 0}", "[N, 1, 4, 8]"))
    assert (gray[0, 0, :, :3] == 0).all()
    assert (gray[0, 0, :, 3:5] > 0).all()


@pytest.mark.parametrize(
    "settings", ["{letterbox: 0}", "{resize: 8}", "{resize: [10, 9], crop: 8}", "{crop: 8}", ""]
)
def test_a_placement_says_where_each_point_lies(settings, tmp_path):
    """A bright spot on black is where the placement puts its middle."""
    pixels = np.zeros((40, 24, 3), np.uint8)
    pixels[18:22, 8:12] = 255
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    if settings == "{crop: 8}":
        pixels = pixels[10:30, 4:20]
        Image.fromarray(pixels).save(tmp_path / "spot.png")
    loaded = graph(tmp_path, settings)
    array, place = prepare(read_image(tmp_path / "spot.png"), loaded)
    assert (place.image, place.input) == (pixels.shape[:2], (8, 8))
    seen = array[0].sum(axis=0)
    assert seen.sum() > 0
    for axis in (0, 1):
        bright = pixels.any(axis=2).any(axis=1 - axis).nonzero()[0]
        middle = (bright[0] + bright[-1] + 1) / 2 * place.scale[axis] + place.offset[axis]
        along = seen.sum(axis=1 - axis)
        assert abs((along * (np.arange(8) + 0.5)).sum() / along.sum() - middle) < 0.3


def test_a_stretched_image_has_a_scale_per_axis(tmp_path, picture):
    _, place = prepare(read_image(picture[1]), graph(tmp_path))
    assert place == Placement((20, 10), (8, 8), (0.4, 0.8), (0, 0))
    _, place = prepare(read_image(picture[1]), graph(tmp_path, "{letterbox: 0}"))
    assert place == Placement((20, 10), (8, 8), (0.4, 0.4), (0, 2))


@pytest.mark.parametrize(
    "settings", ["{letterbox: 256}", "{letterbox: 0, resize: 8}", "{letterbox: 0, crop: 8}"]
)
def test_bad_letterboxes(settings, tmp_path):
    with pytest.raises(NbcnnError, match="letterbox"):
        graph(tmp_path, settings)
