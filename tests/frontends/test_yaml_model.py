import numpy as np
import pytest
from model_files import CONV, HEAD, model
from safetensors.numpy import save_file

from nbcnn.errors import NbcnnError
from nbcnn.ir.types import TensorType
from nbcnn.reference import run


def test_the_first_node_takes_the_input_and_later_ones_the_node_above(tmp_path):
    graph = model(tmp_path, CONV + "  - {name: act, op: relu}\n  - {name: pool, op: max_pool, kernel: 2}\n")
    assert [n.data for n in graph.nodes] == [("image",), ("conv",), ("act",)]
    assert [n.weights for n in graph.nodes] == [("conv.weight", "conv.bias"), (), ()]
    assert dict(graph.outputs) == {"pool": "pool"}
    assert graph.node("pool").op.stride == (2, 2)


def test_outputs_may_have_public_names(tmp_path):
    graph = model(tmp_path, CONV + "  - {name: act, op: relu}\noutputs: {scores: act, before: conv}\n")
    assert dict(graph.outputs) == {"scores": "act", "before": "conv"}


BLOCK = """
blocks:
  unit:
    params: {out: int, act: relu}
    nodes:
      - {name: conv, op: conv2d, channels: $out, kernel: 3, padding: 1}
      - {name: act, op: $act}
      - {name: add, op: add, inputs: [act, x]}
"""


@pytest.mark.parametrize(
    "entry, prefixes",
    [
        ("{name: u, block: unit, out: 3}", ["u."]),
        ("{name: u, block: unit, out: 3, repeat: 1}", ["u.0."]),
        ("{name: u, block: unit, out: 3, repeat: 2}", ["u.0.", "u.1."]),
        ("{name: u, block: unit, out: 3, repeat: 2, start: 4}", ["u.4.", "u.5."]),
    ],
)
def test_names_in_blocks(tmp_path, entry, prefixes):
    graph = model(tmp_path, f"{HEAD}{BLOCK}nodes:\n  - {entry}\n  - {{name: end, op: tanh}}\n")
    inner = [p + n for p in prefixes for n in ("conv", "act", "add")]
    assert [n.name for n in graph.nodes] == [*inner, "end"]
    assert [w for w in graph.weights if "weight" in w] == [f"{p}conv.weight" for p in prefixes]
    assert graph.node(f"{prefixes[0]}add").inputs == (f"{prefixes[0]}act", "image")
    assert graph.node("end").inputs == (f"{prefixes[-1]}add",)


def test_a_block_is_read_by_its_name_and_its_values_by_theirs(tmp_path):
    text = f"""{HEAD}{BLOCK}nodes:
  - {{name: u, block: unit, out: 3, act: tanh, repeat: 2}}
  - {{name: all, op: concat, inputs: [u, u.0, u.0.act, image]}}
outputs: [all, u]
"""
    graph = model(tmp_path, text)
    assert graph.node("all").inputs == ("u.1.add", "u.0.add", "u.0.act", "image")
    assert dict(graph.outputs) == {"all": "all", "u": "u.1.add"}
    assert graph.node("u.0.act").op.name == "tanh"


def test_blocks_with_several_inputs_and_outputs(tmp_path):
    text = f"""{HEAD}
blocks:
  swap:
    inputs: [a, b]
    nodes: [{{name: f, op: relu, inputs: [b]}}, {{name: g, op: tanh, inputs: [a]}}]
    outputs: [f, g]
nodes:
  - {{name: s, block: swap, inputs: [image, image], repeat: 2, outputs: [left, right]}}
  - {{name: sum, op: add, inputs: [left, right]}}
"""
    graph = model(tmp_path, text)
    assert graph.node("s.1.f").inputs == ("s.0.g",)
    assert graph.node("sum").inputs == ("s.1.f", "s.1.g")


