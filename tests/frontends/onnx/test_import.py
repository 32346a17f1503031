"""The importer: what becomes of names, batches, constants, shape arithmetic, functions; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import nbcnn
from nbcnn import reference
from nbcnn.errors import ModelFileError, NbcnnError, OptionError
from nbcnn.frontends.onnx.known import PROBES, Known

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
mutations = pytest.importorskip("mutations")
model, value, node = mutations.model, mutations.value, onnx.helper.make_node


def kinds(graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


def agrees(proto, inputs: dict[str, np.ndarray]) -> nbcnn.Graph:
    """The graph, after ONNX Runtime gave the same answers as its compiled form."""
    graph = nbcnn.from_onnx(proto)
    wanted = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, inputs
    )
    got = nbcnn.compile(graph).run(inputs)
    for name, want in zip((o.name for o in proto.graph.output), wanted, strict=True):
        assert got[name].dtype == want.dtype
        np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-5)
    return graph


@pytest.mark.filterwarnings("ignore:no kernel yet")
@pytest.mark.parametrize("name", ["image", "shapes", "parts"])
@pytest.mark.parametrize("batch", [1, 3])
def test_seeds_agree_with_onnx_runtime(name: str, batch: int, rng) -> None:
    proto = mutations.seeds()[name]
    (info,) = proto.graph.input
    extents = [d.dim_value or batch for d in info.type.tensor_type.shape.dim]
    for output in proto.graph.output:  # ONNX Runtime wants to know what is a tensor
        output.CopyFrom(
            next(i for i in onnx.shape_inference.infer_shapes(proto).graph.output if i.name == output.name)
        )
    proto.ir_version = 8
    agrees(proto, {info.name: rng.standard_normal(extents).astype(np.float32)})


def test_the_first_open_extent_is_the_batch_whatever_it_is_called() -> None:
    graph = nbcnn.from_onnx(model([node("Relu", ["x"], ["y"])], [("x", ["batch_size", 3])], ["y"]))
    assert graph.inputs["x"].shape == ("N", 3)
    unnamed = nbcnn.from_onnx(model([node("Relu", ["x"], ["y"])], [("x", [None, 3])], ["y"]))
    assert unnamed.inputs["x"].shape == ("N", 3)


def test_other_open_extents_are_bound_by_shapes() -> None:
    proto = model([node("GlobalAveragePool", ["x"], ["y"])], [("x", ["b", 3, "height", "width"])], ["y"])
    with pytest.raises(ModelFileError, match=r"'height' of input 'x' is open: give shapes"):
        nbcnn.from_onnx(proto)
    graph = nbcnn.from_onnx(proto, shapes={"height": 7, "width": 5})
    assert graph.inputs["x"].shape == ("N", 3, 7, 5)
    assert nbcnn.from_onnx(proto, shapes={"N": 2, "height": 7, "width": 5}).inputs["x"].shape == (2, 3, 7, 5)
    with pytest.raises(OptionError, match=r"no input has the symbol 'heigth'; did you mean 'height'\?"):
        nbcnn.from_onnx(proto, shapes={"heigth": 7})
    with pytest.raises(OptionError, match="whole number"):
        nbcnn.from_onnx(proto, shapes={"height": -7})


def test_two_batches_are_two_symbols() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [("x", ["a", 3]), ("z", ["b", 3])], ["y"])
    with pytest.raises(ModelFileError, match="'b' of input 'z'"):
        nbcnn.from_onnx(proto)


@pytest.mark.parametrize("name", ["/conv1/Conv_output_0", "a.b:0", "model/dense/BiasAdd;x", "a b", "ä"])
def test_names_survive(name: str, tmp_path, rng) -> None:
    nodes = [node("Conv", ["in/x:0", f"{name}.w"], [name]), node("Relu", [name], ["out/y:0"])]
    weight = rng.standard_normal((2, 3, 1, 1)).astype(np.float32)
    graph = nbcnn.from_onnx(model(nodes, [("in/x:0", ["N", 3, 4, 4])], ["out/y:0"], [(f"{name}.w", weight)]))
    assert (list(graph.inputs), list(graph.weights)) == (["in/x:0"], [f"{name}.w"])
    assert ([n.name for n in graph.nodes], list(graph.outputs)) == ([name, "out/y:0"], ["out/y:0"])
    nbcnn.save(graph, tmp_path / "m.yaml")
    assert nbcnn.load(tmp_path / "m.yaml").nodes == graph.nodes
    nbcnn.to_onnx(graph, tmp_path / "m.onnx")
    assert nbcnn.load(tmp_path / "m.onnx").nodes == graph.nodes


def test_shape_arithmetic_leaves_no_node(rng) -> None:
    """[N, 6, 4] -> [N, 24], as exporters of open batches write it."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Mul", ["n", "one"], ["m"]),
        node("Unsqueeze", ["m", "axes"], ["u"]),
        node("Concat", ["u", "rest"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["y"]),
    ]
    constants = [
        ("zero", np.int64(0)),
        ("one", np.int64(1)),
        ("axes", np.array([0])),
        ("rest", np.array([-1])),
    ]
    proto = model(nodes, [("x", ["N", 6, 4])], [], constants, 13)
    proto.graph.output.append(value("y", None))
    proto.ir_version = 8
    graph = agrees(proto, {"x": rng.standard_normal((3, 6, 4)).astype(np.float32)})
    assert (kinds(graph), dict(graph.weights)) == (["flatten"], {})


