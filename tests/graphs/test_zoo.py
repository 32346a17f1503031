"""The models that come with nbcnn: published sizes, torchvision's names, and digits' accuracy."""

from pathlib import Path

import numpy as np
import pytest

import nbcnn
from nbcnn import resources
from nbcnn.ir import verify
from nbcnn.reference import run

PARAMS = {
    "lenet5": 61_706,
    "mnist_cnn": 93_322,
    "cifar_cnn": 268_650,
    "cifar_sepconv": 264_360,
    "digits": 33_658,
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "squeezenet1_1": 1_235_496,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "densenet121": 7_978_856,
    "googlenet": 6_624_904,
}
IMAGENET = (
    "alexnet",
    "vgg16",
    "squeezenet1_1",
    "resnet18",
    "resnet50",
    "mobilenet_v1",
    "mobilenet_v2",
    "densenet121",
    "googlenet",
)


def conv(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape}


def layer(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{slot}": (channels,) for slot in ("weight", "bias", "running_mean", "running_var")}


def resnet(counts: list[int], bottleneck: bool) -> dict[str, tuple[int, ...]]:
    """torchvision's state_dict of a ResNet, without num_batches_tracked."""
    names = conv("conv1", 64, 3, 7, 7) | norm("bn1", 64)
    inside = 64
    for stage, count in enumerate(counts):
        mid = 64 << stage
        out = mid * 4 if bottleneck else mid
        for index in range(count):
            at = f"layer{stage + 1}.{index}"
            kernels = (
                [(mid, inside, 1), (mid, mid, 3), (out, mid, 1)]
                if bottleneck
                else [(mid, inside, 3), (mid, mid, 3)]
            )
            for number, (o, i, k) in enumerate(kernels, 1):
                names |= conv(f"{at}.conv{number}", o, i, k, k) | norm(f"{at}.bn{number}", o)
            if index == 0 and inside != out:
                names |= conv(f"{at}.downsample.0", out, inside, 1, 1) | norm(f"{at}.downsample.1", out)
            inside = out
    return names | layer("fc", 1000, inside)


def mobilenet_v2() -> dict[str, tuple[int, ...]]:
    names = conv("features.0.0", 32, 3, 3, 3) | norm("features.0.1", 32)
    inside, number = 32, 1
    for expand, out, count in [
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ]:
        for _ in range(count):
            at, mid, part = f"features.{number}.conv", inside * expand, 0
            if expand > 1:
                names |= conv(f"{at}.0.0", mid, inside, 1, 1) | norm(f"{at}.0.1", mid)
                part = 1
            names |= conv(f"{at}.{part}.0", mid, 1, 3, 3) | norm(f"{at}.{part}.1", mid)
            names |= conv(f"{at}.{part + 1}", out, mid, 1, 1) | norm(f"{at}.{part + 2}", out)
            inside, number = out, number + 1
    return (
        names
        | conv("features.18.0", 1280, 320, 1, 1)
        | norm("features.18.1", 1280)
        | layer("classifier.1", 1000, 1280)
    )


def squeezenet1_1() -> dict[str, tuple[int, ...]]:
    names = layer("features.0", 64, 3, 3, 3)
    inside = 64
    for number, squeeze, expand in [
        (3, 16, 64),
        (4, 16, 64),
        (6, 32, 128),
        (7, 32, 128),
        (9, 48, 192),
        (10, 48, 192),
        (11, 64, 256),
        (12, 64, 256),
    ]:
        at = f"features.{number}"
        names |= layer(f"{at}.squeeze", squeeze, inside, 1, 1)
        names |= layer(f"{at}.expand1x1", expand, squeeze, 1, 1) | layer(
            f"{at}.expand3x3", expand, squeeze, 3, 3
        )
        inside = 2 * expand
    return names | layer("classifier.1", 1000, 512, 1, 1)


def densenet121() -> dict[str, tuple[int, ...]]:
    names = conv("features.conv0", 64, 3, 7, 7) | norm("features.norm0", 64)
    inside = 64
    for number, count in enumerate([6, 12, 24, 16], 1):
        for index in range(1, count + 1):
            at = f"features.denseblock{number}.denselayer{index}"
            names |= norm(f"{at}.norm1", inside) | conv(f"{at}.conv1", 128, inside, 1, 1)
            names |= norm(f"{at}.norm2", 128) | conv(f"{at}.conv2", 32, 128, 3, 3)
            inside += 32
        if number < 4:
            at = f"features.transition{number}"
            names |= norm(f"{at}.norm", inside) | conv(f"{at}.conv", inside // 2, inside, 1, 1)
            inside //= 2
    return names | norm("features.norm5", 1024) | layer("classifier", 1000, 1024)


def googlenet() -> dict[str, tuple[int, ...]]:
    names: dict[str, tuple[int, ...]] = {}

    def conv_bn(name: str, *shape: int) -> None:
        names.update(conv(f"{name}.conv", *shape) | norm(f"{name}.bn", shape[0]))

    conv_bn("conv1", 64, 3, 7, 7)
    conv_bn("conv2", 64, 64, 1, 1)
    conv_bn("conv3", 192, 64, 3, 3)
    inside = 192
    for at, c1, r2, c2, r3, c3, c4 in [
        ("3a", 64, 96, 128, 16, 32, 32),
        ("3b", 128, 128, 192, 32, 96, 64),
        ("4a", 192, 96, 208, 16, 48, 64),
        ("4b", 160, 112, 224, 24, 64, 64),
        ("4c", 128, 128, 256, 24, 64, 64),
        ("4d", 112, 144, 288, 32, 64, 64),
        ("4e", 256, 160, 320, 32, 128, 128),
        ("5a", 256, 160, 320, 32, 128, 128),
        ("5b", 384, 192, 384, 48, 128, 128),
    ]:
        conv_bn(f"inception{at}.branch1", c1, inside, 1, 1)
        conv_bn(f"inception{at}.branch2.0", r2, inside, 1, 1)
        conv_bn(f"inception{at}.branch2.1", c2, r2, 3, 3)
        conv_bn(f"inception{at}.branch3.0", r3, inside, 1, 1)
        conv_bn(f"inception{at}.branch3.1", c3, r3, 3, 3)
        conv_bn(f"inception{at}.branch4.1", c4, inside, 1, 1)
        inside = c1 + c2 + c3 + c4
    return names | layer("fc", 1000, 1024)


def plain(convs: list[tuple[int, ...]], denses: list[tuple[int, int, int]]) -> dict[str, tuple[int, ...]]:
    names: dict[str, tuple[int, ...]] = {}
    for number, *shape in convs:
        names |= layer(f"features.{number}", *shape)
    for number, *shape in denses:
        names |= layer(f"classifier.{number}", *shape)
    return names


def alexnet() -> dict[str, tuple[int, ...]]:
    convs = [
        (0, 64, 3, 11, 11),
        (3, 192, 64, 5, 5),
        (6, 384, 192, 3, 3),
        (8, 256, 384, 3, 3),
        (10, 256, 256, 3, 3),
    ]
    return plain(convs, [(1, 4096, 9216), (4, 4096, 4096), (6, 1000, 4096)])


def vgg16() -> dict[str, tuple[int, ...]]:
    numbers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convs = [(n, o, i, 3, 3) for n, i, o in zip(numbers, channels, channels[1:], strict=False)]
    return plain(convs, [(0, 4096, 25088), (3, 4096, 4096), (6, 1000, 4096)])


TORCHVISION = {
    "alexnet": alexnet(),
    "vgg16": vgg16(),
    "squeezenet1_1": squeezenet1_1(),
    "resnet18": resnet([2, 2, 2, 2], False),
    "resnet50": resnet([3, 4, 6, 3], True),
    "mobilenet_v2": mobilenet_v2(),
    "densenet121": densenet121(),
    "googlenet": googlenet(),
}


def test_the_zoo_is_what_is_listed_here():
    assert set(resources.names("graphs")) == set(PARAMS)


@pytest.mark.parametrize("name", PARAMS)
def test_published_sizes(name):
    graph = nbcnn.load(name)
    verify(graph)
    assert graph.name == name
    assert graph.parameters == PARAMS[name]
    assert graph.macs > 0
    assert graph.meta["description"]
    classes = 1000 if name in IMAGENET else 10
    assert [graph.type(v).shape for v in graph.outputs.values()] == [("N", classes)]
    assert len(graph.meta.get("labels", range(classes))) == classes
    text = resources.find("graphs", name).read_text()
    assert "expect: {params:" in text
    assert "macs:" in text


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_names_and_shapes(name):
    got = {k: w.type.shape for k, w in nbcnn.load(name).weights.items()}
    assert got == TORCHVISION[name]


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
