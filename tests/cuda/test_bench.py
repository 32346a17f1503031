"""nbcnn as a row of the bench on the device."""

from __future__ import annotations

import numpy as np

import nbcnn
from nbcnn.bench import Job
from nbcnn.bench.engines.own import Nbcnn
from nbcnn.bench.prepare import prepare


def test_a_network_whose_inputs_and_outputs_stay_on_the_device(tmp_path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        "format: 1\nname: tiny\ninputs: {x: [N, 3, 5, 5]}\n"
        "nodes: [{name: conv, op: conv2d, channels: 4, kernel: 3}, {name: act, op: relu}]\n"
    )
    folder = tmp_path / "task"
    folder.mkdir()
    task = prepare(Job(str(tmp_path / "tiny.yaml"), target="cuda"), folder, onnx=False)
    engine = Nbcnn(task)
    for batch in (1, 2):
        x = np.random.default_rng(batch).standard_normal((batch, 3, 5, 5), np.float32)
        engine.compile({"x": x})
        result = engine.run()
        assert not isinstance(result, np.ndarray)
        wanted = nbcnn.compile(nbcnn.load(str(task.yaml)), threads=1).run({"x": x})
        got = engine.read(result)
        assert got.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-5)
        assert engine.device_seconds(2) > 0
        assert [row["node"] for row in engine.profile()]


def test_several_requests_are_in_flight(tmp_path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        "format: 1\nname: tiny\ninputs: {x: [N, 3]}\nnodes: [{name: y, op: relu}]\n"
    )
    folder = tmp_path / "task"
    folder.mkdir()
    task = prepare(Job(str(tmp_path / "tiny.yaml"), target="cuda", streams=2), folder, onnx=False)
    engine = Nbcnn(task)
    engine.compile({"x": np.ones((1, 3), np.float32)})
    latencies, period = engine.flow(0.05)
    assert len(latencies) >= 6 and period > 0