def test_what_the_batch_alone_decides_is_told_apart() -> None:
    twice = Known.of(*(np.array([n, 2 * n, 7, n]) for n in PROBES))
    with pytest.raises(NbcnnError, match="not the batch itself"):
        twice.dims()
    assert Known.of(*(np.array([n, 7]) for n in PROBES)).dims() == ("N", 7)
    assert Known.of(*(np.array([max(n, 1)]) for n in PROBES)).dims() == ("N",)
    for other in (lambda n: max(n, 2), lambda n: (n + 1) // 2, lambda n: n * n, lambda n: min(n, 7)):
        with pytest.raises(NbcnnError, match="not the batch itself"):
            Known.of(*(np.array([other(n)]) for n in PROBES)).dims()
    assert Known.of(*(np.array([7.5]) for _ in PROBES)).fixed


def test_constants_are_folded_and_identities_gone(rng) -> None:
    nodes = [
        node("Constant", [], ["k"], value=onnx.numpy_helper.from_array(np.float32([[1, 2], [3, 4]]))),
        node("Transpose", ["k"], ["t"]),
        node("Identity", ["x"], ["i"]),
        node("Identity", ["i"], ["j"]),
        node("Gemm", ["j", "t"], ["y"]),
        node("Dropout", ["y"], ["z", "mask"]),
    ]
    graph = nbcnn.from_onnx(model(nodes, [("x", [1, 2])], ["z", "mask"]))
    assert kinds(graph) == ["dense"]
    results = reference.run(graph, np.float32([[5, 6]]))
    np.testing.assert_array_equal(results["z"], np.float32([[5, 6]]) @ np.float32([[1, 3], [2, 4]]))
    np.testing.assert_array_equal(results["mask"], [[True, True]])


def test_inputs_given_as_constants() -> None:
    proto = model(
        [node("Reshape", ["x", "to"], ["y"])],
        [("x", [2, 6]), value("to", [2], onnx.TensorProto.INT64)],
        ["y"],
    )
    with pytest.raises(ModelFileError, match="'to', is computed at run time"):
        nbcnn.from_onnx(proto)
    graph = nbcnn.from_onnx(proto, constants={"to": np.array([3, 4])})
    assert (list(graph.inputs), graph.type("y").shape) == (["x"], (3, 4))
    with pytest.raises(OptionError, match="input 'to' is"):
        nbcnn.from_onnx(proto, constants={"to": np.array([3.0, 4.0])})
    with pytest.raises(OptionError, match="no input 'too'"):
        nbcnn.from_onnx(proto, constants={"too": np.array([3, 4])})


def test_every_node_that_cannot_be_served_is_listed() -> None:
    nodes = [
        node("LSTM", ["x"], ["a"], name="first", hidden_size=4),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["x"], ["c"], name="second", kernel_shape=[3, 3], invented=1),
        node("Mine", ["b"], ["d"], domain="my.domain"),
    ]
    with pytest.raises(ModelFileError) as caught:
        nbcnn.from_onnx(model(nodes, [("x", ["N", 3, 8, 8])], ["d"]))
    first, *lines = str(caught.value).split("\n  ")
    assert first.endswith("3 nodes cannot be read:")
    assert lines[0].startswith("'first' LSTM(hidden_size=4): the operator LSTM is not served")
    assert lines[1].startswith("'second' MaxPool(")
    assert "attribute invented is not supported" in lines[1]
    assert "my.domain.Mine" in lines[2]


