"""The real engines on small ONNX models, against ONNX Runtime as a session made by hand."""

import importlib

import numpy as np
import pytest

import nbcnn
from nbcnn.bench.engines import ENGINES, NBCNN, Task, select
from nbcnn.bench.engines.own import as_row
from nbcnn.errors import OptionError

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

rng = np.random.default_rng(7)


def weights(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def save(path, nodes, initializers, shape, outputs=("y",)):
    """Write the nodes as a model; ``initializers`` maps names to arrays."""
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", kind, ["N", *shape[1:]])],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in initializers.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def answers(path, x):
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})


def same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


node = helper.make_node
SHAPE = (2, 4, 9, 11)
CONV = {"w": weights(6, 4, 3, 3), "b": weights(6)}
HALF = {"w": weights(8, 2, 3, 3)}
BATCH_NORM = {n: np.abs(weights(4)) + 0.5 for n in ("g", "b", "m", "v")}
I64 = np.int64

CASES = {
    "conv": ([node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2])], CONV),
    "conv uneven": ([node("Conv", ["x", "w"], ["y"], pads=[0, 1, 2, 1], dilations=[2, 1])], CONV),
    "conv same": ([node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2])], CONV),
    "conv groups": ([node("Conv", ["x", "w"], ["y"], group=2)], HALF),
    "batch norm": (
        [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=1e-3)],
        BATCH_NORM,
    ),
    "max pool": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])],
        {},
    ),
    "max pool ceil": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        {},
    ),
    "average pool": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
        {},
    ),
    "average pool uneven": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[0, 0, 1, 1])],
        {},
    ),
    "average pool with pad": (
        [
            node(
                "AveragePool",
                ["x"],
                ["y"],
                kernel_shape=[3, 3],
                pads=[0, 0, 1, 1],
                count_include_pad=1,
            )
        ],
        {},
    ),
    "global pool": ([node("GlobalAveragePool", ["x"], ["y"])], {}),
    "reduce mean": (
        [node("ReduceMean", ["x", "a"], ["y"], keepdims=0)],
        {"a": np.array([2, 3], I64)},
    ),
    "gemm": (
        [
            node("Flatten", ["x"], ["f"]),
            node("Gemm", ["f", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0),
        ],
        {"w": weights(5, 396), "b": weights(5)},
    ),
    "matmul": (
        [node("Reshape", ["x", "s"], ["f"]), node("MatMul", ["f", "w"], ["y"])],
        {"w": weights(396, 5), "s": np.array([0, -1], I64)},
    ),
    "clip": (
        [node("Clip", ["x", "low", "high"], ["y"])],
        {"low": np.float32(-0.5), "high": np.float32(6)},
    ),
    "relu6": (
        [node("Clip", ["x", "low", "high"], ["y"])],
        {"low": np.float32(0), "high": np.float32(6)},
    ),
    "concat": (
        [node("Relu", ["x"], ["r"]), node("Concat", ["r", "x", "r"], ["y"], axis=1)],
        {},
    ),
    "add mul": (
        [node("Add", ["x", "b"], ["a"]), node("Mul", ["a", "x"], ["y"])],
        {"b": weights(1, 4, 1, 1)},
    ),
    "split": (
        [
            node("Split", ["x", "s"], ["p", "q"], axis=1),
            node("Split", ["x"], ["r", "t"], axis=3, num_outputs=2),
            node("GlobalMaxPool", ["q"], ["m"]),
            node("Mul", ["p", "m"], ["n"]),
            node("ReduceMean", ["t"], ["u"], keepdims=1),
            node("Add", ["n", "u"], ["y"]),
        ],
        {"s": np.array([3, 1], I64)},
    ),
    "shuffle": (
        [
            node("Reshape", ["x", "s"], ["f"]),
            node("Transpose", ["f"], ["t"], perm=[0, 2, 1, 3, 4]),
            node("Gather", ["t", "i"], ["y"], axis=1),
        ],
        {"s": np.array([0, 2, 2, 9, 11], I64), "i": np.array([[1, 0, 1]], I64)},
    ),
    "transpose": ([node("Transpose", ["x"], ["y"])], {}),
    "layer norm": (
        [node("LayerNormalization", ["x", "g", "b"], ["y"], axis=-1, epsilon=1e-3)],
        {"g": weights(11), "b": weights(11)},
    ),
    "transposed conv": (
        [node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])],
        {"w": weights(4, 6, 3, 3), "b": weights(6)},
    ),
    "softmax": ([node("Softmax", ["x"], ["y"], axis=1)], {}),
    "identities": (
        [node("Dropout", ["x", "r"], ["d"]), node("Identity", ["d"], ["y"])],
        {"r": np.float32(0.5)},
    ),
    "constant": (
        [
            node("Constant", [], ["c"], value=numpy_helper.from_array(weights(4, 1, 1))),
            node("Add", ["x", "c"], ["y"]),
        ],
        {},
    ),
    "leaky": ([node("LeakyRelu", ["x"], ["y"], alpha=0.3)], {}),
    "elu": ([node("Elu", ["x"], ["y"], alpha=0.7)], {}),
    "hard sigmoid": ([node("HardSigmoid", ["x"], ["y"], alpha=0.1, beta=0.4)], {}),
    "hard sigmoid 6": ([node("HardSigmoid", ["x"], ["y"], alpha=1 / 6, beta=0.5)], {}),
    "gelu tanh": ([node("Gelu", ["x"], ["y"], approximate="tanh")], {}),
    **{name: ([node(name, ["x"], ["y"])], {}) for name in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Gelu")},
}


