import io
import json

import pytest
from rich.console import Console

from nbcnn.bench import machine
from nbcnn.bench.judge import Latency, Ratio, Row
from nbcnn.bench.report import PIPED_WIDTH, Result, check_writable, show, show_profile, write_json
from nbcnn.errors import NbcnnError


def row(name, ratio=None, **changes):
    fields = {
        "version": "1.0",
        "precision": "float32",
        "latency_ms": Latency(40.0, 42.0, 45.5, 39.25),
        "images_per_s": 25.0,
        "load_s": 0.25,
        "compile_s": 1.5,
        "peak_rss_bytes": 300 << 20,
        "max_rel_err": 1e-6,
    }
    return Row(name=name, ratio=ratio, **{**fields, **changes})


@pytest.fixture
def result():
    return Result(
        model="resnet50",
        batch=1,
        threads=2,
        streams=1,
        target="cpu",
        precision="float32",
        passes="default",
        machine=machine.describe(),
        rows=[
            row("nbcnn", max_rel_err=0.0),
            row("onnxruntime", Ratio(1.23, 1.2, 1.25)),
            row("openvino (default precision)", Ratio(0.5, 0.4, 0.6), precision="bfloat16",
                peer=False),
        ],
        missing=[{"name": "torch", "extra": "peers"}],
    )  # fmt: skip


def text(function, *args):
    out = io.StringIO()
    function(*args, Console(file=out, width=PIPED_WIDTH))
    return out.getvalue()


def test_json_has_exactly_the_documented_keys(result, tmp_path):
    path = tmp_path / "r.json"
    write_json(result, path)
    report = json.loads(path.read_text())
    assert list(report) == [
        "model", "batch", "threads", "streams", "target", "precision", "passes", "machine", "engines",
        "missing",
    ]  # fmt: skip
    assert [e["name"] for e in report["engines"]] == [r.name for r in result.rows]
    for engine in report["engines"]:
        assert set(engine) == {
            "name", "version", "precision", "latency_ms", "images_per_s", "load_s", "compile_s",
            "peak_rss_bytes", "max_rel_err", "ratio", "ratio_q1", "ratio_q3",
            "note",
        }  # fmt: skip
        assert set(engine["latency_ms"]) == {"median", "p90", "p99", "min"}
    assert report["engines"][0]["ratio"] == 1.0
    assert report["engines"][1]["ratio_q3"] == 1.25
    assert report["missing"] == [{"name": "torch", "extra": "peers"}]
    assert set(report["machine"]) >= {"cpu", "features", "cores", "governor", "numba", "numpy"}


def test_a_note_stands_below_the_table(result):
    from dataclasses import replace

    rows = [*result.rows, row("mnn", Ratio(2.0, 1.9, 2.1), note="sparse kernels, [blocks] of 4")]
    assert "mnn: sparse kernels, [blocks] of 4" in text(show, replace(result, rows=rows)).splitlines()
    assert "onnxruntime: " not in text(show, result)


def test_json_names_engines_that_failed(result):
    from dataclasses import replace

    report = replace(result, failed={"torch": "ValueError: no"}).as_json()
    assert report["failed"] == [{"name": "torch", "error": "ValueError: no"}]


def test_json_is_written_at_once_or_not_at_all(result, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")

    def broken(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(NbcnnError, match="No space left"):
        write_json(result, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_a_clear_error(result, tmp_path):
    with pytest.raises(NbcnnError, match=r"cannot write .*nowhere"):
        write_json(result, tmp_path / "nowhere" / "r.json")
    with pytest.raises(NbcnnError, match=r"cannot write .*nowhere"):
        check_writable(tmp_path / "nowhere" / "r.json")
    with pytest.raises(NbcnnError, match="Is a directory"):
        check_writable(tmp_path)
    check_writable(tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_the_table_piped_is_whole_and_without_colours(result):
    out = text(show, result)
    assert not {"\x1b", "…"} & set(out)
    assert "1.23x [1.20-1.25]" in out
    assert "openvino (default precision)" in out
    assert "bfloat16: openvino (default precision) 1.0" in out
    assert "torch: not installed (pip install nbcnn[peers])" in out
    assert "nbcnn is 1.23x as fast as onnxruntime" in out
    assert out.index("nbcnn") < out.index("onnxruntime")


def test_text_from_outside_is_not_markup(result):
    from dataclasses import replace

    out = text(show, replace(result, model="[red]x", failed={"a": "bad [/] thing"}))
    assert "[red]x" in out
    assert "bad [/] thing" in out


def test_the_profile_takes_any_rows():
    rows = [{"step": "conv1", "kernel": "f32_conv", "seconds": 0.00125, "share": 0.5, "gflops": 150.2}]
    out = text(show_profile, rows)
    assert "f32_conv" in out
    assert "50.0%" in out
    assert "1.2500" in out
    assert "GFLOP/s" in out
    assert text(show_profile, []) == ""
