import numpy as np
from strategies import Builder

from nbcnn.ir import Graph, Rewriter, text
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.conv2d import Conv2d
from nbcnn.passes import optimize


def network() -> Graph:
    build = Builder()
    x = build.input(3, 4, 4)
    build.weight("w", np.ones((3, 3, 1, 1)), np.eye(3).reshape(3, 3, 1, 1) > 0)
    c = build("conv", Conv2d(3, (1, 1), bias=False), x, weight="w")
    a = build("act", Relu(), build("sum", Add(), c, x))
    return build.graph({"y": a, "act": a})


PLAIN = """\
graph g
input x : float32[N, 3, 4, 4]
weight w : float32[3, 3, 1, 1] computed, density 0.3333
conv = conv2d{channels=3, kernel=[1, 1], bias=false}(x, w) : float32[N, 3, 4, 4]
sum = add(conv, x) : float32[N, 3, 4, 4]
act = relu(sum) : float32[N, 3, 4, 4]
output y = act
output act
"""

FUSED = """\
- conv = conv2d{channels=3, kernel=[1, 1], bias=false}(x, w) : float32[N, 3, 4, 4]
- sum = add(conv, x) : float32[N, 3, 4, 4]
- act = relu(sum) : float32[N, 3, 4, 4]
+ act = fused(x, w) : float32[N, 3, 4, 4]
+   conv = conv2d{channels=3, kernel=[1, 1], bias=false}(x, w)
+   sum = add(conv, x)
+   act = relu(sum)
"""


def test_a_line_per_value():
    assert text.dump(network()).splitlines()[1:] == PLAIN.splitlines()[1:]


def test_diff_shows_what_changed_and_nothing_else():
    graph = network()
    assert text.diff(graph, graph) == text.diff(graph, network()) == ""
    assert text.diff(graph, optimize(graph)) == FUSED


def test_diff_shows_weights_of_other_values():
    graph = network()
    rw = Rewriter(graph)
    assert rw.begin("conv", "doubles")
    weight = rw.graph.weight("w")
    twice = rw.add_weight("twice", weight.array * 2, mask=weight.mask)
    rw.redirect("w", twice)
    rw.erase("w")
    assert text.diff(graph, rw.graph).splitlines()[1] == (
        "- conv = conv2d{channels=3, kernel=[1, 1], bias=false}(x, w) : float32[N, 3, 4, 4]"
    )
    build = Builder(seed=1)
    x = build("act", Conv2d(2, (1, 1)), build.input(3, 4, 4))
    other = Builder(seed=2)
    other("act", Conv2d(2, (1, 1)), other.input(3, 4, 4))
    assert text.diff(build.graph(x), other.graph(x)) == (
        "~ weight act.weight : other values\n~ weight act.bias : other values\n"
    )


def test_an_operator():
    assert text.op(Relu()) == "relu"
    assert text.op(Conv2d(2, (3, 3), padding=(1, 1, 1, 1))) == (
        "conv2d{channels=2, kernel=[3, 3], padding=[1, 1, 1, 1]}"
    )
