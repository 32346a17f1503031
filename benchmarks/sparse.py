"""The table of sparsity: pruned networks in nbcnn and in every engine that may gain from zeros.

    python benchmarks/sparse.py [--cases resnet50:0.9:unstructured,...] [--threads 1,2] [--time 5]

Writes ``results/sparse/MODEL-PATTERN-ZEROS-THREADSt.json`` and the table ``results/sparse/README.md`` beside
this file, which holds every result in the folder, so that cases can be measured one at a time.

Every convolution but the first is pruned to the same share, with weights drawn at random: no kernel's time
depends on their values. All engines get the same pruned weights, as ONNX, and each output is checked against
nbcnn's. ONNX Runtime and OpenVINO run zeros at full price; MNN gets the conversion for sparse weights, and of
its sparse kernels (single weights, blocks of 4) and its dense ones the fastest. "nbcnn (dense)" is our own
program without sparse kernels. To reproduce: ``pip install -e '.[peers]'`` on an idle machine, then the line
above. Blocks of half a second in turn, as for the main table (`run.py`).

Ratios are against float32. At its default precision OpenVINO uses bfloat16 where the machine has AMX or
AVX512-BF16, which can outrun sparse float32; on machines without these it is float32 there, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbcnn.bench import Job, markdown, run
from nbcnn.errors import NbcnnError, OptionError
from nbcnn.passes import Pipeline

RESULTS = Path(__file__).parent / "results" / "sparse"
AGAINST = ("dense", "onnxruntime", "openvino", "mnn")
DENSE = ("onnxruntime", "openvino", "ncnn", "torch")
"""The peers that make nothing of zeros."""


@dataclass(frozen=True, order=True)
class Case:
    """A network, and the share and pattern of its zeros."""

    model: str
    pattern: str
    zeros: float

    @classmethod
    def of(cls, text: str) -> Case:
        """``resnet50:0.9:1x4``; the pattern may be left out."""
        try:
            model, zeros, pattern = (text if text.count(":") > 1 else f"{text}:unstructured").split(":", 2)
            return cls(model, pattern, float(zeros))
        except ValueError:
            raise OptionError(f"a case is MODEL:ZEROS or MODEL:ZEROS:PATTERN, got '{text}'") from None

    def passes(self) -> str:
        """The pipeline as text."""
        return str(Pipeline.of("sparse", {"sparsity": self.zeros, "pattern": self.pattern}))


CASES = (
    *(f"resnet50:{zeros}" for zeros in (0.7, 0.8, 0.9, 0.95)),
    *("resnet50:0.8:1x4", "resnet50:0.9:1x4", "vgg16:0.9", "mobilenet_v1:0.9"),
)


def main() -> int:
    """Measure, write, and return 1 when a case could not be measured."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--cases", default=",".join(CASES))
    words.add_argument("--threads", default="1,2")
    words.add_argument("--against", default=",".join(AGAINST))
    words.add_argument("--time", type=float, default=5.0, help="seconds per engine")
    asked = words.parse_args()

    from nbcnn.bench import report

    RESULTS.mkdir(parents=True, exist_ok=True)
    status = 0
    for threads in map(int, asked.threads.split(",")):
        for text in asked.cases.split(","):
            try:
                case = Case.of(text)
                against = tuple(asked.against.split(","))
                job = Job(case.model, threads=threads, passes=case.passes(), against=against, time=asked.time)
                result = run(job)
            except NbcnnError as error:
                sys.stderr.write(f"{text}: {error}\n")
                status = 1
                continue
            report.show(result)
            found = {"pattern": case.pattern, "zeros": case.zeros, **result.as_json()}
            name = f"{case.model}-{case.pattern.replace(':', 'of')}-{case.zeros:g}-{threads}t.json"
            (RESULTS / name).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
    table = tables([json.loads(path.read_text()) for path in sorted(RESULTS.glob("*t.json"))])
    (RESULTS / "README.md").write_text(table)
    return status


def tables(reports: Iterable[markdown.Report]) -> str:
    """A table for each machine and thread count: latencies of nbcnn, then each engine's ratio to it."""
    parts = ["# Sparsity", "", "Ratio: the engine's latency over nbcnn's, median [quartiles].", ""]
    parts += [__doc__.strip().rpartition("\n\n")[2], ""]
    for where, threads, group, names in markdown.groups(reports):
        head = ["model", "pattern", "zeros", "nbcnn ms", *names, "fastest dense peer"]
        parts += [f"## {where}, threads: {threads}", "", *markdown.table(head, map(_row(names), group)), ""]
        notes = dict.fromkeys(
            f"{e['name']}, {r['model']} {r['pattern']} {r['zeros']:.0%}: {e['note']}"
            for r in group
            for e in r["engines"]
            if e.get("note")
        )
        parts += [f"* {note}" for note in notes] + [""] * bool(notes)
    return "\n".join(parts)


def _row(names: list[str]) -> Any:
    def cells(report: markdown.Report) -> list[str]:
        ours, *others = report["engines"]
        by_name = {engine["name"]: engine for engine in others}
        dense = [by_name[name] for name in DENSE if name in by_name]
        fastest = min(dense, key=lambda engine: engine["ratio"], default=None)
        return [
            *(report["model"], report["pattern"], f"{report['zeros']:.0%}"),
            f"{ours['latency_ms']['median']:.2f}",
            *(markdown.ratio(by_name.get(name)) for name in names),
            f"{fastest['ratio']:.2f} ({fastest['name']})" if fastest else "-",
        ]

    return cells


if __name__ == "__main__":
    sys.exit(main())
