"""The options become the Job; the measuring itself is tested in tests/bench."""

from __future__ import annotations

import json

import pytest

from nbcnn import bench
from nbcnn.bench import Job, machine, prepare
from nbcnn.bench.judge import Latency, Ratio, Row
from nbcnn.bench.report import Result


def fake(job: Job) -> Result:
    ours = Row(
        "nbcnn", "0.1", job.precision, Latency(2.0, 2.1, 2.2, 1.9), 500.0, 0.1, 0.2, 1 << 20, None, None
    )
    peer = Row(
        "peer", "1.0", "float32", Latency(3.0, 3, 3, 3), 333.0, 0.1, 0.2, 1 << 20, 1e-6, Ratio(1.5, 1, 2)
    )
    profile = [{"node": "conv1", "seconds": 0.001, "share": 1.0}] if job.profile else []
    described = machine.describe()
    return Result(
        job.model, job.batch, job.threads, job.streams, job.target, job.precision, job.passes, described,
        [ours, peer], profile=profile,
    )  # fmt: skip


@pytest.fixture
def jobs(monkeypatch) -> list[Job]:
    """The jobs asked for; none is run."""
    asked = []

    def run(job: Job) -> Result:
        job.progress("measuring", 1, 2)
        asked.append(job)
        return fake(job)

    monkeypatch.setattr(bench, "run", run)
    return asked


def test_defaults_are_those_of_a_job(cli, jobs) -> None:
    result = cli("bench", "digits")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert jobs == [Job("digits")]
    assert "1.50x" in result.stdout


def test_every_option_arrives(cli, jobs, tmp_path) -> None:
    report = tmp_path / "digits.json"
    want: dict[str, object] = {"batch": 3, "threads": 2, "streams": 4}
    want |= {"passes": "none", "precision": "bf16", "warmup": 0, "time": 0.5}
    words = [word for name, value in want.items() for word in (f"--{name}", value)]
    result = cli("bench", "digits", *words, "--profile", "--against", "onnxruntime, torch", "--json", report)
    assert jobs == [Job("digits", against=("onnxruntime", "torch"), profile=True, **want)]
    assert "conv1" in result.stdout
    assert [e["name"] for e in json.loads(report.read_text())["engines"]] == ["nbcnn", "peer"]


def test_options_of_the_pipeline_arrive(cli, jobs) -> None:
    words = ("--passes", "sparse", "--against", "none", "--sparsity", "0.9", "--pattern=1x4")
    assert cli("bench", "digits", *words).exit_code == 0
    assert jobs[0].passes == "include{pipeline=sparse, sparsity=0.9, pattern=1x4}"
    lossy, own = prepare.split(jobs[0].passes)
    assert str(lossy) == "prune{sparsity=0.9, pattern=1x4}"
    assert own.endswith("fuse-residual-add, sparsify")


@pytest.mark.parametrize("word", ["none", ""])
def test_against_nothing(cli, jobs, word) -> None:
    assert cli("bench", "digits", "--against", word).exit_code == 0
    assert jobs[0].against == ()


@pytest.mark.parametrize(
    "words, says",
    [
        (("digist",), "did you mean 'digits'?"),
        (("digits", "--against", "onnxrutime"), "did you mean 'onnxruntime'?"),
        (("digits", "--batch", "0"), "batch must be at least 1"),
        (("digits", "--threads", "-1"), "threads must be at least 1"),
        (("digits", "--streams", "0"), "streams must be at least 1"),
        (("digits", "--warmup", "-1"), "warmup"),
        (("digits", "--time", "0"), "time must be"),
        (("digits", "--time", "nan"), "time must be"),
        (
            ("digits", "--passes", "sparse", "--sparsty", "0.9"),
            "no option 'sparsty'; did you mean 'sparsity'?",
        ),
        (("digits", "--passes", "sparse", "--sparsity", "1"), "must be from 0 to below 1, got 1"),
        (("digits", "--passes", "sparse", "--sparsity", "0.9", "--pattern", "2:4"), "must be 0.5 for 2:4"),
        (("digits", "--passes", "fastest"), "unknown pipeline or pass 'fastest'"),
    ],
)
def test_refusals(fails, words, says) -> None:
    assert says in fails("bench", *words, *(() if "--against" in words else ("--against", "none")))


def test_a_report_that_cannot_be_written_is_refused_before_measuring(fails, jobs, tmp_path) -> None:
    assert "cannot write" in fails("bench", "digits", "--json", tmp_path)
    assert "cannot write" in fails("bench", "digits", "--json", tmp_path / "missing" / "r.json")
    assert jobs == []
