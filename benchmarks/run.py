"""The main table: every model of `CASES` against every engine, at 1 and 2 threads.

    python benchmarks/run.py [--models resnet50,...] [--threads 1,2] [--time 5] [--against ...]

Writes ``results/MODEL-THREADSt.json`` and the table ``results/README.md`` beside this file, and the
same table into the project's README; it holds every result in the folder, so that models can be
measured one at a time.

To reproduce: ``pip install -e '.[peers]'`` on an idle machine, then the line above (about a minute a
model and thread count). Each engine runs in a process of its own; they take turns in blocks of half
a second while the others sleep, since spinning thread pools disturb each other. A ratio is the
median over adjacent pairs of blocks, with quartiles; above 1 nbcnn is faster. Peers get the model as
ONNX, and each output is checked against nbcnn's. Ratios are against float32;
OpenVINO's default precision stands beside. Weights are random, which no dense kernel notices.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from nbcnn.bench import Job, markdown, run
from nbcnn.errors import NbcnnError

CASES = ("resnet50", "resnet18", "mobilenet_v2", "vgg16", "alexnet", "squeezenet1_1")
RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- results: benchmarks/run.py writes what follows -->", "<!-- end of results -->"
DEFAULTS = Job("")


def main() -> int:
    """Measure, write, and return 1 when a model could not be measured."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--models", default=",".join(CASES))
    words.add_argument("--threads", default="1,2")
    words.add_argument("--against", default=",".join(DEFAULTS.against))
    words.add_argument("--time", type=float, default=5.0, help="seconds per engine")
    asked = words.parse_args()

    from nbcnn.bench import report

    RESULTS.mkdir(exist_ok=True)
    status = 0
    for threads in map(int, asked.threads.split(",")):
        for model in asked.models.split(","):
            job = Job(model, threads=threads, against=tuple(asked.against.split(",")), time=asked.time)
            try:
                result = run(job)
            except NbcnnError as error:
                sys.stderr.write(f"{model}: {error}\n")
                status = 1
                continue
            report.show(result)
            report.write_json(result, RESULTS / f"{model}-{threads}t.json")
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-*t.json"))]
    table = tables(found)
    (RESULTS / "README.md").write_text(table)
    README.write_text(in_readme(README.read_text(), table))
    return status


def tables(reports: list[markdown.Report]) -> str:
    """A table per machine and thread count: nbcnn's latency, then each engine's ratio to it."""
    parts = ["# Results", "", "Ratio: the engine's latency over nbcnn's, median [quartiles]."]
    for where, threads, group, names in markdown.groups(reports):
        rows = []
        for report in group:
            ours, *others = report["engines"]
            by_name = {engine["name"]: engine for engine in others}
            cells = [report["model"], str(report["batch"]), f"{ours['latency_ms']['median']:.2f}"]
            rows.append(cells + [markdown.ratio(by_name.get(name)) for name in names])
        ratios = [[e["ratio"] for r in group for e in r["engines"] if e["name"] == n] for n in names]
        rows.append(["geometric mean", "", "", *map(markdown.mean, ratios)])
        head = ["model", "batch", "nbcnn ms", *names]
        parts += ["", f"## {where}, threads: {threads}", "", *markdown.table(head, rows)]
    return "\n".join(parts) + "\n"


def in_readme(readme: str, table: str) -> str:
    """The project's README with the tables of results between its two markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = table.partition("\n\n")[2].replace("\n## ", "\n### ")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
