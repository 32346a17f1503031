import numpy as np
import pytest
from PIL import Image
from strategies import Builder

import nbcnn
from nbcnn.debug import samples
from nbcnn.debug.samples import read
from nbcnn.errors import NbcnnError
from nbcnn.ir import Graph, TensorType
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add


def one_input() -> Graph:
    build = Builder()
    return build.graph(build("y", Relu(), build.input(3, 4, 4)))


def fixed() -> Graph:
    graph = one_input()
    return Graph.build("fixed", {"x": TensorType((2, 3, 4, 4))}, graph.nodes, {}, graph.outputs)


def test_noise_is_seeded():
    graph = one_input()
    assert read(graph, None).count == 8
    a, b, c = (read(graph, None, 5, seed).inputs["x"] for seed in (1, 1, 2))
    assert a.shape == (5, 3, 4, 4)
    assert (a == b).all() and (a != c).any()


def test_arrays_with_and_without_labels(tmp_path, rng):
    graph, array = one_input(), rng.normal(size=(10, 3, 4, 4))
    np.savez(tmp_path / "a.npz", x=array, y=np.arange(10))
    found = read(graph, tmp_path / "a.npz")
    assert (found.count, found.inputs["x"].dtype) == (10, np.float32)
    np.testing.assert_array_equal(found.labels, np.arange(10))
    few = read(graph, tmp_path / "a.npz", 4)
    np.testing.assert_array_equal(few.labels, [0, 3, 6, 9])
    np.testing.assert_array_equal(few.inputs["x"], found.inputs["x"][[0, 3, 6, 9]])
    np.savez(tmp_path / "b.npz", x=array)
    assert read(graph, tmp_path / "b.npz").labels is None
    assert read(fixed(), tmp_path / "b.npz", 7).count == 6


def test_several_inputs_by_name(tmp_path, rng):
    build = Builder()
    graph = build.graph(build("z", Add(), build.input(3, name="a"), build.input(3, name="b")))
    arrays = {name: rng.normal(size=(5, 3)).astype("f4") for name in "ab"}
    np.savez(tmp_path / "two.npz", **arrays)
    assert read(graph, tmp_path / "two.npz").inputs.keys() == {"a", "b"}
    np.savez(tmp_path / "odd.npz", a=arrays["a"], b=arrays["b"][:3])
    with pytest.raises(NbcnnError, match=r"odd\.npz: "):
        read(graph, tmp_path / "odd.npz")


def test_folders_of_images(tmp_path, rng):
    graph = nbcnn.load("digits")
    for place in ("3/a.png", "3/b.png", "7/c.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(tmp_path / place)
    found = read(graph, tmp_path)
    np.testing.assert_array_equal(found.labels, [3, 3, 7])
    np.testing.assert_array_equal(read(graph, tmp_path, 2).labels, [3, 7])
    flat = read(graph, tmp_path / "3")
    assert (flat.count, flat.labels) == (2, None)
    assert read(graph, tmp_path / "3/a.png").count == 1
    (tmp_path / "dog").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "dog/d.png")
    with pytest.raises(NbcnnError, match="dog: is no class: it is called neither by a label nor by a number"):
        read(graph, tmp_path)


@pytest.mark.parametrize(
    "arrays, says",
    [
        ({"x": np.zeros((4, 3, 5, 4), "f4")}, "input 'x' should be"),
        ({"x": np.zeros((4, 3, 4, 4), "i8")}, "input 'x' should be"),
        ({"x": np.zeros((0, 3, 4, 4), "f4")}, "'x' holds no samples"),
        ({"x": np.float32(3)}, "'x' holds no samples"),
        ({"z": np.zeros((4, 3, 4, 4), "f4")}, "no input 'z'"),
        ({"x": np.zeros((4, 3, 4, 4), "f4"), "y": np.zeros(3, int)}, "y should be 4 whole numbers"),
        ({"x": np.zeros((4, 3, 4, 4), "f4"), "y": np.zeros(4)}, "y should be 4 whole numbers"),
        ({"x": np.array([object()])}, "cannot be read as arrays"),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit(tmp_path, arrays, says):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(NbcnnError) as caught:
        read(one_input(), path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message


def test_files_that_are_none(tmp_path, monkeypatch):
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 no")
    (tmp_path / "empty").mkdir()
    for path, says in (
        ("bad.npz", "cannot be read as arrays"),
        ("none.npz", "cannot be read as arrays"),
        ("empty", "holds no images"),
    ):
        with pytest.raises(NbcnnError, match=f"{path}: {says}"):
            read(one_input(), tmp_path / path)
    np.savez(tmp_path / "big.npz", x=np.zeros((4, 3, 4, 4), "f4"))
    monkeypatch.setattr(samples, "MOST_BYTES", 500)
    with pytest.raises(NbcnnError, match="bytes of arrays, more than 500"):
        read(one_input(), tmp_path / "big.npz")
    with pytest.raises(NbcnnError, match="count must be at least 1"):
        read(one_input(), None, 0)
    monkeypatch.setattr(samples, "MOST_BYTES", 1 << 30)
    np.savez(tmp_path / "one.npz", x=np.zeros((1, 3, 4, 4), "f4"))
    with pytest.raises(NbcnnError, match="takes 2 samples at a time, there are 1"):
        read(fixed(), tmp_path / "one.npz")
