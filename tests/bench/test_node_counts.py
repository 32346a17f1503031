import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "node_counts.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("benchmarks_node_counts", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for its annotations
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_ours_are_no_more_than_those_of_onnxruntime(script):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    rows = list(script.count(["lenet5", "mnist_cnn", "squeezenet1_1"], "default"))
    assert [row.model for row in rows if not row.good] == []
    assert rows[0].written == 12
    assert rows[0].nbcnn == sum(rows[0].nbcnn_kinds.values()) == 8
    assert rows[0].onnxruntime == rows[0].without_reorders + rows[0].onnxruntime_kinds["ReorderOutput"]
    text = script.markdown(rows, "default")
    assert "| lenet5 | 12 | **8** |" in text


def test_the_table_says_where_ours_are_above(script):
    pytest.importorskip("onnxruntime")
    row = script.Row("a", 9, 5, 6, 4, {"conv2d": 5}, {"Conv": 4, "ReorderOutput": 2})
    text = script.markdown([row], "max")
    assert "| a | 9 | 5 (above) | 6 | 4 |" in text
    assert "| a | 5 conv2d | 4 Conv, 2 ReorderOutput |" in text
