"""How much memory a network takes in nbcnn and in ONNX Runtime, loaded from a file and run once.

    python benchmarks/memory.py [--models resnet50,...]

Writes ``results/memory.md`` and ``results/memory.json`` beside this file, and returns 1 when nbcnn takes more
than ONNX Runtime and a tenth. Each engine and network has a fresh process with one thread, and runs twice: at
the second time kernels are in the cache. nbcnn reads YAML and safetensors, ONNX Runtime the same as ONNX.

What counts is the resident memory after the first answer (Linux: /proc/self/smaps_rollup), less that before
the network was loaded, and less the copies of filters that only Winograd's algorithm needs (the packed
weights, less those of the same network without it). The first table counts from the import. nbcnn imports
most of itself, and LLVM, when it is first used, ONNX Runtime at once: the second table counts from when a
network of one ReLU has run, so that it holds what the network itself takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "results"
MODELS = ("resnet50", "mobilenet_v2", "vgg16", "resnet18", "densenet121")
ENGINES = ("nbcnn", "nbcnn without Winograd", "onnxruntime")
KINDS = ("Rss", "Pss", "Anonymous")
LIMIT = 1.10
TINY = "tiny"


# -- in a process of its own -----------------------------------------------------------------------


def measure(engine: str, folder: Path, model: str) -> dict[str, Any]:
    """MiB after the import, after a network of one ReLU, and after the first answer of ``model``."""
    run = run_onnxruntime if engine == "onnxruntime" else run_nbcnn
    __import__("onnxruntime" if engine == "onnxruntime" else "nbcnn")
    found: dict[str, Any] = {"import": resident()}
    for stage, name in (("engine", TINY), ("network", model)):
        found |= run(folder / name, engine == "nbcnn")
        found[stage] = resident()
    return found


def run_nbcnn(path: Path, winograd: bool) -> dict[str, Any]:
    import nbcnn

    graph = nbcnn.load(f"{path}.yaml")
    model = KEEP["nbcnn"] = nbcnn.compile(graph, threads=1, winograd=winograd)
    model(*(np.zeros(t.extents(1), np.float32) for t in graph.inputs.values()))
    memory = model.memory(1)
    return {"weights": memory.weights / 2**20, "arena": memory.arena / 2**20}


def run_onnxruntime(path: Path, winograd: bool) -> dict[str, Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(f"{path}.onnx", options, providers=["CPUExecutionProvider"])
    KEEP["onnxruntime"] = session
    inputs = {x.name: np.zeros([1, *x.shape[1:]], np.float32) for x in session.get_inputs()}
    session.run(None, inputs)
    return {}


KEEP: dict[str, Any] = {}
"""What must live until it has been measured."""


def resident() -> dict[str, float]:
    """MiB of this process by kind."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {key: int(value.split()[0]) / 1024 for key, _, value in (line.partition(":") for line in lines)}
    return {kind: sizes[kind] for kind in KINDS}


# -- around it -------------------------------------------------------------------------------------


def prepare(folder: Path, models: list[str]) -> None:
    """Write every network, and the one of one ReLU, as YAML with safetensors and as ONNX."""
    import nbcnn

    text = "format: 1\nname: tiny\ninputs: {x: [N, 8, 8, 8]}\nnodes: [{name: relu, op: relu}]\n"
    (folder / f"{TINY}.yaml").write_text(text)
    nbcnn.to_onnx(nbcnn.load(folder / f"{TINY}.yaml"), folder / f"{TINY}.onnx")
    for model in models:
        graph = nbcnn.load(model)
        nbcnn.save(graph, folder / f"{model}.yaml")
        nbcnn.to_onnx(graph, folder / f"{model}.onnx")


def ask(engine: str, folder: Path, model: str) -> dict[str, Any]:
    """`measure` in a fresh process, the second time."""
    command = [sys.executable, __file__, "--child", engine, str(folder), model]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment())
        if done.returncode:
            raise SystemExit(f"{engine}, {model}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def environment() -> dict[str, str]:
    """That of this process, with nbcnn importable and one thread for everybody."""
    from nbcnn.bench.remote import environment as one_of

    return one_of(os.environ, 1)


def row(model: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The growth of both engines since the import and since the network of one ReLU, in MiB."""
    ours, plain, theirs = (found[engine] for engine in ENGINES)
    copies = max(0.0, ours["weights"] - plain["weights"])
    result: dict[str, Any] = {"model": model, "winograd": copies, "measured": found}
    for since in ("import", "engine"):
        mine, other = (e["network"]["Rss"] - e[since]["Rss"] for e in (ours, theirs))
        result[f"since {since}"] = {
            **{"nbcnn": mine, "onnxruntime": other},
            "ratio": (mine - copies) / other,
        }
    return result


def markdown(rows: list[dict[str, Any]], machine: str) -> str:
    """The tables."""
    from nbcnn.bench.markdown import table

    lines = ["# Memory", "", machine, "", __doc__.strip().rpartition("\n\n")[2].replace("\n", " "), ""]
    titles = {"import": "Growth since the import", "engine": "Growth since a network of one ReLU"}
    for since, title in titles.items():
        cells = []
        for found in rows:
            growth = found[f"since {since}"]
            sizes = (growth["nbcnn"], found["winograd"], growth["onnxruntime"])
            cells.append([found["model"], *(f"{size:.0f}" for size in sizes), f"{growth['ratio']:.2f}"])
        head = ["model", "nbcnn MiB", "of it Winograd's", "ONNX Runtime MiB", "ratio without Winograd's"]
        lines += [f"## {title}", "", *table(head, cells), ""]
    kinds = [f"{engine} {kind}" for engine in ENGINES for kind in KINDS]
    cells = [
        [found["model"], *(f"{found['measured'][e]['network'][kind]:.0f}" for e in ENGINES for kind in KINDS)]
        for found in rows
    ]
    lines += ["## All of the process after the first answer, MiB", "", *table(["model", *kinds], cells), ""]
    cells = [
        [found["model"], *(f"{found['measured']['nbcnn'][part]:.1f}" for part in ("weights", "arena"))]
        for found in rows
    ]
    lines += ["## Of it, in nbcnn, MiB", "", *table(["model", "packed weights", "arena"], cells)]
    return "\n".join(lines) + "\n"


def above(rows: list[dict[str, Any]]) -> list[str]:
    """The networks that take more in nbcnn than `LIMIT` allows, the engines themselves left out."""
    return [found["model"] for found in rows if found["since engine"]["ratio"] > LIMIT]


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        engine, folder, model = sys.argv[2:]
        sys.stdout.write(json.dumps(measure(engine, Path(folder), model)))
        return 0
    from nbcnn.bench.machine import describe, summary

    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--models", default=",".join(MODELS))
    models = words.parse_args().models.split(",")
    with tempfile.TemporaryDirectory(prefix="nbcnn-memory-") as folder:
        prepare(Path(folder), models)
        rows = [row(m, {engine: ask(engine, Path(folder), m) for engine in ENGINES}) for m in models]
    machine = describe()
    text = markdown(rows, summary(machine))
    (FOLDER / "memory.md").write_text(text)
    (FOLDER / "memory.json").write_text(json.dumps({"machine": machine, "models": rows}, indent=1) + "\n")
    sys.stdout.write(text)
    for model in (found := above(rows)):
        sys.stderr.write(f"{model}: more than {LIMIT:.2f} of what ONNX Runtime takes\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
