import math

import numpy as np
import pytest
from pass_checks import apply, optimized
from strategies import Builder, every_op

from nbcnn.ops.activation import (
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
from nbcnn.ops.arithmetic import Add, Div, Maximum, Minimum, Mul, Pow, Sub
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.elementary import Erf, Exp, Log, Neg, Reciprocal, Sqrt
from nbcnn.ops.piecewise import Clip
from nbcnn.ops.smooth import Mish, Softplus, Softsign
from nbcnn.passes import run
from nbcnn.passes.recognise_functions import RecogniseFunctions


class Writer:
    """Arithmetic on values and numbers, a node for each operator."""

    def __init__(self, dtype="float32"):
        self.build, self.count = Builder(dtype), 0
        self.x = self.build("conv", Conv2d(3, 1), self.build.input(2, 4, 5))

    def __call__(self, op, *operands):
        self.count += 1
        names = [
            o if isinstance(o, str) else self.build.weight(f"c{self.count}.{i}", np.array(o))
            for i, o in enumerate(operands)
        ]
        return self.build(f"n{self.count}", op, *names)


def gelu_erf(w, x):
    return w(Mul(), w(Mul(), x, w(Add(), w(Erf(), w(Div(), x, math.sqrt(2))), 1.0)), 0.5)


def gelu_half_first(w, x):
    return w(Mul(), w(Mul(), 0.5, x), w(Add(), 1.0, w(Erf(), w(Mul(), x, math.sqrt(0.5)))))


def gelu_tanh(w, x):
    inner = w(Add(), x, w(Mul(), w(Pow(), x, 3.0), 0.044715))
    bent = w(Tanh(), w(Mul(), inner, math.sqrt(2 / math.pi)))
    return w(Mul(), w(Mul(), 0.5, x), w(Add(), bent, 1.0))


SPELLED = {
    "silu": (lambda w, x: w(Mul(), x, w(Sigmoid(), x)), Silu()),
    "silu by exp": (lambda w, x: w(Div(), x, w(Add(), w(Exp(), w(Neg(), x)), 1.0)), Silu()),
    "quick gelu": (lambda w, x: w(Mul(), w(Sigmoid(), w(Mul(), x, 1.702)), x), Silu(1.702)),
    "sigmoid": (lambda w, x: w(Reciprocal(), w(Add(), w(Exp(), w(Neg(), x)), 1.0)), Sigmoid()),
    "gelu": (gelu_erf, Gelu()),
    "gelu, half first": (gelu_half_first, Gelu()),
    "gelu by tanh": (gelu_tanh, Gelu("tanh")),
    "hard_swish": (
        lambda w, x: w(Mul(), x, w(Div(), w(Clip(0.0, 6.0), w(Add(), x, 3.0)), 6.0)),
        HardSwish(),
    ),
    "hard_swish by hard_sigmoid": (lambda w, x: w(Mul(), x, w(HardSigmoid(), x)), HardSwish()),
    "hard_swish by relu6": (
        lambda w, x: w(Div(), w(Mul(), w(Relu6(), w(Add(), 3.0, x)), x), 6.0),
        HardSwish(),
    ),
    "hard_sigmoid": (lambda w, x: w(Div(), w(Relu6(), w(Add(), x, 3.0)), 6.0), HardSigmoid()),
    "mish": (lambda w, x: w(Mul(), x, w(Tanh(), w(Softplus(), x))), Mish()),
    "softsign": (lambda w, x: w(Div(), x, w(Add(), w(Maximum(), x, w(Neg(), x)), 1.0)), Softsign()),
    "relu": (lambda w, x: w(Maximum(), 0.0, x), Relu()),
    "relu6": (lambda w, x: w(Minimum(), w(Maximum(), x, 0.0), 6.0), Relu6()),
    "relu by clip": (lambda w, x: w(Clip(0.0), x), Relu()),
    "a clip": (lambda w, x: w(Maximum(), w(Minimum(), x, 2.0), -1.0), Clip(-1.0, 2.0)),
    "a clip of one number": (lambda w, x: w(Maximum(), w(Minimum(), x, -2.0), -1.0), Clip(-1.0, -1.0)),
    "a root": (lambda w, x: w(Pow(), x, 0.5), Sqrt()),
    "an inverse": (lambda w, x: w(Pow(), x, -1.0), Reciprocal()),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPELLED)
def test_recognises(name, dtype):
    spell, op = SPELLED[name]
    w = Writer(dtype)
    graph = w.build.graph(spell(w, w.x))
    if op in (Sqrt(), Reciprocal()):  # NaN of negative numbers is not compared
        after = recognised(graph)
    else:
        after, _ = apply(RecogniseFunctions(), graph)
    assert [n.op for n in after.nodes[1:]] == [op]
    assert set(after.weights) == {"conv.weight", "conv.bias"}


def recognised(graph):
    return run(graph, [RecogniseFunctions()]).graph


def test_a_square_is_a_product():
    w = Writer()
    after, _ = apply(RecogniseFunctions(), w.build.graph(w(Pow(), w.x, 2.0)))
    assert every_op(after) == ["conv2d", "mul"]
    assert after.nodes[1].data == ("conv", "conv")


def other_x(w, x):
    return w(Mul(), x, w(Sigmoid(), w.build.input(3, 4, 5, name="z")))


NOT_QUITE = {
    "another value": other_x,
    "another number": lambda w, x: w(Mul(), x, w(Sigmoid(), w(Mul(), x, 1.7))),
    "a bound far out": lambda w, x: w(Clip(0.0, 1e5), x),
    "a constant per channel": lambda w, x: w(Maximum(), x, np.zeros((3, 1, 1))),
    "a cube": lambda w, x: w(Pow(), x, 3.0),
    "a difference": lambda w, x: w(Sub(), x, w(Sigmoid(), x)),
    "one that overflows": lambda w, x: w(Log(), w(Add(), w(Exp(), x), 1.0)),
    "a plain activation": lambda w, x: w(LeakyRelu(0.1), x),
}


@pytest.mark.parametrize("name", NOT_QUITE)
def test_leaves_alone(name):
    w = Writer("float64")
    graph = w.build.graph(NOT_QUITE[name](w, w.x))
    assert recognised(graph) is graph


def test_what_others_read_stays():
    w = Writer()
    gate = w(Sigmoid(), w.x)
    graph = w.build.graph(w(Mul(), w.x, gate), w(Neg(), gate))
    assert recognised(graph) is graph
    w = Writer()
    gate = w(Sigmoid(), w.x)
    graph = w.build.graph(w(Mul(), w.x, gate), gate)
    assert recognised(graph) is graph


def test_the_default_pipeline_fuses_what_was_recognised():
    w = Writer()
    after = optimized(w.build.graph(gelu_erf(w, w.x)))
    assert every_op(after) == ["[conv2d gelu]"]


def test_in_other_dtypes_it_is_held_to_their_rounding():
    w = Writer("float32")  # 0.70710678 is sqrt(0.5) within float32, and 0.7071 is not
    near = w(Mul(), w(Mul(), w.x, 0.5), w(Add(), w(Erf(), w(Mul(), w.x, 0.70710678)), 1.0))
    assert every_op(recognised(w.build.graph(near))) == ["conv2d", "gelu"]
    w = Writer("float32")
    off = w(Mul(), w(Mul(), w.x, 0.5), w(Add(), w(Erf(), w(Mul(), w.x, 0.7071)), 1.0))
    assert len(recognised(w.build.graph(off)).nodes) == 6


def test_limit():
    w = Writer()
    y = w(Mul(), w.x, w(Sigmoid(), w.x))
    graph = w.build.graph(w(Mul(), y, w(Sigmoid(), y)))
    after, record = apply(RecogniseFunctions(), graph, limit=1)
    assert every_op(after) == ["conv2d", "silu", "sigmoid", "mul"]
    assert len(record.rewrites) == 1
