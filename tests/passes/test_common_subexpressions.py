import time

import numpy as np
from hypothesis import given, settings
from pass_checks import apply
from strategies import Builder, every_op, graphs

from nbcnn.ir import Graph, Node
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add, Maximum, Mul, Sub
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.split import Split
from nbcnn.passes import run
from nbcnn.passes.common_subexpressions import CommonSubexpressions


def nodes(graph: Graph) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(n.name, n.op.name, n.inputs) for n in graph.nodes]


def test_equal_branches_fall_together():
    build = Builder()
    x = build.input(3, 6, 6)
    a = build("relu1", Relu(), build("conv1", Conv2d(4, 3), x))
    build.weight("copy", build.weights["conv1.weight"].array)
    b = build("relu2", Relu(), build("conv2", Conv2d(4, 3), x, weight="copy", bias="conv1.bias"))
    after, record = apply(CommonSubexpressions(), build.graph({"y": build("sum", Add(), a, b), "z": b}))
    assert nodes(after) == [
        ("conv1", "conv2d", ("x", "conv1.weight", "conv1.bias")),
        ("relu1", "relu", ("conv1",)),
        ("sum", "add", ("relu1", "relu1")),
    ]
    assert dict(after.outputs) == {"y": "sum", "z": "relu1"}
    assert [r.node for r in record.rewrites] == ["conv2", "relu2"]
    assert "copy" not in after.weights


def test_sums_and_products_in_either_order_concat_in_one():
    build = Builder()
    x = build.input(2, 3, 3)
    y = build("relu", Relu(), x)
    build.weight("w", np.arange(2.0).reshape(2, 1, 1))
    a, b = build("a", Add(), x, y), build("b", Add(), y, x)
    c, d = build("c", Mul(), "w", a), build("d", Mul(), b, "w")
    e, f = build("e", Concat(), c, y), build("f", Concat(), y, d)
    g, h = build("g", Maximum(), x, y), build("h", Maximum(), y, x)
    i, j = build("i", Sub(), x, y), build("j", Sub(), y, x)
    after, _ = apply(CommonSubexpressions(), build.graph(e, f, g, h, i, j))
    assert every_op(after) == ["relu", "add", "mul", "concat", "concat", "maximum", "sub", "sub"]


def test_what_differs_in_the_least_stays():
    build = Builder()
    x = build.input(2, 3, 3)
    w = build.weight("w", np.arange(4.0).reshape(2, 2, 1, 1))
    build.weight("masked", np.arange(4.0).reshape(2, 2, 1, 1), np.ones((2, 2, 1, 1), bool))
    build.weight("minus", -np.zeros((2, 2, 1, 1)))
    build.weight("plus", np.zeros((2, 2, 1, 1)))
    outputs = [
        build(f"c{i}", Conv2d(2, 1, bias=False), x, weight=v)
        for i, v in enumerate((w, "masked", "minus", "plus"))
    ]
    outputs.append(build("strided", Conv2d(2, 1, stride=2, bias=False), x, weight=w))
    graph = build.graph(*outputs)
    assert apply(CommonSubexpressions(), graph)[0] is graph


def test_nodes_of_several_outputs():
    build = Builder()
    x = build.input(5, 3, 3)
    type_ = build.types[x]
    for name in ("s", "t"):
        build.nodes.append(Node(name, Split((2, 3)), (x,), (f"{name}0", f"{name}1")))
        build.types.update(zip((f"{name}0", f"{name}1"), Split((2, 3)).infer(type_), strict=True))
    after, _ = apply(CommonSubexpressions(), build.graph("s0", "s1", "t0", "t1"))
    assert dict(after.outputs) == {"s0": "s0", "s1": "s1", "t0": "s0", "t1": "s1"}


def test_limit_stops():
    build = Builder()
    x = build.input(2)
    graph = build.graph(*(build(f"r{i}", Relu(), x) for i in range(4)))
    assert len(apply(CommonSubexpressions(), graph, limit=2)[0].nodes) == 2


def test_time_grows_with_the_nodes_and_not_with_their_pairs():
    def seconds(count: int) -> float:
        build = Builder()
        x = build.input(2)
        values = [build(f"a{i}", Add(), x, build.weight(f"w{i}", np.full(2, i))) for i in range(count)]
        graph = build.graph(*values[:1])
        start = time.perf_counter()
        report = run(graph, [CommonSubexpressions()], verify=False)
        assert not report.rewrites
        return time.perf_counter() - start

    small = min(seconds(200) for _ in range(3))
    assert min(seconds(1600) for _ in range(2)) < 30 * small


@settings(max_examples=30, deadline=None)
@given(graphs("float32"))
def test_graphs_twice_over_become_one(graph):
    """Every node again under another name: all of them go, and the results are the same bits."""

    def again(v: str) -> str:
        return v if v in graph.inputs or graph.is_weight(v) else f"{v}'"

    copies = [Node(f"{n.name}'", n.op, tuple(map(again, n.inputs)), (f"{n.output}'",)) for n in graph.nodes]
    outputs = dict(graph.outputs) | {f"{k}'": again(v) for k, v in graph.outputs.items()}
    twice = Graph.build("twice", graph.inputs, [*graph.nodes, *copies], graph.weights, outputs)
    after, _ = apply(CommonSubexpressions(), twice)
    assert len(after.nodes) <= len(graph.nodes)


def test_constants_of_the_second_go_with_it():
    build = Builder()
    x = build.input(3, 4, 4)
    shift = build.rng.standard_normal((3, 1, 1)).astype(np.float32)
    a = build("one", Add(), x, build.weight("shift", shift))
    b = build("two", Add(), x, build.weight("again", shift))
    after, _ = apply(CommonSubexpressions(), build.graph({"y": build("both", Mul(), a, b)}))
    assert nodes(after) == [("one", "add", ("x", "shift")), ("both", "mul", ("one", "one"))]
    assert list(after.weights) == ["shift"]
