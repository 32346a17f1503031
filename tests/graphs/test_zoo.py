"""The models that come with nbcnn: published sizes, the libraries' names, and digits' accuracy."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import nbcnn
from nbcnn import resources
from nbcnn.ir import verify
from nbcnn.reference import run

SMALL = {
    "lenet5": 61_706,
    "mnist_cnn": 93_322,
    "cifar_cnn": 268_650,
    "cifar_sepconv": 264_360,
    "digits": 33_658,
}
"""Parameters of the classifiers with ten classes."""

IMAGENET = {
    "alexnet": (61_100_840, 0.714),
    "convnext_tiny": (28_589_128, 4.456),
    "densenet121": (7_978_856, 2.834),
    "efficientnet_b0": (5_288_548, 0.386),
    "googlenet": (6_624_904, 1.498),
    "inception_v3": (23_834_568, 5.713),
    "mobilenet_v1": (4_231_976, 0.569),
    "mobilenet_v2": (3_504_872, 0.301),
    "mobilenet_v3_large": (5_483_032, 0.217),
    "resnet18": (11_689_512, 1.814),
    "resnet50": (25_557_032, 4.089),
    "resnext50_32x4d": (25_028_904, 4.230),
    "se_resnet50": (28_088_024, 4.092),
    "shufflenet_v2_x1_0": (2_278_604, 0.145),
    "squeezenet1_1": (1_235_496, 0.349),
    "vgg16": (138_357_544, 15.470),
}
"""Published parameters and 10^9 multiply-accumulates of the classifiers with a thousand classes."""

OTHERS = {
    "clip_cnn": 747_733,
    "digit_masks": 220_463,
    "digit_scenes": 164_942,
    "text_cnn": 5_990_402,
    "tiny_yolo": 8_852_366,  # of the 8,858,734 numbers in Darknet's file, 6,368 are means and variances
    "unet": 31_037_698,
}
"""Parameters of the models for texts, clips, masks and boxes; published ones of the last two."""

STATE_DICTS = {path.stem: path for path in (Path(__file__).parent / "state_dicts").glob("*.txt")}
"""What torchvision and timm call the weights; written by benchmarks/state_dicts.py."""


def state_dict(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes."""
    found = {}
    for line in path.read_text().splitlines()[1:]:
        module, *weights = line.split()
        for name, _, shape in (weight.partition(":") for weight in weights):
            found[f"{module}.{name}"] = tuple(map(int, shape.split("x")))
    return found


def test_the_zoo_is_what_is_listed_here():
    assert set(resources.names("graphs")) == {*SMALL, *IMAGENET, *OTHERS}
    assert STATE_DICTS.keys() == IMAGENET.keys()


@pytest.mark.parametrize("name", resources.names("graphs"))
def test_every_model_is_whole(name):
    graph = nbcnn.load(name)
    verify(graph)
    assert graph.name == name
    assert graph.macs > 0
    assert graph.meta["description"]
    text = resources.find("graphs", name).read_text()
    assert "expect: {params:" in text
    assert "macs:" in text


@pytest.mark.parametrize("name", SMALL)
def test_small_classifiers(name):
    graph = nbcnn.load(name)
    assert graph.parameters == SMALL[name]
    assert [graph.type(v).shape for v in graph.outputs.values()] == [("N", 10)]
    assert len(graph.meta.get("labels", range(10))) == 10


@pytest.mark.parametrize("name", OTHERS)
def test_other_sizes(name):
    assert nbcnn.load(name).parameters == OTHERS[name]


@pytest.mark.parametrize("name", IMAGENET)
def test_published_sizes(name):
    graph = nbcnn.load(name)
    params, macs = IMAGENET[name]
    assert graph.parameters == params
    assert graph.macs / 1e9 == pytest.approx(macs, abs=0.0006)
    assert [graph.type(v).shape for v in graph.outputs.values()] == [("N", 1000)]


@pytest.mark.parametrize("name", STATE_DICTS)
def test_published_weights_fit(name, tmp_path):
    """A file with the library's names and shapes, all zeros, loads."""
    shapes = state_dict(STATE_DICTS[name])
    save_file({k: np.zeros(shape, np.float16) for k, shape in shapes.items()}, tmp_path / "w.safetensors")
    graph = nbcnn.load(name, weights=tmp_path / "w.safetensors")
    assert graph.weights.keys() == shapes.keys()


def test_logits_differ_between_images(rng):
    graph = nbcnn.load("cifar_sepconv")
    scores = run(graph, rng.standard_normal((4, 3, 32, 32)).astype("f4"))["fc2"]
    assert np.isfinite(scores).all()
    assert (scores.std(axis=0) > 1e-3).all()


def test_digits_on_its_held_out_images():
    pytest.importorskip("sklearn")
    script = Path(__file__).parents[2] / "benchmarks" / "train_digits.py"
    scope = {"__name__": "train_digits", "__file__": str(script)}
    exec(compile(script.read_text(), str(script), "exec"), scope)
    _, images, _, labels = scope["data"]()
    assert len(labels) == 360
    graph = nbcnn.load("digits")
    for scores in (run(graph, images)["fc"], nbcnn.compile(graph)(images)):
        assert (scores.argmax(1) == labels).mean() >= 0.97
