"""The backend beyond the suite: inputs that decide shapes, weights that are inputs, open extents, errors."""

from __future__ import annotations

import numpy as np
import pytest

from nbcnn.errors import InputError, ModelFileError, OptionError

onnx = pytest.importorskip("onnx")
mutations = pytest.importorskip("mutations")
backend = pytest.importorskip("nbcnn.onnx_backend")
model, value, node = mutations.model, mutations.value, onnx.helper.make_node

pytestmark = pytest.mark.filterwarnings("ignore:no kernel yet")
INT = onnx.TensorProto.INT64


def test_module_and_class_are_backends() -> None:
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA:0")
    for name in ("prepare", "run_model", "run_node", "supports_device", "is_compatible"):
        assert getattr(backend, name) == getattr(backend.NbcnnBackend, name)


def test_one_program_for_each_shape_that_an_input_asks_for(rng) -> None:
    proto = model([node("Reshape", ["x", "to"], ["y"])], [("x", [2, 6]), value("to", [None], INT)], ["y"])
    rep = backend.prepare(proto)
    x = rng.standard_normal((2, 6)).astype(np.float32)
    for to in ([3, 4], [12], [3, 4], [1, 2, -1]):
        (y,) = rep.run([x, np.array(to)])
        np.testing.assert_array_equal(y, x.reshape(to))
    assert len(rep._programs) == 3
    for extent in range(1, 20):
        rep.run([x, np.array([1] * extent + [12])])
    assert len(rep._programs) == backend.PROGRAMS


def test_shapes_that_are_computed_from_inputs(rng) -> None:
    nodes = [
        node("Add", ["a", "a"], ["b"]),
        node("Reshape", ["x", "b"], ["y"]),
        node("Slice", ["y", "from", "b"], ["z"]),
    ]
    inputs = [("x", [4, 6]), value("a", [2], INT), value("from", [2], INT)]
    rep = backend.prepare(model(nodes, inputs, ["z"]))
    x = rng.standard_normal((4, 6)).astype(np.float32)
    found = rep.run({"x": x, "a": np.array([3, 2]), "from": np.array([1, 2])})
    np.testing.assert_array_equal(found.z, x.reshape(6, 4)[1:6, 2:4])


def test_weights_that_are_inputs_are_read_anew(rng) -> None:
    proto = model([node("Conv", ["x", "w"], ["y"])], [("x", ["N", 3, 5, 5]), ("w", [2, 3, 1, 1])], ["y"])
    rep = backend.prepare(proto)
    for batch in (1, 2):
        x = rng.standard_normal((batch, 3, 5, 5)).astype(np.float32)
        w = rng.standard_normal((2, 3, 1, 1)).astype(np.float32)
        (y,) = rep.run([x, w])
        np.testing.assert_allclose(y, np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0]), atol=1e-5)


def test_open_extents_take_the_shapes_of_the_arrays(rng) -> None:
    rep = backend.prepare(model([node("GlobalMaxPool", ["x"], ["y"])], [("x", ["N", 3, "h", "w"])], ["y"]))
    for shape in ((1, 3, 4, 5), (2, 3, 6, 2)):
        x = rng.standard_normal(shape).astype(np.float32)
        np.testing.assert_array_equal(rep.run(x)[0], x.max((2, 3), keepdims=True))


def test_run_node_and_run_model(rng) -> None:
    x = rng.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_array_equal(backend.run_node(node("Relu", ["x"], ["y"]), [x]).y, np.maximum(x, 0))
    (y,) = backend.run_node(node("Softmax", ["x"], ["y"], axis=0), {"x": x[:, :1]}, opset_version=11)
    assert y.sum() == pytest.approx(1)  # over both axes, as it was before opset 13
    proto = model([node("Neg", ["x"], ["y"])], [("x", [2, 3])], ["y"])
    np.testing.assert_array_equal(backend.run_model(proto, [x])[0], -x)


def test_errors() -> None:
    proto = model([node("Neg", ["x"], ["y"])], [("x", [2, 3])], ["y"])
    with pytest.raises(OptionError, match="unknown device 'TPU'"):
        backend.prepare(proto, "TPU")
    with pytest.raises(OptionError, match="unknown option 'thread'"):
        backend.prepare(proto, thread=2)
    with pytest.raises(InputError, match="takes 1 inputs, got 2"):
        backend.prepare(proto).run([1, 2])
    with pytest.raises(InputError, match="'x' is missing"):
        backend.prepare(proto).run({"z": 1})
    with pytest.raises(ModelFileError, match="LSTM is not served"):
        backend.prepare(model([node("LSTM", ["x"], ["y"])], [("x", [2, 3])], ["y"]))
