"""Every mistake in a model file is one line that points at its place and says what would be right."""
# ruff: noqa: E501 - a table: text and message side by side

import numpy as np
import pytest
from model_files import CONV, HEAD, refusal, write
from safetensors.numpy import save_file

import nbcnn
from nbcnn.errors import NbcnnError

CASES = {
    # sections
    "a list": ("- 1\n", "m.yaml:1:1: a model must be a mapping, got a list"),
    "no nodes": (HEAD, "m.yaml:1:1: a model needs 'nodes'"),
    "empty nodes": (HEAD + "nodes: []\n", "m.yaml:4:8: a model needs at least one node"),
    "format": (CONV.replace("format: 1", "format: 2"), "m.yaml:1:9: format must be 1, got 2"),
    "unknown key": (CONV + "ouputs: [conv]\n", "m.yaml:6:1: unknown key 'ouputs' in a model; did you mean 'outputs'?"),
    "shape": (CONV.replace("[N, 3,", "[N, 0,"), "m.yaml:3:21: an extent of 'image' must be"),
    "shape of text": (CONV.replace("[N, 3,", "[N, '3 x',"), "m.yaml:3:21: an extent of 'image' must be"),
    "dtype": (
        CONV.replace("[N, 3, 8, 8]", "{shape: [N, 3, 8, 8], dtype: float23}"),
        "unknown dtype 'float23'; did you mean 'float32'?",
    ),
    "batch in the middle": (CONV.replace("[N, 3,", "[3, N,"), "m.yaml:3:21: 'N' is the batch: it stands first, and in inputs only"),
    "batch of a constant": (
        CONV.replace("nodes:", "constants: {k: [N, 3]}\nnodes:"),
        "m.yaml:4:17: 'N' is the batch: it stands first, and in inputs only",
    ),
    "open symbol": (CONV.replace("8, 8]", "H, 8]"), "m.yaml:3:24: the extent 'H' of 'image' is open: give shapes={'H'"),
    "output": (CONV + "outputs: [cnv]\n", "m.yaml:6:11: input 'cnv' does not exist; did you mean 'conv'?"),
    "output twice": (CONV + "outputs: [conv, conv]\n", "m.yaml:6:17: the output 'conv' is named twice"),
    # attributes
    "unknown op": (CONV.replace("conv2d", "conv2"), "m.yaml:5:22: node 'conv': unknown op 'conv2'; did you mean 'conv2d'?"),
    "no op": (CONV.replace("op: conv2d, ", ""), "m.yaml:5:5: node 'conv': a node needs 'op' or 'block'"),
    "no name": (CONV.replace("name: conv, ", ""), "m.yaml:5:5: a node needs a 'name'"),
    "unknown attribute": (CONV.replace("kernel: 3", "kernel: 3, strides: 2"), "node 'conv': conv2d has no attribute 'strides'; did you mean 'stride'?"),
    "attribute missing": (CONV.replace(", kernel: 3", ""), "m.yaml:5:5: node 'conv': conv2d needs the attribute 'kernel'"),
    "text for a number": (CONV.replace("channels: 4", "channels: four"), "m.yaml:5:40: node 'conv': channels must be a whole number, got 'four'"),
    "quoted number": (CONV.replace("channels: 4", "channels: '4'"), "channels must be a whole number, got '4'"),
    "bool for a number": (CONV.replace("channels: 4", "channels: true"), "channels must be a whole number, got true"),
    "float for a number": (CONV.replace("channels: 4", "channels: 4.0"), "channels must be a whole number, got 4.0"),
    "number for a bool": (CONV.replace("kernel: 3", "kernel: 3, bias: 1"), "bias must be true or false, got 1"),
    "yes for a bool": (CONV.replace("kernel: 3", "kernel: 3, bias: yes"), "bias must be true or false, got 'yes'"),
    "three for two": (CONV.replace("kernel: 3", "kernel: [3, 3, 3]"), "kernel must be a whole number or 2 whole numbers, got a list"),
    "word": (CONV.replace("kernel: 3", "kernel: 3, padding: smae"), "padding must be 'same' or 'same_lower' or 'valid'"),
    "below one": (CONV.replace("channels: 4", "channels: 0"), "m.yaml:5:5: node 'conv': channels must be at least 1"),
    # operands
    "wrong rank": (CONV.replace("[N, 3, 8, 8]", "[N, 3]"), "m.yaml:5:5: node 'conv': conv2d takes images"),
    "mismatched channels": (
        CONV + "  - {name: sum, op: add, inputs: [conv, image]}\n",
        "m.yaml:6:5: node 'sum': ",
    ),
    "groups": (CONV.replace("kernel: 3", "kernel: 3, groups: 2"), "do not divide into 2 groups"),
    "missing input": (CONV + "  - {name: act, op: relu, inputs: [cnv]}\n", "m.yaml:6:36: node 'act': input 'cnv' does not exist; did you mean 'conv'?"),
    "forward": (
        HEAD + "nodes:\n  - {name: a, op: relu, inputs: [b]}\n  - {name: b, op: relu, inputs: [image]}\n",
        "m.yaml:5:34: node 'a': reads 'b', which is defined below (line 6): move it above its readers",
    ),
    "itself": (HEAD + "nodes:\n  - {name: a, op: relu, inputs: [a]}\n", "m.yaml:5:34: node 'a': a cycle: a -> a"),
    "cycle": (
        HEAD + "nodes:\n  - {name: a, op: add, inputs: [image, c]}\n  - {name: b, op: relu}\n  - {name: c, op: tanh}\n",
        "m.yaml:5:40: node 'a': a cycle: a -> b -> c -> a",
    ),
    "several inputs": (CONV + "  - {name: sum, op: add}\n", "node 'sum': 'add' takes several inputs: give inputs: [...]"),
    "too few": (CONV + "  - {name: sum, op: add, inputs: [conv]}\n", "m.yaml:6:5: node 'sum': add takes 2 inputs, got 1"),
    "which input": (
        CONV.replace("8]}", "8], other: [N, 3]}"),
        "m.yaml:5:5: node 'conv': give inputs: [...], as there are several inputs to choose from",
    ),
    "two outputs": (CONV.replace("kernel: 3", "kernel: 3, outputs: [a, b]"), "m.yaml:5:5: node 'conv': "),
    # names
    "name twice": (CONV + "  - {name: conv, op: relu}\n", "m.yaml:6:5: the name 'conv' is used twice, first on line 5"),
    "name of an input": (CONV + "  - {name: image, op: relu}\n", "m.yaml:6:12: the name 'image' is used twice"),
    "name of a weight": (CONV + "  - {name: conv.weight, op: relu}\n", "m.yaml:6:5: the name 'conv.weight' is used twice"),
    "duplicate key": (CONV.replace("kernel: 3", "kernel: 3, kernel: 5"), "m.yaml:5:54: duplicate key 'kernel'"),
    "name with a control character": (CONV.replace("name: conv", 'name: "a\\tb"'), "printable characters"),
    # blocks
    "unknown block": (HEAD + "nodes: [{name: a, block: unit}]\n", "m.yaml:4:26: node 'a': unknown block 'unit'"),
    "block in itself": (
        HEAD + "blocks: {u: {nodes: [{name: v, block: u}]}}\nnodes: [{name: a, block: u}]\n",
        "m.yaml:4:39: node 'a.v': a block cannot hold itself: u -> u",
    ),
    "parameter missing": (
        HEAD + "blocks: {u: {params: {k: int}, nodes: [{name: v, op: relu}]}}\nnodes: [{name: a, block: u}]\n",
        "m.yaml:5:9: node 'a': block 'u' needs the parameter 'k'",
    ),
    "parameter type": (
        HEAD + "blocks: {u: {params: {k: int}, nodes: [{name: v, op: relu}]}}\nnodes: [{name: a, block: u, k: true}]\n",
        "m.yaml:5:32: node 'a': parameter 'k' must be int, got true",
    ),
    "parameter unknown": (
        HEAD + "blocks: {u: {params: {kernel: 3}, nodes: [{name: v, op: relu}]}}\nnodes: [{name: a, block: u, kernal: 1}]\n",
        "block 'u' has no parameter 'kernal'; did you mean 'kernel'?",
    ),
    "dollar unknown": (
        HEAD + "blocks: {u: {params: {k: 3}, nodes: [{name: v, op: conv2d, channels: $m, kernel: $k}]}}\nnodes: [{name: a, block: u}]\n",
        "m.yaml:4:70: block 'u' has no parameter '$m'",
    ),
    "dollar outside": (CONV.replace("channels: 4", "channels: $c"), "m.yaml:5:40: a node outside blocks has no parameter '$c'"),
    "parameter named as a key": (
        HEAD + "blocks: {u: {params: {repeat: 3}, nodes: []}}\nnodes: [{name: a, block: u}]\n",
        "m.yaml:4:23: 'repeat' cannot be a parameter",
    ),
    "error in a block": (
        HEAD + "blocks: {u: {nodes: [{name: v, op: conv2d, channels: 3, kernel: 9}]}}\nnodes: [{name: a, block: u}]\n",
        "m.yaml:4:22: node 'a.v': kernel 9 (dilation 1) is larger",
    ),
    "repeat": (
        HEAD + "blocks: {u: {nodes: [{name: v, op: relu}]}}\nnodes: [{name: a, block: u, repeat: 0}]\n",
        "repeat must be a whole number of at least 1, got 0",
    ),
    "repeat without end": (
        HEAD + "blocks: {u: {nodes: [{name: v, op: relu}]}}\nnodes: [{name: a, block: u, repeat: 999999999}]\n",
        "the model has more than 50,000 nodes",
    ),
    "repeat of nothing": (
        HEAD + "blocks: {u: {nodes: []}}\nnodes: [{name: a, block: u, repeat: 999999999}]\n",
        "the model has more than 50,000 nodes",
    ),
    # sizes
    "large tensor": (
        CONV.replace("8, 8]", "99999, 99999]"),
        "m.yaml:3:17: 'image' float32[N, 3, 99999, 99999] takes 112 GiB at batch 1, over the limit of 16",
    ),
    "large weight": (CONV.replace("channels: 4", "channels: 999999999"), "m.yaml:5:5: node 'conv': 'conv.weight' float32"),
    "huge numbers": (CONV.replace("channels: 4", "channels: 4611686018427387904"), "over the limit of 16"),
    # promises, weights, meta
    "expect": (CONV + "expect: {params: 113}\n", "m.yaml:6:18: expect: the model has 112 parameters, the file says 113"),
    "expect macs": (CONV + "expect: {macs: 1}\n", "m.yaml:6:16: expect: the model has 3,888 multiply-accumulates"),
    "expect shape": (CONV + "expect: {outputs: {conv: [N, 4, 8, 8]}}\n", "expect: output 'conv' is float32[N, 4, 6, 6]"),
    "no weights file": (CONV + "weights: {file: w.safetensors}\n", "m.yaml:6:17: weights file 'w.safetensors' does not exist"),
    "weights above": (CONV + "weights: {file: ../w.safetensors}\n", "m.yaml:6:17: weights file '../w.safetensors' leaves the folder"),
    "weights elsewhere": (CONV + "weights: {file: /etc/passwd}\n", "m.yaml:6:17: weights file '/etc/passwd' leaves the folder"),
    "labels elsewhere": (CONV + "labels: /etc/passwd\n", "m.yaml:6:9: labels file '/etc/passwd' leaves the folder"),
    "labels that command terminals": (CONV + 'labels: ["a\\e[31m"]\n', "m.yaml:6:9: a label holds control characters"),
    "shared with nothing": (
        CONV.replace("kernel: 3", "kernel: 3, weights: {weight: other.weight}"),
        "m.yaml:5:72: weight 'other.weight' is in no node above",
    ),
    "shared with another shape": (
        CONV + "  - {name: b, op: conv2d, channels: 4, kernel: 3, weights: {weight: conv.weight}}\n",
        "m.yaml:6:69: node 'b': weight 'conv.weight' is float32[4, 3, 3, 3] above",
    ),
    "no such slot": (CONV.replace("kernel: 3", "kernel: 3, weights: {wieght: w}"), "there is no weight 'wieght'; did you mean 'weight'?"),
    "preprocess": (CONV + "preprocess: {resize: big}\n", "m.yaml:6:22: resize must be a whole number or 2 whole numbers"),
    "preprocess key": (CONV + "preprocess: {sacle: 1}\n", "preprocess has no attribute 'sacle'; did you mean 'scale'?"),
    "std 0": (CONV + "preprocess: {std: [1, 0, 1]}\n", "m.yaml:6:13: std must not be 0"),
    # bodies
    "body input": (
        HEAD + "nodes: [{name: f, op: fused, body: {nodes: [{name: a, op: relu, inputs: [y]}]}}]\n",
        "node 'a': input 'y' does not exist",
    ),
    "no body": (HEAD + "nodes: [{name: f, op: fused}]\n", "node 'f': a fused node has a 'body'"),
    "body of another": (CONV.replace("kernel: 3", "kernel: 3, body: {nodes: []}"), "'conv2d' has no body"),
    "body in a body": (
        HEAD + "nodes: [{name: f, op: fused, body: {nodes: [{name: g, op: fused, body: {nodes: [{name: a, op: relu}]}}]}}]\n",
        "a body cannot hold a fused node: 'g'",
    ),
    # YAML itself
    "malformed": (CONV + "  - {name: b, op: [}\n", "m.yaml:6:2"),
    "tag": (CONV + "description: !!python/object/apply:os.system [ls]\n", "m.yaml:6:14: tag"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_line_with_its_place(tmp_path, case):
    text, expected = CASES[case]
    message = refusal(tmp_path, text)
    assert message.startswith("m.yaml:")
    assert expected in message


def test_shapes_that_do_not_fit(tmp_path):
    assert "no input has the symbol 'Q'" in refusal(tmp_path, CONV, shapes={"Q": 3})
    text = CONV.replace("8, 8]", "H, W]")
    assert "'W' of 'image' is open" in refusal(tmp_path, text, shapes={"H": 3})
    assert "must be a whole number" in refusal(tmp_path, text, shapes={"H": 3.5})


def test_a_link_that_leads_out_of_the_folder(tmp_path):
    arrays = {"conv.weight": np.zeros((4, 3, 3, 3), "f4"), "conv.bias": np.zeros(4, "f4")}
    save_file(arrays, tmp_path / "w.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.safetensors").symlink_to("../w.safetensors")
    assert "leaves the folder" in refusal(folder, CONV + "weights: {file: w.safetensors}\n")


@pytest.mark.parametrize("name", ["none/m.yaml", "m.yaml/m.yaml", "m"])
def test_a_path_that_cannot_be_written(tmp_path, name):
    path = write(tmp_path, CONV)
    graph = nbcnn.load(path)
    with pytest.raises(NbcnnError) as caught:
        nbcnn.save(graph, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]
