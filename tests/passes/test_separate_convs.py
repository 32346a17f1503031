import numpy as np
import pytest
from pass_checks import apply, refusals, same_values
from strategies import Builder, every_op

from nbcnn.errors import PassError
from nbcnn.ops.activation import Relu
from nbcnn.ops.conv2d import Conv2d
from nbcnn.passes import Lossy, Pipeline, run
from nbcnn.passes.separate_convs import SeparateConvs, separated


def one_conv(op: Conv2d, weight=None, channels: int = 3, dtype: str = "float64"):
    build = Builder(dtype)
    x = build.input(channels, 9, 8)
    slots = {} if weight is None else {"weight": build.weight("w", weight)}
    return build.graph(build("act", Relu(), build("conv", op, x, **slots)))


def product(rng, out: int, inside: int, kernel: tuple[int, int], rank: int) -> np.ndarray:
    """A weight whose matrix of every input channel has this rank."""
    left = rng.normal(size=(inside, out, rank))
    right = rng.normal(size=(inside, rank, kernel[0] * kernel[1]))
    return (left @ right).transpose(1, 0, 2).reshape(out, inside, *kernel)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"stride": (2, 1), "padding": (0, 1, 2, 1)},
        {"dilation": 2, "padding": "same"},
        {"flip": True},
    ],
    ids=str,
)
def test_separable_weights_are_kept_exactly(rng, rank, options):
    graph = one_conv(Conv2d(16, (3, 5), **options), product(rng, 16, 3, (3, 5), rank))
    after, record = apply(SeparateConvs(rank=rank, max_error=1e-12), graph)
    same_values(graph, after, 1e-12)
    assert every_op(after) == ["conv2d", "conv2d", "relu"]
    first, second = after.node("conv.depthwise").op, after.node("conv").op
    assert (first.channels, first.groups, first.bias) == (3 * rank, 3, False)
    assert (second.kernel, second.bias) == ((1, 1), options.get("bias", True))
    assert after.macs < graph.macs
    assert "w" not in after.weights
    assert f"rank {rank}, error of the weights" in record.rewrites[0].what


def test_the_error_reported_is_the_one_made_and_falls_with_the_rank(rng):
    weight = rng.normal(size=(20, 4, 3, 3))
    errors = []
    for rank in (1, 3, 6, 9):
        depthwise, pointwise, error = separated(weight, rank)
        left, right = pointwise.reshape(20, 4, rank), depthwise.reshape(4, rank, 3, 3)
        again = np.einsum("ocj,cjuv->ocuv", left, right)
        assert np.linalg.norm(again - weight) / np.linalg.norm(weight) == pytest.approx(error, abs=1e-12)
        errors.append(error)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12 < errors[0] < 1


def test_no_other_separable_weight_is_closer(rng):
    weight = rng.normal(size=(6, 2, 3, 3))
    depthwise, pointwise, error = separated(weight, 1)
    for _ in range(50):
        moved = (depthwise + rng.normal(0, 0.05, depthwise.shape)).reshape(1, 2, 3, 3)
        other = np.linalg.norm(weight - pointwise * moved) / np.linalg.norm(weight)
        assert other >= error


def test_signs_do_not_hang_on_lapack(rng):
    depthwise, _, _ = separated(product(rng, 8, 5, (3, 3), 2), 2)
    flat = depthwise.reshape(10, 9)
    assert (flat[np.arange(10), abs(flat).argmax(1)] > 0).all()


def test_zero_weights():
    _, _, error = separated(np.zeros((8, 2, 3, 3), np.float32), 1)
    assert error == 0


def test_refuses_what_it_cannot_or_should_not_separate(rng):
    build = Builder("float64")
    x = build("grouped", Conv2d(8, 3, groups=2), build.input(4, 12, 12))
    x = build("narrow", Conv2d(1, 3), x)
    x = build("depthwise", Conv2d(8, 3), x)  # of one channel: as a depthwise convolution already
    x = build("far", Conv2d(16, 3), x)
    graph = build.graph(build("pointwise", Conv2d(4, 1), x))
    after, record = apply(SeparateConvs(nodes=("grouped", "narrow", "far"), max_error=0.01), graph)
    assert after is graph
    whys = refusals(record)
    assert whys["grouped"] == "has 2 groups"
    assert whys["narrow"] == "1 channels of 9 taps cost no more than separated at rank 1"
    assert "is above 0.01" in whys["far"]
    assert set(whys) == {"grouped", "narrow", "far"}


def test_refuses_weights_that_are_not_finite():
    report = run(one_conv(Conv2d(16, 3), np.full((16, 3, 3, 3), np.nan)), [SeparateConvs])
    assert refusals(report.records[0]) == {"conv": "'w' is not finite everywhere"}


def test_refuses_a_rank_that_saves_nothing():
    after, record = apply(SeparateConvs(rank=8), graph := one_conv(Conv2d(16, 3)))
    assert after is graph
    assert refusals(record) == {"conv": "16 channels of 9 taps cost no more than separated at rank 8"}


def test_a_shared_weight_stays_for_the_other(rng):
    build = Builder("float64")
    x = build.input(4, 9, 9)
    build.weight("w", product(rng, 16, 4, (3, 3), 1))
    graph = build.graph(build("a", Conv2d(16, 3), x, weight="w"), build("b", Conv2d(16, 3), x, weight="w"))
    after, record = apply(SeparateConvs(nodes=("a", "c*")), graph)
    assert after.node("b").weights[0] == "w"
    assert refusals(record) == {"c*": "no node has such a name"}
    same_values(graph, after, 1e-12)


def test_limit():
    build = Builder("float64")
    x = build("b", Conv2d(16, 3), build("a", Conv2d(16, 3), build.input(4, 9, 9)))
    after, _ = apply(SeparateConvs(), build.graph(x), limit=1)
    assert [n.name for n in after.nodes] == ["a.depthwise", "a", "b"]


@pytest.mark.parametrize(
    "spec, word",
    [
        ("separate-convs{rank=0}", "'rank': must be at least 1, got 0"),
        ("separate-convs{rank=two}", "'rank'"),
        ("separate-convs{max_error=2}", "'max_error': must be from 0 to 1, got 2"),
        ("separate-convs{max_eror=0.5}", "did you mean 'max_error'"),
    ],
)
def test_bad_options(spec, word):
    with pytest.raises(PassError, match="separate-convs") as error:
        Pipeline.of(spec)
    assert word in str(error.value)


def test_spec_round_trips_and_names_its_metric():
    pass_ = SeparateConvs(nodes=("layer*.conv2",), rank=2, max_error=0.4)
    assert Pipeline.of(str(pass_)).steps == (pass_,)
    assert isinstance(pass_.contract, Lossy)
    assert str(pass_.contract) == "lossy(output_error <= inf)"
    assert run(one_conv(Conv2d(16, 3)), [SeparateConvs]).rewrites == 1