@pytest.mark.parametrize("case", CASES)
def test_the_torch_interpreter_agrees_with_onnx_runtime(case, tmp_path):
    torch = pytest.importorskip("torch")
    from nbcnn.bench.engines.torch_onnx import load

    nodes, initializers = CASES[case]
    x, path = 3 * weights(*SHAPE), tmp_path / "m.onnx"
    save(path, nodes, initializers, SHAPE)
    same(load(path)(torch.from_numpy(x)).numpy(), answers(path, x)[0])


def test_the_torch_interpreter_names_what_it_does_not_know(tmp_path):
    pytest.importorskip("torch")
    from nbcnn.bench.engines.torch_onnx import load

    save(tmp_path / "m.onnx", [node("Cos", ["x"], ["y"], name="c1")], {}, SHAPE)
    with pytest.raises(NotImplementedError, match=r"operator Cos \(node 'c1'\)"):
        load(tmp_path / "m.onnx")


CPU_PEERS = [name for name, rows in ENGINES.items() if rows[0].needs and "cpu" in rows[0].targets]


@pytest.mark.parametrize("name", CPU_PEERS)
def test_an_engine_runs_a_model_of_two_outputs(name, tmp_path):
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["y"]),
        node("GlobalAveragePool", ["y"], ["g"]),
        node("Flatten", ["g"], ["z"]),
    ]
    save(tmp_path / "model.onnx", nodes, CONV, SHAPE, outputs=("z", "y"))
    x = weights(*SHAPE)
    want = dict(zip(("z", "y"), answers(tmp_path / "model.onnx", x), strict=True))
    for engine in select([name]):
        if not engine.installed:
            pytest.skip(f"{name} is not installed")
        module, _, factory = engine.factory.partition(":")
        make = getattr(importlib.import_module(module), factory)
        session = make(Task(str(tmp_path), sizes={"N": SHAPE[0]}), **engine.options)
        session.compile({"x": x})
        session.run()
        got = session.read(session.run())
        assert list(got) == ["z", "y"]
        for key in want:
            if session.precision == "float32":
                same(got[key], want[key])
            else:
                assert got[key].shape == want[key].shape
        assert session.version[0].isdigit()
        if engine.peer:
            assert session.precision == "float32"


@pytest.mark.parametrize("name", ["nbcnn", "onnxruntime", "openvino", "torch"])
def test_several_requests_are_in_flight(name, tmp_path):
    nodes = [node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["y"])]
    save(tmp_path / "model.onnx", nodes, CONV, SHAPE)
    task = Task(str(tmp_path), streams=2, passes="none", sizes={"N": SHAPE[0]})
    nbcnn.save(nbcnn.load(str(task.onnx)), task.yaml)
    engine = NBCNN if name == "nbcnn" else ENGINES[name][0]
    if not engine.installed:
        pytest.skip(f"{name} is not installed")
    module, _, factory = engine.factory.partition(":")
    session = getattr(importlib.import_module(module), factory)(task)
    x = weights(*SHAPE)
    session.compile({"x": x})
    latencies, period = session.flow(0.05)
    assert len(latencies) >= 6
    assert min(latencies) > 0
    assert 0 < period < np.mean(latencies)
    same(session.read(session.run())["y"], answers(task.onnx, x)[0])