def test_a_parameter_keeps_its_type_and_quotes_make_it_text(tmp_path):
    text = f"""{HEAD}
blocks:
  b: {{params: {{k: any, eps: 1e-3}}, nodes: [{{name: c, op: conv2d, channels: 3, kernel: $k}},
                                             {{name: n, op: batch_norm, epsilon: $eps}}]}}
nodes: [{{name: x, block: b, k: [3, 1]}}]
"""
    graph = model(tmp_path, text)
    assert graph.node("x.c").op.kernel == (3, 1)
    assert graph.node("x.n").op.epsilon == 1e-3


def test_weights_are_shared_by_name(tmp_path):
    text = CONV.replace("channels: 4", "channels: 3")
    text += "  - {name: again, op: conv2d, channels: 3, kernel: 3, weights: {weight: conv.weight}}\n"
    graph = model(tmp_path, text)
    assert graph.node("again").weights == ("conv.weight", "again.bias")
    assert len(graph.weights) == 3


def test_symbols_are_bound_by_shapes(tmp_path):
    text = CONV.replace("[N, 3, 8, 8]", "[N, 3, H, W]")
    assert model(tmp_path, text, shapes={"H": 9, "W": 7}).type("conv") == TensorType(("N", 4, 7, 5))


def test_inputs_may_have_a_dtype(tmp_path):
    graph = model(tmp_path, "format: 1\nname: m\ninputs: {x: {shape: [N, 3], dtype: float64}}\n"
                  "nodes: [{name: fc, op: dense, channels: 2}]\n")  # fmt: skip
    assert graph.weight("fc.weight").array.dtype == np.float64


def test_fused_bodies(tmp_path):
    text = f"""{HEAD}nodes:
  - name: act
    op: fused
    inputs: [image]
    body:
      nodes: [{{name: conv, op: conv2d, channels: 3, kernel: 1}}, {{name: act, op: relu}}]
  - name: out
    op: fused
    inputs: [act, image]
    weights: {{w: act2.w}}
    body:
      inputs: [x, rest]
      weights: [b, w]
      nodes:
        - {{name: conv, op: conv2d, channels: 3, kernel: 1, inputs: [x], weights: {{weight: w, bias: b}}}}
        - {{name: sum, op: add, inputs: [conv, rest]}}
weights: {{file: m.safetensors}}
"""
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (3, 3, 1, 1), "conv.bias": (3,), "act2.w": (3, 3, 1, 1), "b": (3,)}
    arrays = {k: rng.standard_normal(s).astype("f4") for k, s in shapes.items()}
    save_file(arrays, tmp_path / "m.safetensors")
    graph = model(tmp_path, text)
    assert graph.node("act").inputs == ("image", "conv.weight", "conv.bias")
    assert graph.node("out").inputs == ("act", "image", "b", "act2.w")
    x = rng.standard_normal((2, 3, 8, 8)).astype("f4")
    first = (
        np.einsum("oc,nchw->nohw", arrays["conv.weight"][:, :, 0, 0], x) + arrays["conv.bias"][:, None, None]
    )
    first = np.maximum(first, 0)
    second = np.einsum("oc,nchw->nohw", arrays["act2.w"][:, :, 0, 0], first) + arrays["b"][:, None, None] + x
    np.testing.assert_allclose(run(graph, x)["out"], second, rtol=1e-5, atol=1e-5)


def test_trainable_flags(tmp_path):
    graph = model(tmp_path, CONV + "weights: {trainable: {conv.bias: false}}\n")
    assert [w.trainable for w in graph.weights.values()] == [True, False]
    assert graph.parameters == 4 * 27


def test_labels_from_a_file_beside_the_model(tmp_path):
    (tmp_path / "names.txt").write_text("cat\nbig dog\n")
    assert model(tmp_path, CONV + "labels: names.txt\n").meta["labels"] == ("cat", "big dog")
    assert model(tmp_path, CONV + "labels: [0, yes]\n").meta["labels"] == ("0", "yes")


def test_nothing_is_drawn_before_it_is_read(tmp_path, monkeypatch):
    def no(*_):
        raise NbcnnError("drawn")

    monkeypatch.setattr("nbcnn.frontends.initialise.draw", no)
    graph = model(tmp_path, CONV)
    with pytest.raises(NbcnnError, match="drawn"):
        _ = graph.weight("conv.weight").array
