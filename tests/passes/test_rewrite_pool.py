"""rewrite-pool, rule by rule: before and after, what must stay, the same numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_checks import apply, optimized, refusals, same_values
from strategies import Builder

from nbcnn.errors import ShapeError
from nbcnn.ir import text
from nbcnn.ops.activation import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Tanh,
)
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.elementary import Abs, Exp, Floor, Neg, Sqrt
from nbcnn.ops.piecewise import Clip, ThresholdedRelu
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.ops.reduce import ReduceMean
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.smooth import Celu, Mish, Selu, Softplus, Softsign
from nbcnn.passes.rewrite_pool import RewritePool


def chain(*ops, shape=(4, 8, 8), dtype="float64"):
    """input x, then ``ops`` named a, b, c...; the last is the output."""
    build = Builder(dtype)
    x = build.input(*shape)
    for name, op in zip("abcdefg", ops, strict=False):
        x = build(name, op, x)
    return build.graph(x)


def steps(graph):
    """(name, operator with what it was given, data operands) of every node."""
    return [(n.name, n.op, *n.data) for n in graph.nodes]


def becomes(graph, *wanted):
    after, record = apply(RewritePool(), graph)
    assert steps(after) == list(wanted)
    return after, record


def stays(graph, **why):
    after, record = apply(RewritePool(), graph)
    assert after is graph
    found = refusals(record)
    assert found.keys() == why.keys()
    for node, word in why.items():
        assert word in found[node]


# -- the whole plane ---------------------------------------------------------------------------


@pytest.mark.parametrize("op", [AvgPool((7, 6)), AvgPool((7, 6), 1), AvgPool((9, 8), 2, 1), AvgPool(8, 9, 1)])
def test_a_mean_over_the_plane(op):
    becomes(chain(op, shape=(3, 7, 6)), ("a", GlobalAvgPool(), "x"))


@pytest.mark.parametrize("op", [MaxPool((7, 6)), MaxPool((9, 8), 2, 1), MaxPool((7, 11), padding=(0, 5))])
def test_a_maximum_over_the_plane(op):
    becomes(chain(op, shape=(3, 7, 6)), ("a", GlobalMaxPool(), "x"))


def test_not_the_whole_plane():
    stays(chain(AvgPool(7, 7), shape=(3, 8, 8)), a="leaves out 15 of 64 points")
    stays(
        chain(AvgPool(9, 2, 1, count_include_pad=True), shape=(3, 7, 7)), a="divides by 81, counting padding"
    )
    stays(chain(MaxPool((4, 2), dilation=(2, 1)), shape=(3, 8, 2)))
    stays(chain(AvgPool(1), shape=(3, 1, 1)))  # remove-identity's


# -- reduce_mean -------------------------------------------------------------------------------


def test_reduce_mean():
    becomes(chain(ReduceMean((-1, 2))), ("a", GlobalAvgPool(), "x"))
    becomes(chain(ReduceMean((2, 3), False)), ("a.first", GlobalAvgPool(), "x"), ("a", Flatten(), "a.first"))
    for op in (ReduceMean((2,)), ReduceMean((1, 2, 3)), ReduceMean((1,))):
        stays(chain(op))


def test_a_reshape_that_puts_the_axes_back_is_the_pool():
    back = Reshape(("N", 4, 1, 1))
    becomes(chain(ReduceMean((2, 3), False), back), ("b", GlobalAvgPool(), "x"))
    build = Builder("float64")
    mean = build("mean", ReduceMean((2, 3), False), build.input(4, 5, 5))
    one, two = build("one", back, mean), build("two", back, mean)
    graph = build.graph(mean, build("sum", Add(), one, two))
    becomes(graph, ("one", GlobalAvgPool(), "x"), ("mean", Flatten(), "one"), ("sum", Add(), "one", "one"))


# -- activations behind a maximum ----------------------------------------------------------------

RISING = [Relu(), Relu6(), Sigmoid(), Tanh(), HardSigmoid(), LeakyRelu(0.1), LeakyRelu(0.0), Elu(), Elu(0.3)]
RISING += [Clip(-1.0), Clip(None, 0.5), Softplus(), Softsign(), Exp(), Floor(), Celu(0.5), Selu()]
RISING += [ThresholdedRelu(0.5)]
OTHERS = [Silu(), Gelu(), HardSwish(), LeakyRelu(-0.1), Elu(-1.0), HardSigmoid(-0.2)]
OTHERS += [ThresholdedRelu(-0.5), Mish(), Abs(), Neg(), Sqrt(), Selu(-1.0)]


@pytest.mark.parametrize("act", RISING, ids=str)
@pytest.mark.parametrize("pool", [MaxPool(2), MaxPool(3, 2, 1, ceil_mode=True), GlobalMaxPool()], ids=str)
def test_a_rising_activation_runs_behind(act, pool):
    becomes(chain(act, pool), ("b.first", pool, "x"), ("b", act, "b.first"))


@pytest.mark.parametrize("act", OTHERS, ids=str)
def test_others_stay(act):
    stays(chain(act, MaxPool(2)), b=f"'a' ({act.name}) is not non-decreasing")


def test_every_activation_moves_behind_every_maximum():
    graph = chain(Relu(), Tanh(), MaxPool(2), Sigmoid())
    becomes(
        graph,
        ("c.first.first", MaxPool(2), "x"),
        ("c.first", Relu(), "c.first.first"),
        ("c", Tanh(), "c.first"),
        ("d", Sigmoid(), "c"),
    )
    graph = chain(Relu(), MaxPool(2), MaxPool(2))
    becomes(graph, ("b.first", MaxPool(2), "x"), ("c.first", MaxPool(2), "b.first"), ("c", Relu(), "c.first"))


def test_an_activation_stays_where_it_costs_nothing_or_is_needed():
    stays(chain(Conv2d(4, 3), Relu(), MaxPool(2)), c="'a' computes 'b' in passing")
    stays(chain(Relu(), MaxPool(3, 1, 1)), b="'b' leaves 64 points of 64")
    build = Builder("float64")
    act = build("act", Relu(), build.input(4, 6, 6))
    stays(build.graph(build("pool", MaxPool(2), act), act), pool="'act' is an output of the graph")
    build = Builder("float64")
    conv = build("conv", Conv2d(4, 3), build.input(4, 8, 8))
    pool = build("pool", MaxPool(2), build("act", Relu(), conv))
    becomes(  # the convolution cannot take it along
        build.graph(pool, conv),
        ("conv", Conv2d(4, 3), "x"),
        ("pool.first", MaxPool(2), "conv"),
        ("pool", Relu(), "pool.first"),
    )


# -- cascades and wide windows ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "one, two, merged",
    [
        (MaxPool(3, 1, 1), MaxPool(2, 1), MaxPool(4, 1, 1)),
        (MaxPool(2, 1), MaxPool(2, 1), MaxPool(3, 1)),
        (MaxPool(2, 1, (0, 1, 1, 0)), MaxPool(2, 2), MaxPool(3, 2, (0, 1, 1, 0))),
        (MaxPool((3, 1), 1), MaxPool((2, 1), 1, (0, 0, 1, 0)), MaxPool((4, 1), 1, (0, 0, 1, 0))),
        (MaxPool(2, 1, "same"), MaxPool(2, 1, "same"), MaxPool(3, 1, (0, 0, 2, 2))),
    ],
    ids=str,
)
def test_cascades(one, two, merged):
    after, _ = apply(RewritePool(), chain(one, two, shape=(2, 7, 6)))
    assert after.nodes[0].data == ("x",)
    if min(merged.kernel) < 4:
        assert steps(after) == [("b", merged, "x")]


@pytest.mark.parametrize(
    "k, p", [((3, 3), (1, 1)), ((5, 3), (2, 1)), ((5, 5, 5), (2, 2, 2)), ((3, 4), (2, 3))]
)
def test_cascades_at_every_border(k, p):
    graph = chain(*(MaxPool(k, 1, p) for k, p in zip(k, p, strict=True)), shape=(2, 6, 9))
    after, _ = apply(RewritePool(), graph)
    kernel = sum(k) - len(k) + 1
    assert [n.op.kernel for n in after.nodes] in ([(kernel, kernel)], [(1, kernel), (kernel, 1)])


def test_what_is_no_cascade():
    stays(chain(MaxPool(2), MaxPool(2)), b="'a' skips points: its stride is 2x2")
    stays(chain(MaxPool(2, 1), MaxPool(2, 1, dilation=2)), b="dilated")
    build = Builder("float64")
    one = build("one", MaxPool(3, 1, 1), build.input(2, 8, 8))
    two = build("two", MaxPool(3, 1, 1), one)
    stays(build.graph(build("cat", Concat(), one, two)), two="'one' is also read by 'cat'")  # SPPF reads all
    stays(chain(MaxPool((1, 3), 1), MaxPool((3, 1), 1)))


@pytest.mark.parametrize(
    "op",
    [
        MaxPool(5, 1, 2),
        MaxPool((4, 6), 1, (0, 1, 2, 3)),
        MaxPool(4, 1, dilation=2, padding=3),
        MaxPool(7, 2, 3, ceil_mode=True),
        AvgPool(5, 1, 2),
        AvgPool(5, 1, 2, count_include_pad=True),
        AvgPool(7, 2, 3, ceil_mode=True),
        AvgPool(7, 2, (1, 2, 3, 2), ceil_mode=True, count_include_pad=True),
    ],
    ids=str,
)
def test_wide_windows_are_separated(op):
    after, _ = apply(RewritePool(), chain(op, shape=(2, 12, 13)))
    first, last = after.nodes
    assert (first.name, last.name) == ("a.first", "a")
    assert (first.op.kernel[0], last.op.kernel[1]) == (1, 1)
    assert (first.op.kernel[1], last.op.kernel[0]) == op.kernel[::-1]


def test_small_windows_and_those_side_by_side_are_not():
    for op in (MaxPool(3, 1, 1), AvgPool(3, 1, 1), MaxPool(3, 2), MaxPool(4), AvgPool((1, 9), 1)):
        stays(chain(op, shape=(2, 12, 12)))


# -- convolutions behind a mean --------------------------------------------------------------------


def test_golden_transition_of_densenet():
    graph = chain(Relu(), Conv2d(2, 1, bias=False), AvgPool(2), shape=(4, 8, 8), dtype="float32")
    after, record = apply(RewritePool(), graph)
    assert text.diff(graph, after) == (
        "+ c.first = avg_pool{kernel=[2, 2], stride=[2, 2]}(a) : float32[N, 4, 4, 4]\n"
        "- b = conv2d{channels=2, kernel=[1, 1], bias=false}(a, b.weight) : float32[N, 2, 8, 8]\n"
        "- c = avg_pool{kernel=[2, 2], stride=[2, 2]}(b) : float32[N, 2, 4, 4]\n"
        "+ c = conv2d{channels=2, kernel=[1, 1], bias=false}(c.first, b.weight) : float32[N, 2, 4, 4]\n"
    )
    assert after.macs * 4 == graph.macs
    assert [(r.node, r.what) for r in record.rewrites] == [("c", "'b' runs on 16 points, not 64")]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "pool",
    [
        AvgPool(2),
        AvgPool(3, 2, 1),
        AvgPool(3, 2, 1, ceil_mode=True),
        AvgPool(2, 2, ceil_mode=True, count_include_pad=True),
        GlobalAvgPool(),
        AvgPool(9),
    ],
    ids=str,
)
def test_a_linear_convolution_runs_behind_a_mean(pool, bias):
    conv = Conv2d(30, 1, groups=2, bias=bias)
    wanted = GlobalAvgPool() if pool == AvgPool(9) else pool
    becomes(chain(conv, pool, shape=(20, 9, 9)), ("b.first", wanted, "x"), ("b", conv, "b.first"))


def test_two_convolutions_run_behind_one_mean():
    one, two = Conv2d(12, 1), Conv2d(8, 1)
    graph = chain(one, two, AvgPool(2))
    becomes(
        graph, ("c.first.first", AvgPool(2), "x"), ("c.first", one, "c.first.first"), ("c", two, "c.first")
    )


def test_a_convolution_stays():
    counting = AvgPool(3, 2, 1, count_include_pad=True)
    one = Conv2d(12, 1)
    stays(chain(one, counting), b="counts padding, which the bias of 'a' is not added to")
    free = Conv2d(12, 1, bias=False)
    becomes(chain(free, counting), ("b.first", counting, "x"), ("b", free, "b.first"))
    stays(chain(Conv2d(12, 1, stride=2), AvgPool(2)), b="'a' skips points or pads")
    stays(chain(Conv2d(12, 1, padding=1), AvgPool(2)), b="'a' skips points or pads")
    stays(chain(one, AvgPool(3, 1, 1)), b="'b' leaves 64 points of 64")
    stays(chain(Conv2d(1, 1), AvgPool(4, 2), shape=(8, 8, 8)), b="would run on 8 channels, not 1")
    stays(chain(one, Relu(), AvgPool(2)))
    stays(chain(one, MaxPool(2)))
    build = Builder("float64")
    conv = build("conv", one, build.input(4, 8, 8))
    stays(build.graph(build("pool", AvgPool(2), conv), conv), pool="'conv' is an output of the graph")


def test_what_ends_up_together_fuses_in_one_optimisation():
    graph = chain(Conv2d(8, 1, bias=False), AvgPool(2), BatchNorm(), Relu())
    after = optimized(graph)
    same_values(graph, after, 1e-12)
    assert [n.op.name for n in after.nodes] == ["avg_pool", "fused"]
    assert optimized(after) is after


# -- a mean as stride ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "conv, pool, wide",
    [
        (Conv2d(6, 5, padding=2), AvgPool(2), Conv2d(6, 6, 2, 2)),
        (Conv2d(6, 5, padding="same", flip=True), AvgPool(2), Conv2d(6, 6, 2, 2, flip=True)),
        (Conv2d(8, 3, groups=2, bias=False), AvgPool(2), Conv2d(8, 4, 2, groups=2, bias=False)),
        (Conv2d(6, 5, 2, (0, 1, 2, 3)), AvgPool(2), Conv2d(6, 7, 4, (0, 1, 2, 3))),
        (Conv2d(6, (5, 3)), AvgPool((2, 1)), Conv2d(6, (6, 3), (2, 1))),
    ],
    ids=str,
)
def test_a_mean_joins_the_stride(conv, pool, wide):
    after, record = becomes(chain(conv, pool, shape=(4, 12, 13)), ("b", wide, "x"))
    assert set(after.weights) == {"b.spread_weight"} | ({"a.bias"} if conv.bias else set())
    assert record.after.macs < record.before.macs


def test_a_mean_stays_a_step():
    conv = Conv2d(6, 5, padding=2)
    stays(chain(conv, AvgPool(3, 1)), b="one 7x7 convolution with 'a' would do more work than both")
    stays(chain(Conv2d(6, 3), AvgPool(2)), b="has a fast algorithm")
    stays(chain(Conv2d(4, 5, groups=4), AvgPool(2)), b="takes one channel a filter")
    stays(chain(conv, AvgPool(2, 2, 1)), b="hang over")
    stays(chain(conv, AvgPool(2, ceil_mode=True), shape=(4, 7, 7)), b="hang over")
    stays(chain(Conv2d(6, 3, dilation=2), AvgPool(2)), b="dilated")
    build = Builder("float64")
    x = build.input(4, 8, 8)
    weight = build.weight("w", np.ones((6, 4, 5, 5)), np.eye(5, dtype=bool) & np.ones((6, 4, 1, 1), bool))
    stays(build.graph(build("b", AvgPool(2), build("a", conv, x, weight=weight))), b="'w' is pruned")


@st.composite
def windows(draw):
    """A pool of any kind, often larger than the plane."""
    kernel = (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    pads = tuple(draw(st.integers(0, kernel[i % 2] // 2)) for i in range(4))
    stride, ceil = draw(st.sampled_from((1, 1, 2, (1, 2), 3))), draw(st.booleans())
    if draw(st.booleans()):
        return MaxPool(kernel, stride, draw(st.sampled_from((pads, "same"))), ceil_mode=ceil)
    return AvgPool(kernel, stride, pads, ceil_mode=ceil, count_include_pad=draw(st.booleans()))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_chains_of_pools_convolutions_and_activations(data):
    build = Builder("float64")
    x = build.input(
        data.draw(st.integers(1, 6)), data.draw(st.integers(3, 14)), data.draw(st.integers(3, 14))
    )
    convs = st.builds(Conv2d, st.integers(1, 8), st.sampled_from((1, 1, 5)), bias=st.booleans())
    step = st.one_of(windows(), windows(), convs, st.sampled_from((*RISING, *OTHERS)))
    for number in range(data.draw(st.integers(2, 6))):
        try:
            x = build(f"n{number}", data.draw(step), x)
        except ShapeError:
            continue
    graph = build.graph(build("end", Add(), x, x))
    apply(RewritePool(), graph)
    after = optimized(graph)
    same_values(graph, after, 1e-11)
    assert optimized(after) is after


def test_limit():
    graph = chain(Relu(), MaxPool(2), MaxPool(5, 1, 2))
    for limit in range(4):
        after, record = apply(RewritePool(), graph, limit=limit)
        assert len(record.rewrites if limit else ()) == min(limit, 2)
        assert len(after.nodes) == (4 if limit > 1 else 3)