def session_of(name, folder, **sizes):
    (engine,) = ENGINES[name]
    if not engine.installed:
        pytest.skip(f"{name} is not installed")
    module, _, factory = engine.factory.partition(":")
    return getattr(importlib.import_module(module), factory)(Task(str(folder), sizes=sizes))


@pytest.mark.parametrize(
    "zeros, notes",
    [
        ("none", {""}),
        ("blocks", {"dense kernels", "sparse kernels, blocks of 1", "sparse kernels, blocks of 4"}),
    ],
)
def test_mnn_tries_its_sparse_kernels_where_there_are_zeros(zeros, notes, tmp_path, monkeypatch):
    w = weights(32, 4, 3, 3)
    if zeros == "blocks":
        w.reshape(8, 4, 36)[:, :, rng.permutation(36)[:30]] = 0
    nodes = [node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]
    save(tmp_path / "model.onnx", nodes, {"w": w}, SHAPE)
    x = weights(*SHAPE)
    session = session_of("mnn", tmp_path)
    assert {path.suffix for path in session._models.values()} == {".mnn"}
    assert set(session._models) == notes
    for chosen in notes:  # every way of running it gives the answer; one is the fastest
        seconds = iter([float(note != chosen) for note in session._models])
        monkeypatch.setattr(session, "_seconds", lambda module, seconds=seconds: next(seconds))
        session.compile({"x": x})
        assert session.note == chosen
        same(session.read(session.run())["y"], answers(tmp_path / "model.onnx", x)[0])
    sparse = [p.stat().st_size for note, p in session._models.items() if note.startswith("sparse")]
    assert all(size < 0.6 * session._models["dense kernels"].stat().st_size for size in sparse)


def test_a_compression_file_of_mnn_is_the_message_it_should_be():
    from nbcnn.bench.engines.mnn_engine import compression

    assert compression(4) == b"\n\x050.0.0\x12\x0a\x08\x01\x1a\x06\x08\x01\x1a\x02\x20\x04"


@pytest.mark.parametrize("name", ["mnn", "ncnn"])
def test_a_converter_that_fails_says_so(name, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(RuntimeError, match=r"Error parsing|DecodeError|decode"):
        session_of(name, tmp_path)


def test_nbcnn_runs_a_model_of_two_inputs(tmp_path):
    (tmp_path / "model.yaml").write_text(
        "format: 1\nname: two\ninputs: {b: [N, 3], a: [N, 3]}\n"
        "nodes: [{name: sum, op: add, inputs: [a, b]}]\n"
    )
    task = Task(str(tmp_path))
    module, _, name = NBCNN.factory.partition(":")
    session = getattr(importlib.import_module(module), name)(task)
    a, b = weights(2, 3), weights(2, 3)
    session.compile({"a": a, "b": b})
    np.testing.assert_array_equal(session.read(session.run())["sum"], a + b)
    assert session.profile()


def test_nbcnns_dense_program_leaves_out_the_passes_that_are_asked_for(tmp_path, monkeypatch):
    import nbcnn

    (tmp_path / "model.yaml").write_text(
        "format: 1\nname: one\ninputs: {a: [N, 3]}\nnodes: [{name: act, op: relu}]\n"
    )
    asked = []
    monkeypatch.setattr(nbcnn, "compile", lambda graph, **options: asked.append(options["passes"]))
    (dense,) = ENGINES["dense"]
    for engine in (NBCNN, dense):
        module, _, name = engine.factory.partition(":")
        make = getattr(importlib.import_module(module), name)
        make(Task(str(tmp_path), passes="sparsify"), **engine.options).compile({"a": weights(1, 3)})
    assert asked == ["sparsify", "default"]
    assert not dense.peer


def test_rows_are_selected_once_and_in_order():
    names = [engine.name for engine in select(["torch", "openvino", "torch"])]
    assert names == ["torch", "openvino", "openvino (default precision)"]
    assert NBCNN.installed


def test_an_unknown_engine_is_a_clear_error():
    with pytest.raises(OptionError, match="unknown engine 'onnxruntim'; did you mean 'onnxruntime'"):
        select(["onnxruntim"])


def test_profile_rows_may_be_objects():
    from dataclasses import dataclass

    @dataclass
    class Row:
        kernel: str
        ms: float

    assert as_row(Row("a", 1.0)) == as_row({"kernel": "a", "ms": 1.0}) == {"kernel": "a", "ms": 1.0}
