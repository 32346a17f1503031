"""Records of the tensor-core tier: what they emit computes each site, wherever its operands lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tensor_sites import check, emitter, gpu, site_of

from nbcnn.ir import TensorType
from nbcnn.kernels.cuda import choose, problem
from nbcnn.kernels.cuda.shapes import ConvWgmma, SplitReduce
from nbcnn.kernels.cuda.tensor_conv import TensorConv, TensorDense, TensorStem
from nbcnn.kernels.cuda.tensor_depthwise import TensorDepthwise
from nbcnn.kernels.cuda.tensor_transpose import TensorTranspose
from nbcnn.kernels.layouts import Layout
from nbcnn.kernels.steps import DeviceStep, Way
from nbcnn.ops.activation import Elu, Relu, Sigmoid, Silu
from nbcnn.ops.conv1d import Conv1d
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv3d import Conv3d
from nbcnn.ops.conv_transpose1d import ConvTranspose1d
from nbcnn.ops.conv_transpose2d import ConvTranspose2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.smooth import Softplus

PRECISIONS = ("float16", "bfloat16", "tf32", "3xtf32")
WHERE = [("float16", (8, 0)), ("bfloat16", (9, 0)), ("tf32", (9, 0)), ("3xtf32", (8, 0))]
somewhere = pytest.mark.parametrize("how, where", WHERE, ids=[how for how, _ in WHERE])


def image(*shape: int) -> TensorType:
    return TensorType(("N", *shape))


CONVS = {
    "3x3": (Conv2d(10, 3, padding=1), image(9, 5, 4)),
    "1x1": (Conv2d(9, 1), image(12, 3, 3)),
    "1x1 strided": (Conv2d(4, 1, stride=2), image(5, 5, 4)),
    "uneven": (Conv2d(4, (2, 3), stride=(2, 1), padding=(0, 1, 2, 3)), image(7, 5, 4)),
    "dilated": (Conv2d(3, 3, dilation=2, padding=2, bias=False), image(8, 5, 5)),
    "same_lower": (Conv2d(3, 3, stride=2, padding="same_lower"), image(6, 6, 5)),
    "flipped": (Conv2d(8, 3, padding=1, flip=True), image(5, 3, 4)),
    "covers": (Conv2d(6, (3, 2)), image(5, 3, 2)),
    "groups": (Conv2d(144, 3, padding=1, groups=2), image(16, 3, 4)),
    "groups of few channels, merged to one": (Conv2d(12, 3, padding=1, groups=4, flip=True), image(8, 3, 4)),
    "many groups, merged to some": (Conv2d(96, 2, groups=48), image(96, 3, 3)),
    "groups that are no vectors": (Conv2d(15, 1, groups=3), image(33, 3, 3)),
    "signal": (Conv1d(6, 4, stride=2, padding=(3, 1)), image(9, 9)),
}


@somewhere
@pytest.mark.parametrize("case", CONVS)
def test_convolutions(case: str, how: str, where: tuple[int, int], rng: np.random.Generator) -> None:
    op, x = CONVS[case]
    check(TensorConv(), site_of(op, x, rng), how, where, rng)


def preferring(wanted) -> object:
    return lambda tile, conv, target: tile.config.bm * tile.config.bn * (1 if wanted(tile) else 1e6)


@pytest.mark.parametrize("how", PRECISIONS)
@pytest.mark.parametrize("case", ["3x3", "1x1", "1x1 strided", "uneven", "dilated", "signal"])
def test_wgmma(case: str, how: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "seconds", preferring(lambda t: isinstance(t.config, ConvWgmma)))
    op, x = CONVS[case]
    for slots in (False, True):
        (step,) = check(TensorConv(), site_of(op, x, rng, ("add", Relu())), how, (9, 0), rng, slots=slots)
        assert isinstance(step.kernel, ConvWgmma)


@somewhere
@pytest.mark.parametrize(
    "after",
    [(Relu(),), ("add",), ("add", Silu()), (Elu(0.7), "add"), (Sigmoid(),)],
    ids=lambda a: "+".join(each if isinstance(each, str) else each.name for each in a),
)
def test_epilogues(after, how: str, where: tuple[int, int], rng: np.random.Generator) -> None:
    check(TensorConv(), site_of(Conv2d(6, 2), image(9, 4, 3), rng, after), how, where, rng)


@somewhere
def test_split_sums(how: str, where, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "seconds", preferring(lambda t: t.splits > 1))
    site = site_of(Conv2d(10, 3, padding=1), image(33, 5, 4), rng, ("add", Relu()))
    for slots in (False, True):
        steps = check(TensorConv(), site, how, where, rng, slots=slots)
        assert isinstance(steps[1].kernel, SplitReduce)


@somewhere
@pytest.mark.parametrize("case", ["3x3", "1x1", "groups", "signal"])
def test_slots_of_wider_buffers(case: str, how: str, where, rng: np.random.Generator) -> None:
    op, x = CONVS[case]
    steps = check(TensorConv(), site_of(op, x, rng, ("add", Relu())), how, where, rng, batch=3, slots=True)
    assert len(steps) == 1


def test_images_that_do_not_follow_each_other(rng: np.random.Generator) -> None:
    """A launch for each."""
    site = site_of(Conv2d(10, 3, padding=1), image(9, 5, 4), rng, ("add",))
    steps = check(TensorConv(), site, "float16", (8, 0), rng, batch=3, slots=True, gap=2)
    assert len(steps) == 3


def test_more_images_than_a_launch_takes(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem, "LIMIT", 2 * 5 * 4 * 32 + 1)
    site = site_of(Conv2d(10, 3, padding=1), image(9, 5, 4), rng)
    steps = check(TensorConv(), site, "float16", (8, 0), rng, batch=5)
    assert [step.macs // site.macs for step in steps] == [2, 2, 1]


@somewhere
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_first_layers(channels: int, how: str, where, rng: np.random.Generator) -> None:
    site = site_of(Conv2d(10, (5, 3), stride=2, padding=1), image(channels, 9, 7), rng, (Relu(),))
    check(TensorStem(), site, how, where, rng)
    site = site_of(Conv1d(8, 9, stride=4, padding=4), image(channels, 40), rng)
    check(TensorStem(), site, how, where, rng)


@somewhere
@pytest.mark.parametrize("batch", [1, 3])
def test_dense(batch: int, how: str, where, rng: np.random.Generator) -> None:
    check(TensorDense(), site_of(Dense(10), image(150), rng, (Relu(),)), how, where, rng, batch)


@somewhere
@pytest.mark.parametrize("channels", [16, 3])
def test_dense_on_an_image_as_it_lies(channels: int, how: str, where, rng: np.random.Generator) -> None:
    site, layout = site_of(Dense(5, bias=False), image(channels * 6), rng), Layout("nhwc", (channels, 2, 3))
    for slots in (False, True):
        check(TensorDense(), site, how, where, rng, lies=layout, slots=slots)


def test_an_image_too_large_to_be_a_filter_is_not_read_as_it_lies(rng: np.random.Generator) -> None:
    site = site_of(Dense(5), image(16 * 2), rng)
    assert not TensorDense().accepts(site, 0, Layout("nhwc", (2, 16, 1)))


DEPTHWISE = {
    "3x3": (Conv2d(9, 3, padding=1, groups=9), image(9, 5, 6)),
    "strided": (Conv2d(6, 3, stride=2, padding=(0, 0, 1, 1), groups=6), image(6, 6, 7)),
    "5x3, dilated, flipped": (Conv2d(4, (5, 3), dilation=2, padding=4, groups=4, flip=True), image(4, 6, 5)),
    "large": (Conv2d(8, 9, padding=4, groups=8), image(8, 4, 5)),
    "signal": (Conv1d(6, 5, stride=3, padding=2, groups=6), image(6, 11)),
}


@pytest.mark.parametrize("how", ["float32", "tf32", "float16", "bfloat16"])
@pytest.mark.parametrize("case", DEPTHWISE)
def test_depthwise(case: str, how: str, rng: np.random.Generator) -> None:
    op, x = DEPTHWISE[case]
    for slots in (False, True):
        check(TensorDepthwise(), site_of(op, x, rng, (Relu(), "add")), how, (8, 0), rng, slots=slots)


@somewhere
@pytest.mark.parametrize("channels", [8, 5])
def test_transposed(channels: int, how: str, where, rng: np.random.Generator) -> None:
    cases = [
        (ConvTranspose2d(channels, 2, stride=2), image(9, 3, 4), (Relu(),)),
        (ConvTranspose2d(channels, (3, 1), stride=(3, 1), bias=False), image(4, 2, 3), ()),
        (ConvTranspose1d(channels, 4, stride=4), image(6, 5), ()),
    ]
    for op, x, after in cases:
        for slots in (False, True):
            check(TensorTranspose(), site_of(op, x, rng, after), how, where, rng, slots=slots)


def test_any_way_computes_the_same(rng: np.random.Generator) -> None:
    """Each candidate in turn, among them splits and wgmma."""
    site, ran = site_of(Conv2d(72, 3, padding=1), image(72, 4, 4), rng, (Relu(),)), set()
    for i in range(choose.MOST):

        def pick(ways: Sequence[Way], i: int = i) -> Sequence[DeviceStep]:
            return ways[i % len(ways)]()

        steps = check(TensorConv(), site, "float16", (9, 0), rng, 1, pick=pick)
        ran.add((steps[0].kernel.name, steps[0].grid))
    assert len(ran) > 2, ran


REFUSED = [
    (
        TensorConv(),
        Conv2d(4, 3),
        image(8, 5, 5),
        (),
        "float32",
        (9, 0),
        "float32 is not multiplied on tensor cores",
    ),
    (TensorConv(), Conv2d(4, 3), image(8, 5, 5), (), "float16", (7, 5), "7.5, below 8.0"),
    (TensorConv(), Conv3d(4, 1), image(8, 5, 5, 5), (), "float16", (9, 0), "begins with conv3d"),
    (TensorConv(), Dense(4), image(8), (), "float16", (9, 0), "begins with dense"),
    (TensorConv(), Conv2d(4, 16), image(8, 20, 20), (), "float16", (9, 0), "at most 15 rows"),
    (
        TensorConv(),
        Conv2d(99, 1, groups=11),
        image(99, 2, 2),
        (),
        "float16",
        (9, 0),
        "whole vectors only 11 at a time",
    ),
    (TensorConv(), Conv2d(4, 1), image(8, 5, 5), (Softplus(),), "float16", (9, 0), "cannot apply softplus"),
    (TensorStem(), Conv2d(4, 3), image(5, 5, 5), (), "float16", (9, 0), "5 input channels"),
    (TensorStem(), Conv2d(4, 1), image(4, 5, 5), (), "float16", (9, 0), "of a single pixel"),
    (TensorStem(), Conv2d(4, 3, groups=2), image(4, 5, 5), (), "float16", (9, 0), "grouped"),
    (TensorDense(), Conv2d(4, 3), image(5, 5, 5), (), "float16", (9, 0), "begins with conv2d"),
    (TensorDense(), Dense(4), image(8), (), "float32", (9, 0), "float32 is not multiplied"),
    (TensorTranspose(), ConvTranspose2d(8, 2, 2), image(8, 3, 3), ("add",), "tf32", (9, 0), "adds nothing"),
    (TensorTranspose(), ConvTranspose2d(8, 3, 2), image(8, 3, 3), (), "tf32", (9, 0), "overlap"),
    (TensorTranspose(), ConvTranspose2d(8, 2, 2, groups=2), image(8, 3, 3), (), "tf32", (9, 0), "in groups"),
    (TensorTranspose(), ConvTranspose2d(8, 2, 2, padding=1), image(8, 3, 3), (), "tf32", (9, 0), "cuts off"),
    (TensorTranspose(), ConvTranspose2d(8, 2, 2), image(8, 3, 3), (), "float32", (9, 0), "not multiplied"),
    (TensorTranspose(), Conv2d(8, 2, 2), image(8, 4, 4), (), "tf32", (9, 0), "begins with conv2d"),
    (TensorDepthwise(), Conv2d(8, 3), image(8, 5, 5), (), "float16", (9, 0), "is not depthwise"),
    (TensorDepthwise(), Conv2d(16, 3, groups=8), image(8, 5, 5), (), "float16", (9, 0), "is not depthwise"),
    (TensorDepthwise(), Conv2d(8, 3, groups=8), image(8, 5, 5), (), "float16", (7, 5), "7.5"),
    (TensorDepthwise(), Conv2d(8, 16, groups=8), image(8, 20, 20), (), "float16", (9, 0), "at most 15"),
]


@pytest.mark.parametrize("record, op, x, after, how, where, reason", REFUSED, ids=[r[-1] for r in REFUSED])
def test_refuses(record, op, x, after, how, where, reason: str, rng: np.random.Generator) -> None:
    emit = emitter(how, gpu(where), 1)
    said = record.refuse(site_of(op, x, rng, after), emit.target, emit.options)
    assert said is not None and reason in said, said


def test_a_first_layer_whose_input_is_added_is_refused(rng: np.random.Generator) -> None:
    site = site_of(Conv2d(4, 3, padding=1), image(4, 5, 5), rng, ("add",))
    own = type(site)(**{**vars(site), "data": ("x", "x")})
    emit = emitter("float16", gpu((8, 0)), 1)
    assert "is added to its result" in str(TensorStem().refuse(own, emit.target, emit.options))
