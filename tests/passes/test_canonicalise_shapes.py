from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from pass_checks import apply, refusals
from strategies import Builder

from nbcnn.ir import Graph, TensorType
from nbcnn.ops.activation import Relu
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.transpose import Transpose
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze
from nbcnn.passes import run
from nbcnn.passes.canonicalise_shapes import CanonicaliseShapes


def nodes(graph: Graph) -> list[tuple[str, object, tuple[str, ...]]]:
    return [(n.name, n.op, n.inputs) for n in graph.nodes]


def test_reshapes_behind_global_pooling_are_one_flatten():
    build = Builder()
    x = build("gap", GlobalAvgPool(), build.input(6, 5, 5))
    x = build("b", Reshape((0, -1)), build("a", Reshape((0, 2, 3)), x))
    after, record = apply(CanonicaliseShapes(), build.graph(x))
    assert nodes(after)[1:] == [("b", Flatten(), ("gap",))]
    assert record.gone == ("a",)


def test_a_zero_that_copies_another_extent_of_the_source():
    build = Builder()
    x = build("planes", Reshape((0, 0, 1, 1)), build("flat", Flatten(), build.input(3, 2, 2)))
    after, _ = apply(CanonicaliseShapes(), build.graph(x))
    assert nodes(after) == [("planes", Reshape(("N", 12, 1, 1)), ("x",))]


def test_chains():
    build = Builder()
    x = build("relu", Relu(), build.input(6, 4, 5))
    a = build("a2", Reshape((0, 20, 6)), build("a1", Reshape((0, 2, 3, 20)), x))
    b = build("b2", Flatten(), build("b1", Flatten(2), x))
    c = build("c2", Reshape((0, 6, 4, 5)), build("c1", Flatten(), x))  # back again
    d = build("d", Reshape((0, 0, 20)), x)
    e = build("e", Reshape((0, 3, -1)), x)
    after, _ = apply(CanonicaliseShapes(), build.graph({"a": a, "b": b, "c": c, "d": d, "e": e}))
    assert nodes(after)[1:] == [
        ("a2", Reshape((0, 20, 6)), ("relu",)),
        ("b2", Flatten(), ("relu",)),
        ("d", Flatten(2), ("relu",)),
        ("e", Reshape((0, 3, -1)), ("relu",)),
    ]
    assert after.outputs["c"] == "relu"


def test_what_others_read_stays():
    build = Builder()
    x = build.input(6, 4, 5)
    a = build("a", Reshape((0, 24, 5)), x)
    after, _ = apply(CanonicaliseShapes(), build.graph(build("r", Relu(), a), build("b", Flatten(), a)))
    assert nodes(after) == [
        ("a", Reshape((0, 24, 5)), ("x",)),
        ("r", Relu(), ("a",)),
        ("b", Flatten(), ("x",)),
    ]


def test_transposes_join_and_cancel():
    build = Builder()
    x = build("relu", Relu(), build.input(3, 4, 5))
    y = build("t1", Transpose((0, 2, 3, 1)), x)
    z = build("t2", Transpose((0, 3, 1, 2)), y)
    w = build("t4", Transpose((0, 2, 3, 1)), y)
    after, _ = apply(CanonicaliseShapes(), build.graph({"z": z, "w": w}))
    assert nodes(after)[1:] == [("t4", Transpose((0, 3, 1, 2)), ("relu",))]
    assert after.outputs["z"] == "relu"


def test_an_input_is_no_output():
    build = Builder()
    x = build.input(3, 4)
    after, _ = apply(
        CanonicaliseShapes(), build.graph(build("b", Reshape((0, 3, 4)), build("a", Flatten(), x)))
    )
    assert nodes(after) == [("b", Reshape((0, 3, 4)), ("x",))]


def test_symbols_are_refused():
    build = Builder()
    build.inputs["x"] = build.types["x"] = TensorType(("N", 6, "H", 4))
    x = build("b", Reshape((0, 3, 2, 2, 2, -1)), build("a", Reshape((0, 6, 2, 2, -1)), "x"))
    report = run(build.graph(x), [CanonicaliseShapes()])
    assert len(report.graph.nodes) == 2
    assert "symbol" in refusals(report.records[0])["b"]


def test_axes_of_one_element_are_reshapes():
    build = Builder()
    x = build("gap", GlobalAvgPool(), build.input(6, 5, 5))
    rows = build("squeeze", Squeeze((2, 3)), x)
    plane = build("unsqueeze", Unsqueeze((2, 3)), build("act", Relu(), rows))
    last = build("turn", Transpose((0, 2, 3, 1)), plane)
    after, _ = apply(CanonicaliseShapes(), build.graph(rows, plane, last))
    assert nodes(after)[1:] == [
        ("squeeze", Flatten(), ("gap",)),
        ("act", Relu(), ("squeeze",)),
        ("unsqueeze", Reshape((0, 6, 1, 1)), ("act",)),
        ("turn", Reshape((0, 1, 1, 6)), ("act",)),
    ]


def test_unsqueeze_undoes_squeeze():
    build = Builder()
    x = build("relu", Relu(), build.input(6, 1))
    y = build("b", Unsqueeze((2,)), build("a", Squeeze((2,)), x))
    after, record = apply(CanonicaliseShapes(), build.graph({"y": y}))
    assert [n.name for n in after.nodes] == ["relu"]
    assert set(record.gone) == {"a", "b"}


def test_transposes_of_more_than_one_element_stay():
    build = Builder()
    x = build("relu", Relu(), build.input(6, 1, 5))
    graph = build.graph(build("a", Transpose((0, 3, 2, 1)), x))
    after, _ = apply(CanonicaliseShapes(), graph)
    assert after is graph


SHAPES = ((4, 2, 6), (8, 6), (48,), (6, 2, 4), (4, -1), (2, 24), (1, 48), (6, 1, 8))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_chain_of_shapes(data):
    build = Builder()
    x = build("first", Relu(), build.input(4, 2, 6))
    for i in range(data.draw(st.integers(1, 5))):
        rank = build.types[x].rank
        op = data.draw(
            st.one_of(
                st.sampled_from([Reshape((0, *s)) for s in SHAPES]),
                st.integers(1, rank - 1).map(Flatten),
                st.permutations(range(1, rank)).map(lambda p: Transpose((0, *p))),
                st.integers(1, rank).map(lambda axis: Unsqueeze((axis,))),
                st.just(Squeeze()),
            )
        )
        x = build(f"n{i}", op, x)
    after, _ = apply(CanonicaliseShapes(), build.graph({"y": x}))
    kinds = [n.op.name == "transpose" for n in after.nodes[1:]]
    assert {n.op.name for n in after.nodes[1:]} <= {"transpose", "flatten", "reshape"}
    assert all(a != b for a, b in pairwise(kinds)), "two of a kind follow each other"
