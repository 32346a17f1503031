"""Tables and pictures of the main benchmark, from reports made by hand."""

import json

import pytest
from bench_scripts import loaded, report

DEFAULT = "openvino (default precision)"


@pytest.fixture(scope="module")
def tables():
    return loaded("tables")


@pytest.fixture(scope="module")
def plot():
    return loaded("plot")


def test_the_best_peer_is_the_fastest_in_float32(tables):
    found = report("a", 1, onnxruntime=1.5, openvino=1.2, **{DEFAULT: 0.6, "nbcnn (dense)": 0.9})
    assert tables.best_peer(found)["name"] == "openvino"
    assert tables.best_peer(report("a", 1)) is None
    found["engines"][2]["precision"] = "bfloat16"
    assert tables.best_peer(found)["name"] == "onnxruntime"


def test_the_full_table_has_a_part_per_batch_and_thread_count(tables):
    reports = [
        report("a", 1, onnxruntime=1.0, torch=2.0),
        report("b", 1, onnxruntime=4.0),
        report("a", 2, torch=1.5),
        report("a", 1, 8, torch=1.5),
    ]
    reports[1]["failed"] = [{"name": "torch", "error": "TypeError: no"}]
    text = tables.full(reports)
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    ends = ["threads: 1, batch: 1", "threads: 2, batch: 1", "threads: 1, batch: 8"]
    assert titles == [f"## Some CPU (avx2; 2 cores), {end}" for end in ends]
    assert "| a | 12.25 | 1.00 [0.90-1.10] onnxruntime | 1.00 [0.90-1.10] | 2.00 [1.90-2.10] |" in text
    assert "| b | 12.25 | 4.00 [3.90-4.10] onnxruntime | 4.00 [3.90-4.10] | - |" in text
    assert "| geometric mean |  | 2.00 | 2.00 | 2.00 |" in text
    assert "* torch cannot run b: TypeError: no" in text
    assert "onnxruntime 2 float32" in text


def test_the_short_table_has_the_thread_counts_side_by_side(tables):
    reports = [
        report("a", 1, onnxruntime=1.0, torch=2.0, **{DEFAULT: 0.5}),
        report("a", 2, onnxruntime=4.0, torch=1.5),
        report("b", 2, onnxruntime=6.0),
    ]
    text = tables.short(reports)
    assert text.count("### ") == 1
    one, two = "12.25 | 1.00 [0.90-1.10] onnxruntime | 0.50 bfloat16", "12.25 | 1.50 [1.40-1.60] torch | -"
    assert f"| a | {one} | {two} |" in text
    assert "| b | - | - | - | 12.25 | 6.00 [5.90-6.10] onnxruntime | - |" in text
    assert "| geometric mean |  | **1.00** | 0.50 |  | **3.00** | - |" in text


def test_the_table_replaces_the_one_before(tables):
    readme = f"# nbcnn\n\n{tables.BEGIN}\nold\n{tables.END}\n\n## More\n"
    once = tables.in_readme(readme, "### A machine\n\n| a |")
    assert "old" not in once
    assert "### A machine" in once
    assert once.endswith("## More\n")
    assert tables.in_readme(once, "### A machine\n\n| a |") == once


def test_the_projects_readme_has_the_markers():
    run, tables = loaded("run"), loaded("tables")
    text = run.README.read_text()
    assert text.index(tables.BEGIN) < text.index(tables.END)
    assert len(set(run.NETWORKS)) == 12
    assert set(run.SMALL.models) < set(run.NETWORKS)


def test_reports_are_found_by_their_names(tables, tmp_path):
    for number, name in enumerate(
        [tables.file_name("a", 2, 1), tables.file_name("a_b", 1, 8), "memory.json"]
    ):
        (tmp_path / name).write_text(json.dumps({"number": number}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2t.json", "a_b-1t-b8.json", "memory.json"]
    assert [found["number"] for found in tables.read(tmp_path)] == [0, 1]


def test_dots_are_best_peers_with_quartiles(plot):
    found = plot.dots([report("a", 2, onnxruntime=1.5, torch=2.0), report("b", 1)])
    assert found == [plot.Dot("a", 2, 1.5, 1.4, 1.6, "onnxruntime")]


def test_layers_have_families(plot):
    kernels = ["f32_winograd_4x4__avx512", "f32_depthwise_3x3__avx512", "f32_conv_14x32__avx512"]
    found = plot.families([{"kernel": kernel} for kernel in kernels])
    assert [[layer["kernel"] for layer in layers] for layers in found.values()] == [[k] for k in kernels]


def test_pictures(plot, tmp_path):
    pytest.importorskip("matplotlib")
    reports = [report("a", n, b, onnxruntime=1.5) for n in (1, 2, 3) for b in (1, 8)]
    plot.write(tmp_path, reports)
    layer = {"node": "a", "kernel": "conv", "us": 10.0, "intensity": 5.0, "gflops": 100.0}
    roof = {"gflops": 240.0, "gbytes": {"L2": 200.0, "memory": 40.0}, "models": {"a": [layer], "b": [layer]}}
    plot.roofline(roof, tmp_path / "roofline.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latency-b8.svg", "latency.svg", "roofline.svg"]
    first = (tmp_path / "roofline.svg").read_bytes()
    plot.roofline(roof, tmp_path / "roofline.svg")
    assert (tmp_path / "roofline.svg").read_bytes() == first
    plot.write(tmp_path, [])


def test_the_machine_reads_its_caches_faster_than_its_memory():
    peak = loaded("peak")
    found = peak.bandwidths(0.2)
    assert found["L2"] > found["memory"] > 1


def test_layers_that_multiply_have_a_place_below_the_roof():
    found = loaded("roofline").layers("digits", 0.1)
    assert [layer["node"] for layer in found][-1] == "fc"
    assert all(0 < layer["gflops"] < 5000 and 0.1 < layer["intensity"] < 1000 for layer in found)
