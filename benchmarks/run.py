"""The main table: every network of `NETWORKS` against every engine, at 1 and 2 threads.

    python benchmarks/run.py                   # about an hour
    python benchmarks/run.py --small           # three networks, one thread: under five minutes
    python benchmarks/run.py --batch 8 [--models resnet50,...] [--threads 1,2] [--time 5] [--against ...]

Writes ``results/MODEL-THREADSt[-bBATCH].json``, the tables ``results/README.md`` and, with matplotlib
(``pip install -e '.[plot]'``), the pictures of ``plot.py`` beside this file, and a short table into the
project's README. The tables hold every result in the folder, so that networks can be measured one at a time;
``--small`` writes to ``results/small`` and leaves the README alone.

To reproduce: ``pip install -e '.[peers,plot]'`` on an idle machine, then the line above; engines that are not
installed are left out. Each engine runs in a process of its own; they take turns in blocks of half a second
while the others sleep, since spinning thread pools disturb each other. A ratio is the median over adjacent
pairs of blocks, with quartiles; above 1 nbcnn is faster. Peers get the network as ONNX, and each output is
checked against nbcnn's. Ratios that count are against float32; OpenVINO's default precision stands beside.
Each engine runs with the settings its makers publish for latency: see ``nbcnn/bench/engines``. Weights are
random, which no dense kernel notices.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import tables
from networks import NETWORKS

from nbcnn.bench import Job, run
from nbcnn.errors import NbcnnError

AGAINST = ("onnxruntime", "openvino", "ncnn", "mnn", "torch")
RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"


@dataclass(frozen=True)
class Extent:
    """How much is measured unless the command line says so, and where the results go."""

    models: tuple[str, ...]
    threads: tuple[int, ...]
    seconds: float
    folder: Path


FULL = Extent(NETWORKS, (1, 2), 5.0, RESULTS)
SMALL = Extent(("resnet18", "mobilenet_v2", "squeezenet1_1"), (1,), 2.5, RESULTS / "small")


def main() -> int:
    """Measure, write, and return 1 when a network could not be measured."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument(
        "--only-tables", action="store_true", help="measure nothing, write tables and pictures"
    )
    words.add_argument("--small", action="store_true", help="three networks, one thread, under five minutes")
    words.add_argument("--models", help="names of the zoo or paths, with commas between")
    words.add_argument("--threads", help="thread counts, with commas between")
    words.add_argument("--batch", default="1", help="batch sizes, with commas between")
    words.add_argument("--against", default=",".join(AGAINST))
    words.add_argument("--time", type=float, help="seconds per engine")
    asked = words.parse_args()
    extent = SMALL if asked.small else FULL
    models = asked.models.split(",") if asked.models else extent.models
    threads = [int(n) for n in asked.threads.split(",")] if asked.threads else extent.threads
    batches = [int(n) for n in asked.batch.split(",")]

    from nbcnn.bench import report

    extent.folder.mkdir(parents=True, exist_ok=True)
    status = 0
    for batch, count, model in itertools.product(batches, threads, () if asked.only_tables else models):
        try:
            job = Job(
                *(model, batch, count),
                against=tuple(asked.against.split(",")),
                time=asked.time or extent.seconds,
            )
            result = run(job)
        except NbcnnError as error:
            sys.stderr.write(f"{model}: {error}\n")
            status = 1
            continue
        report.show(result)
        report.write_json(result, extent.folder / tables.file_name(Path(model).stem, count, batch))
    write(extent.folder)
    return status


def write(folder: Path) -> None:
    """The tables and pictures of all results in ``folder``; those of `RESULTS` into the project's README."""
    import plot

    found = tables.read(folder)
    (folder / "README.md").write_text(tables.full(found))
    if plot.installed():
        plot.write(folder, found)
    else:
        sys.stderr.write("no pictures: pip install -e '.[plot]'\n")
    if folder == RESULTS:
        README.write_text(tables.in_readme(README.read_text(), tables.short(found)))


if __name__ == "__main__":
    sys.exit(main())
