"""Weights with many zeros, stored without them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from model_files import CONV, assert_same, model
from safetensors.numpy import load_file, save_file

import nbcnn
from nbcnn.errors import NbcnnError
from nbcnn.frontends import sparse_tensors
from nbcnn.frontends.weights import TensorFile, tensors
from nbcnn.ir import Graph, Sparsity, Weight
from nbcnn.passes import Pipeline, optimize, prune_patterns

SHAPE = (4, 3, 3, 3)


def metadata(path) -> dict[str, str]:
    raw = path.read_bytes()
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]


def with_weight(folder, weight: Weight) -> Graph:
    """A graph with ``weight`` as conv.weight."""
    graph = model(folder, CONV)
    weights = graph.weights | {"conv.weight": weight}
    return Graph.build("m", graph.inputs, graph.nodes, weights, graph.outputs)


def round_trip(graph: Graph, folder) -> Graph:
    nbcnn.save(graph, folder / "saved.yaml")
    return nbcnn.load(folder / "saved.yaml")


def sparse(rng, share: float, shape=SHAPE) -> np.ndarray:
    """Values of which exactly the share ``share`` is zero."""
    array = rng.standard_normal(shape).astype("f4")
    array.reshape(-1)[rng.permutation(array.size)[: round(share * array.size)]] = 0
    return array


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.95, 1])
@pytest.mark.parametrize("marked", [False, True])
def test_whatever_the_zeros_it_comes_back(tmp_path, rng, share, masked, marked):
    array = sparse(rng, share)
    weight = Weight.of(array)
    if masked:
        weight = replace(weight, mask=(array != 0) | (rng.random(SHAPE) < 0.02))  # it may keep zeros
    if marked and share:
        weight = weight.marked(prune_patterns.found(array))
    graph = with_weight(tmp_path, weight)
    again = round_trip(graph, tmp_path)
    assert_same(again, graph)
    assert_same(round_trip(again, tmp_path), graph)  # onto the file that its weights come from
    stored = load_file(tmp_path / "saved.safetensors")
    assert ("conv.weight" not in stored) == (share >= 0.5)


def test_the_encoding_is_what_is_documented(tmp_path, rng):
    array = sparse(rng, 0.9)
    weight = Weight.of(array).masked(array != 0).marked(Sparsity(0.9, 1, "unstructured"))
    nbcnn.save(with_weight(tmp_path, weight), tmp_path / "m.yaml")
    stored = load_file(tmp_path / "m.safetensors")
    assert set(stored) == {"conv.bias", "conv.weight.values", "conv.weight.steps"}
    at = np.flatnonzero(array)
    np.testing.assert_array_equal(stored["conv.weight.values"], array.reshape(-1)[at])
    np.testing.assert_array_equal(stored["conv.weight.steps"], [at[0], *np.diff(at)])
    assert stored["conv.weight.steps"].dtype == np.uint8
    found = metadata(tmp_path / "m.safetensors")
    assert found["format"] == "nbcnn"
    assert found["encoding"] == "nbcnn-sparse-1"
    assert json.loads(found["sparse"]) == {
        "conv.weight": {"shape": list(SHAPE), "mask": True, "sparsity": [0.9, 1, "unstructured"]}
    }
    nbcnn.save(with_weight(tmp_path, Weight.of(sparse(rng, 0.5))), tmp_path / "m.yaml")
    stored = load_file(tmp_path / "m.safetensors")
    assert (stored["conv.weight.bits"].dtype, len(stored["conv.weight.bits"])) == (np.uint8, 14)
    assert json.loads(metadata(tmp_path / "m.safetensors")["sparse"]) == {
        "conv.weight": {"shape": list(SHAPE)}
    }


def test_dense_models_are_plain_files(tmp_path):
    graph = model(tmp_path, CONV)
    nbcnn.save(graph, tmp_path / "m.yaml")
    assert metadata(tmp_path / "m.safetensors") == {"format": "nbcnn"}
    assert set(load_file(tmp_path / "m.safetensors")) == {"conv.weight", "conv.bias"}


def test_a_mark_of_a_tensor_that_stays_whole(tmp_path, rng):
    weight = Weight.of(sparse(rng, 0.1)).marked(Sparsity(0.1, 4, "1x4"))
    graph = with_weight(tmp_path, weight)
    assert_same(round_trip(graph, tmp_path), graph)
    assert "conv.weight" in load_file(tmp_path / "saved.safetensors")


def test_the_file_shrinks_as_zeros_grow(tmp_path):
    graph = nbcnn.load("digits")
    sizes = []
    for share in (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99):
        pruned = optimize(graph, Pipeline.of("sparse", {"sparsity": share}))
        nbcnn.save(pruned, tmp_path / "d.yaml")
        assert_same(nbcnn.load(tmp_path / "d.yaml"), pruned)
        sizes.append((tmp_path / "d.safetensors").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 2


def test_values_are_read_when_asked_for(tmp_path, rng, monkeypatch):
    nbcnn.save(with_weight(tmp_path, Weight.of(sparse(rng, 0.9))), tmp_path / "m.yaml")
    reads = []
    monkeypatch.setattr(
        TensorFile, "_raw", lambda self, entry, old=TensorFile._raw: reads.append(entry) or old(self, entry)
    )
    graph = nbcnn.load(tmp_path / "m.yaml")
    assert reads == []
    assert graph.weight("conv.weight").array.any()
    assert len(reads) == 2


def test_negative_zeros_come_back(tmp_path):
    array = np.zeros(SHAPE, "f4")
    array[0, 0, 0] = -0.0
    graph = with_weight(tmp_path, Weight.of(array))
    assert_same(round_trip(graph, tmp_path), graph)


def test_names_that_are_taken(rng):
    array = sparse(rng, 0.9)
    for suffix in ("values", "steps"):
        weights = {"w": Weight.of(array), f"w.{suffix}": Weight.of(np.ones(3, "f4"))}
        found, _ = tensors(weights)
        assert set(found) == set(weights)
    weights = {"w": Weight.of(array).masked(np.ones(SHAPE, bool)), "w.mask": Weight.of(np.ones(3, "f4"))}
    with pytest.raises(NbcnnError, match="the mask of 'w' and a weight"):
        tensors(weights)


def test_a_file_of_half_precision(tmp_path, rng):
    array = sparse(rng, 0.9)
    nbcnn.save(with_weight(tmp_path, Weight.of(array)), tmp_path / "m.yaml")
    stored, found = load_file(tmp_path / "m.safetensors"), metadata(tmp_path / "m.safetensors")
    stored["conv.weight.values"] = stored["conv.weight.values"].astype("f2")
    save_file(stored, tmp_path / "m.safetensors", found)
    got = nbcnn.load(tmp_path / "m.yaml").weight("conv.weight").array
    np.testing.assert_array_equal(got, array.astype("f2").astype("f4"))


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["f4", "f8", "i1", "i8", "?"]),
        hnp.array_shapes(min_dims=0, max_dims=4, max_side=9),
        elements=st.integers(0, 1),
        fill=st.just(0),
    ),
    st.floats(0, 1),
    st.booleans(),
)
def test_packing_is_exact(array, share, masked):
    rng = np.random.default_rng(0)
    weight = Weight.of(array)
    weight = weight.masked(rng.random(array.shape) < share) if masked else weight
    parts = sparse_tensors.packed("w", weight, {})
    if parts is None:
        return
    (where,) = parts.keys() - {"w.values"}
    whole = sparse_tensors.Packed("w", array.shape, where, masked, None)
    kept = whole.positions(parts[where], len(parts["w.values"]), pytest.fail).reshape(array.shape)
    assert sparse_tensors.unpacked(parts["w.values"], kept).tobytes() == weight.array.tobytes()
    if masked:
        np.testing.assert_array_equal(kept, weight.mask)
    assert sum(p.nbytes for p in parts.values()) <= 0.75 * (array.nbytes + (array.size + 7) // 8)


# -- hostile files ---------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path, rng):
    """The tensors of a model with a sparse weight, and what refuses the file when some are others."""
    array = sparse(rng, 0.9)
    graph = with_weight(tmp_path, Weight.of(array).masked(array != 0))
    nbcnn.save(graph, tmp_path / "m.yaml")
    path = tmp_path / "m.safetensors"
    stored = load_file(path)

    def refusal(parts: dict, entry: object = None, **more: str) -> str:
        entries = {"conv.weight": {"shape": list(SHAPE), "mask": True} if entry is None else entry}
        found = {"encoding": "nbcnn-sparse-1", "sparse": json.dumps(entries)} | more
        save_file({k: v for k, v in (stored | parts).items() if v is not None}, path, found)
        with pytest.raises(NbcnnError) as caught:
            nbcnn.load(tmp_path / "m.yaml").weight("conv.weight").array  # noqa: B018
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message

    return stored, refusal


def bits(*set_: int, count: int = 14) -> dict:
    """Positions as bits, in place of steps."""
    found = np.zeros(count * 8, bool)
    found[list(set_)] = True
    return {"conv.weight.bits": np.packbits(found), "conv.weight.steps": None}


NOWHERE = "tensor 'conv.weight.{}' does not say where the 11 elements of 'conv.weight' stand"


def test_positions_that_are_not_those_of_the_values(file):
    _, refusal = file
    assert NOWHERE.format("bits") in refusal(bits(*range(10)))  # one too few
    assert NOWHERE.format("bits") in refusal(bits(*range(12)))
    for at in (bits(*range(10), 110), bits(*range(11), 110)):  # beyond the 108 elements
        assert NOWHERE.format("bits") in refusal(at)
    for dtype in ("u1", "u2", "u4"):
        for steps in ([100] * 11, [0] * 11, [*range(10), 0], [107, *[1] * 10]):
            assert NOWHERE.format("steps") in refusal({"conv.weight.steps": np.array(steps, dtype)})
    huge = np.full(11, 2**32 - 1, "u4")
    assert NOWHERE.format("steps") in refusal({"conv.weight.steps": huge})


@pytest.mark.parametrize(
    "parts",
    [
        bits(count=13),
        bits(count=15),
        {"conv.weight.steps": np.ones(10, "u1")},
        {"conv.weight.steps": np.ones(11, "i8")},
        {"conv.weight.steps": np.ones((11, 1), "u1")},
        {"conv.weight.steps": None},
        {"conv.weight.values": None},
        {"conv.weight.values": np.ones((11, 1), "f4")},
        {"conv.weight.bits": np.zeros(14, "u1")},
        {"conv.weight": np.ones(SHAPE, "f4")},
        {"conv.weight.mask": np.ones(SHAPE, bool)},
    ],
    ids=str,
)
def test_parts_that_do_not_fit(file, parts):
    assert "metadata of sparse tensors that cannot be parsed, or that do not fit its tensors" in file[1](
        parts
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [4, 3, 3]},
        {"shape": [4, 3, 3, 4]},
        {"shape": [2**62, 2**62]},
        {"shape": [2**31 - 1] * 32},
        {"shape": [10**400]},
        {"shape": [2] * 10_000},
        {"shape": [-4, 3, 3, 3]},
        {"shape": [4.0, 3, 3, 3]},
        {"shape": "4333"},
        {"shape": []},
        {},
        [],
        "shape",
        3,
        {"shape": list(SHAPE), "mask": "yes"},
        {"shape": list(SHAPE), "code": "print()"},
        {"shape": list(SHAPE), "sparsity": [2, 1, "unstructured"]},
        {"shape": list(SHAPE), "sparsity": [0.9, 5, "unstructured"]},
        {"shape": list(SHAPE), "sparsity": [0.9, 1, "evil"]},
        {"shape": list(SHAPE), "sparsity": [0.9, 1, []]},
        {"shape": list(SHAPE), "sparsity": [0.9]},
        {"shape": list(SHAPE), "sparsity": 1},
    ],
    ids=lambda e: str(e)[:40],
)
def test_entries_that_are_none(file, entry):
    assert "metadata of sparse tensors" in (message := file[1]({}, entry)) or "does not fit" in message


def test_metadata_that_is_none(file):
    _, refusal = file
    assert "metadata of sparse tensors" in refusal({}, sparse="{")
    assert "metadata of sparse tensors" in refusal({}, sparse="[" * 100_000)
    assert "metadata of sparse tensors" in refusal({}, sparse="[1]")
    assert "metadata of sparse tensors" in refusal({}, sparse='{"conv.weight": {"shape": [NaN]}}')
    assert "has the encoding 'nbcnn-sparse-2', known is 'nbcnn-sparse-1'" in refusal(
        {}, encoding="nbcnn-sparse-2"
    )
    assert "'conv.weight') missing" in refusal({}, sparse="{}")


def test_values_are_checked_as_ever(file):
    stored, refusal = file
    broken = stored["conv.weight.values"].copy()
    broken[3] = np.nan
    assert "tensor 'conv.weight' holds NaN or infinity" in refusal({"conv.weight.values": broken})
    assert "'conv.weight' is I64, should be float32" in refusal({"conv.weight.values": np.ones(11, "i8")})
    unknown = {"other.values": np.ones(1, "f4"), "other.steps": np.ones(1, "u1")}
    assert "'other.values'" in refusal(unknown)


@pytest.mark.parametrize("cut", [1, 4, 40, 60])
def test_truncated(file, tmp_path, cut):
    path = tmp_path / "m.safetensors"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(NbcnnError, match="is truncated"):
        nbcnn.load(tmp_path / "m.yaml")
