import pytest
from pass_checks import apply, refusals
from strategies import Builder, every_op

from nbcnn.errors import PassError
from nbcnn.ops.activation import Gelu, LeakyRelu, Relu, Silu
from nbcnn.ops.conv2d import Conv2d
from nbcnn.passes import Pipeline, optimize
from nbcnn.passes.swap_activation import SwapActivation


def two(first, second):
    build = Builder()
    x = build("a1", first, build("conv", Conv2d(3, 1), build.input(3, 4, 4)))
    return build.graph(build("a2", second, x))


def test_swaps_every_node_and_says_how_far_they_differ():
    after, record = apply(SwapActivation("silu", "hard_swish"), two(Silu(), Silu()))
    assert every_op(after) == ["conv2d", "hard_swish", "hard_swish"]
    assert [r.what for r in record.rewrites] == [
        "silu to hard_swish, at most 0.142 apart on [-8, 8]",
        "silu to hard_swish, at most 0.142 apart on [-8, 8]",
    ]


def test_swaps_inside_fused_nodes():
    graph = optimize(two(Relu(), Silu()), ["fuse-activation"])
    after, record = apply(SwapActivation("relu", "relu6"), graph)
    assert every_op(after) == ["[conv2d relu6]", "silu"]
    assert record.rewrites[0].what == "relu to relu6, at most 2 apart on [-8, 8]"
    assert [n.name for n in after.node("a1").op.body.nodes] == ["conv", "a1"]


def test_attributes_of_either():
    after, _ = apply(SwapActivation("gelu", {"gelu": {"approximate": "tanh"}}), two(Gelu(), Relu()))
    assert after.node("a1").op == Gelu("tanh")
    graph = two(LeakyRelu(0.1), LeakyRelu(0.2))
    after, _ = apply(SwapActivation({"leaky_relu": {"alpha": 0.1}}, "relu"), graph)
    assert [n.op for n in after.nodes[1:]] == [Relu(), LeakyRelu(0.2)]
    assert every_op(apply(SwapActivation("leaky_relu", "relu"), graph)[0]) == ["conv2d", "relu", "relu"]


def test_chooses_nodes():
    after, record = apply(SwapActivation("relu", "silu", nodes=("a2", "b*")), two(Relu(), Relu()))
    assert every_op(after) == ["conv2d", "relu", "silu"]
    assert refusals(record) == {"b*": "no node has such a name"}


def test_leaves_other_activations_alone():
    after, record = apply(SwapActivation("tanh", "relu"), graph := two(Relu(), Silu()))
    assert after is graph
    assert not record.refusals


def test_limit():
    after, _ = apply(SwapActivation("relu", "silu"), two(Relu(), Relu()), limit=1)
    assert every_op(after) == ["conv2d", "silu", "relu"]


@pytest.mark.parametrize(
    "spec, word",
    [
        ("swap-activation{old=relu}", "needs the option 'new'"),
        ("swap-activation{old=relu, new=sillu}", "'sillu' is no activation; did you mean 'silu'?"),
        ("swap-activation{old=conv2d, new=relu}", "option 'old': 'conv2d' is no activation"),
        ("swap-activation{old=relu{alpha=1}, new=silu}", "relu has no attribute 'alpha'; it takes none"),
        ("swap-activation{old=elu{alhpa=1}, new=silu}", "did you mean 'alpha'?"),
        ("swap-activation{old=relu, new=gelu{approximate=erf}}", "approximate must be 'none' or 'tanh'"),
        ("swap-activation{old=relu, new=elu{alpha=x}}", "option 'new'"),
    ],
)
def test_bad_options(spec, word):
    with pytest.raises(PassError, match="swap-activation") as error:
        Pipeline.of(spec)
    assert word in str(error.value)


def test_spec_round_trips():
    for pass_ in (
        SwapActivation("silu", "hard_swish"),
        SwapActivation({"leaky_relu": {"alpha": 0.1}}, {"gelu": {"approximate": "tanh"}}, ("head.*",)),
    ):
        assert Pipeline.of(str(pass_)).steps == (pass_,)
        assert Pipeline.of([pass_.data()]).steps == (pass_,)
    assert str(pass_) == (
        "swap-activation{old=leaky_relu{alpha=0.1}, new=gelu{approximate=tanh}, nodes=[head.*]}"
    )