def test_external_data_is_mapped_not_loaded(tmp_path, rng) -> None:
    weight = rng.standard_normal((5, 3)).astype(np.float32)
    proto = model([node("Gemm", ["x", "w"], ["y"], transB=1)], [("x", ["N", 3])], ["y"], [("w", weight)])
    onnx.save_model(
        proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    graph = nbcnn.load(tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes((2 * weight).tobytes())  # read when first asked for
    np.testing.assert_array_equal(graph.weight("w").array, 2 * weight)
    with pytest.raises(OptionError, match="holds its own"):
        nbcnn.load(tmp_path / "m.onnx", weights="other.safetensors")


@pytest.mark.filterwarnings("ignore:no kernel yet")
@pytest.mark.parametrize(
    "dtype",
    [
        "float64",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint64",
        "uint16",
        "uint8",
        "bool",
    ],
)
def test_initialisers_of_every_dtype(dtype: str, tmp_path) -> None:
    import ml_dtypes  # noqa: F401  # gives NumPy bfloat16

    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    for raw in (True, False):
        tensor = onnx.helper.make_tensor(
            "w", kind, [2, 2], array.tobytes() if raw else array.ravel().tolist(), raw
        )
        proto = model([node("Concat", ["x", "w"], ["y"], axis=1)], [value("x", [2, 1], kind)], ["y"])
        proto.graph.initializer.append(tensor)
        graph = nbcnn.from_onnx(proto)
        assert graph.type("y").dtype == dtype
        nbcnn.save(graph, tmp_path / "m.yaml")
        np.testing.assert_array_equal(nbcnn.load(tmp_path / "m.yaml").weight("w").array, array)
        x = np.array([[1], [0]]).astype(dtype)
        np.testing.assert_array_equal(nbcnn.compile(graph)(x), np.concatenate([x, array], 1))


def test_an_unknown_kind_of_source() -> None:
    with pytest.raises(OptionError, match="expected a path, bytes or a ModelProto, got int"):
        nbcnn.from_onnx(7)  # type: ignore[arg-type]
    with pytest.raises(ModelFileError, match=r"no such file|cannot be read"):
        nbcnn.from_onnx("nowhere.onnx")


def test_weights_that_are_inputs_run_through_the_reference(rng) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("BatchNormalization", ["c", "s", "s", "s", "s"], ["y"])]
    constants = [("s", np.ones(4, np.float32))]
    graph = nbcnn.from_onnx(model(nodes, [("x", ["N", 3, 5, 5]), ("w", [4, 3, 1, 1])], ["y"], constants))
    inputs = {k: rng.standard_normal(t.extents(2)).astype(np.float32) for k, t in graph.inputs.items()}
    with pytest.warns(UserWarning, match="no kernel yet for c"):
        program = nbcnn.compile(graph)
    np.testing.assert_allclose(program.run(inputs)["y"], reference.run(graph, inputs)["y"], atol=1e-5)


@pytest.mark.parametrize("name", ["lenet5", pytest.param("mobilenet_v3_large", marks=pytest.mark.slow)])
def test_imported_models_get_the_same_kernels(name: str, tmp_path) -> None:
    nbcnn.to_onnx(nbcnn.load(name), tmp_path / "m.onnx")
    here, there = (nbcnn.compile(nbcnn.load(m)).explain() for m in (name, tmp_path / "m.onnx"))
    assert [(s.kernel, s.layout) for s in there] == [(s.kernel, s.layout) for s in here]
