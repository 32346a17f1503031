"""The GPU's table: networks in three precisions and five batch sizes, beside PyTorch, and layer by layer.

    python benchmarks/gpu.py                                    # all of it, as far as 7.5 minutes reach
    python benchmarks/gpu.py --against torch.compile --precisions float16 --minutes 9
    python benchmarks/gpu.py --only-tables

Writes ``results.json`` and the tables ``README.md`` and ``layers.md`` to ``results/gpu`` (or ``--out``) after
every row; a further run adds to what is there. `METHOD` says what the figures are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from gpu_rows import Request

from nbcnn.bench import Job
from nbcnn.bench.machine import describe, summary
from nbcnn.bench.markdown import table
from nbcnn.bench.prepare import prepare
from nbcnn.errors import NbcnnError

RESULTS = Path(__file__).parent / "results" / "gpu"
MODELS = "resnet50,mobilenet_v2,vgg16"
PRECISIONS = "float16,tf32,float32"
BATCHES = "1,128,8,32,256"
AGAINST = "torch,torch.compile"
LAYERS = "1,128"
"""In the order of what matters most, should the time not suffice: one peer after the other, and in each
precision first the batches that are timed layer by layer."""

METHOD = """
Made by `benchmarks/gpu.py`. Device time is that of one CUDA graph by the GPU's own clock, wall time that of a
call with inputs (float32, NCHW) and outputs in the GPU's memory, until it is complete. PyTorch runs as
`nbcnn/bench/engines/torch_cuda.py` says. Engines take turns in one process; ratios are PyTorch's time over
nbcnn's, the median [quartiles] of the rounds: above 1 nbcnn is faster. The floor is the sum over the layers
of the longer of two times: for operands, weights and results moved once each (4.3 TB/s), and for the
multiplications (788 TFLOP/s in half precision, 394 in tf32, 67 in float32: an H200). In `layers.md` the same
layer by layer.
"""

Row = dict[str, Any]
Run = Callable[[Request, float], Iterator[Row]]


def main() -> int:
    """Measure, write, and return 1 when something could not be measured."""
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--models", default=MODELS, help="names of the zoo or paths, with commas between")
    words.add_argument("--precisions", default=PRECISIONS)
    words.add_argument("--batches", default=BATCHES)
    words.add_argument("--against", default=AGAINST, help="of torch and torch.compile; or none")
    words.add_argument("--layers", default=LAYERS, help="batch sizes to time layer by layer; or none")
    words.add_argument("--minutes", type=float, default=7.5, help="when to stop")
    words.add_argument("--no-tune", action="store_true", help="nbcnn chooses its tiles without timing them")
    words.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    words.add_argument("--only-tables", action="store_true", help="measure nothing, write the tables")
    asked = words.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    asked.out.mkdir(parents=True, exist_ok=True)
    found = read(asked.out)
    if asked.only_tables:
        write(asked.out, found)
        return 0
    found["machine"] = describe("cuda")
    if found["machine"]["gpu"] is None:
        sys.stderr.write("there is no NVIDIA GPU: nvidia-smi names none\n")
        return 2
    status = 0
    batches, layers = _numbers(asked.batches), _numbers(asked.layers)
    first = [batch for batch in batches if batch in layers]
    parts = [part for part in (first, [batch for batch in batches if batch not in first]) if part]
    peers = [[peer] for peer in _names(asked.against)] or [[]]
    every = product(peers, asked.precisions.split(","), parts, asked.models.split(","))
    with tempfile.TemporaryDirectory() as folder:
        for against, precision, part, model in every:
            name, task = Path(model).stem, Path(folder, Path(model).stem)
            try:
                if not (task / "inputs.npz").exists():
                    task.mkdir(exist_ok=True)
                    prepare(Job(model, target="cuda"), task)
            except NbcnnError as error:
                sys.stderr.write(f"{model}: {error}\n")
                status = 1
                continue
            tune = False if asked.no_tune else None
            timed = layers if against == peers[0] else []
            request = Request(str(task), precision, part, against, timed, tune)
            for row in rows(request, end):
                add(found, {"model": name, "precision": precision, **row})
                write(asked.out, found)
                sys.stderr.write(said(name, precision, row) + "\n")
                status |= bool(row["failed"])
    return status


def _names(words: str) -> list[str]:
    return [] if words in ("", "none") else words.split(",")


def _numbers(words: str) -> list[int]:
    return [int(word) for word in _names(words)]


# -- measuring ---------------------------------------------------------------------------------------------


def rows(request: Request, end: float, run: Run | None = None) -> Iterator[Row]:
    """A row for each batch, though a process may end before its time: the next one then goes on behind."""
    left = list(request.batches)
    while left:
        why = "the time was up"
        if time.monotonic() < end:
            try:
                for row in (run or child)(Request(**asdict(request) | {"batches": list(left)}), end):
                    left.remove(row["batch"])
                    yield row
                return
            except ChildProcessError as error:
                why = str(error)
        if left:
            names = ", ".join(["nbcnn", *request.against])
            yield {"batch": left.pop(0), "engines": {}, "failed": {names: why}}


def child(request: Request, end: float) -> Iterator[Row]:
    """The rows as a process prints them; ChildProcessError with its last words, should it fail."""
    words = [sys.executable, str(Path(__file__).with_name("gpu_rows.py")), json.dumps(asdict(request))]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, encoding="utf-8")
        assert process.stdout is not None
        watch = threading.Timer(max(end - time.monotonic(), 0), process.kill)
        watch.start()
        try:
            yield from map(json.loads, process.stdout)
            code = process.wait()
        finally:
            watch.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        if code:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            late = "the time was up" if time.monotonic() >= end else f"status {code}"
            raise ChildProcessError(f"{late}: {lines[-1].strip()[:200]}" if lines else late)


def said(model: str, precision: str, row: Row) -> str:
    """One line of progress."""
    parts = [f"{model} {precision} batch {row['batch']}:"]
    for name, engine in row["engines"].items():
        parts.append(f"{name} {engine['device_ms']:.3f} ms ({engine['wall_ms']:.3f} wall)")
    parts += [f"{name} failed: {why}" for name, why in row["failed"].items()]
    return " ".join(parts)


# -- results -----------------------------------------------------------------------------------------------


def read(folder: Path) -> dict[str, Any]:
    """What earlier runs have found."""
    path = folder / "results.json"
    return json.loads(path.read_text()) if path.exists() else {"machine": describe("cuda"), "rows": []}


def add(found: dict[str, Any], row: Row) -> None:
    """Put ``row`` in the place of the same one of an earlier run; of that, other engines stay."""
    old = next((r for r in found["rows"] if _key(r) == _key(row)), None)
    if old is None:
        found["rows"].append(row)
        return
    still = {k: v for k, v in old["failed"].items() if not set(k.split(", ")) <= set(row["engines"])}
    old["failed"] = still | row["failed"]
    old["engines"] |= row["engines"]
    old |= {key: row[key] for key in ("floor_ms", "layers") if row.get(key)}


def _key(row: Row) -> tuple[Any, ...]:
    return row["model"], row["precision"], row["batch"]


def write(folder: Path, found: dict[str, Any]) -> None:
    """All files; each is written anew and then takes the place of the old one."""
    files = {
        "results.json": json.dumps(found, indent=1) + "\n",
        "README.md": tables(found),
        "layers.md": layer_tables(found),
    }
    for name, text in files.items():
        new = folder / f"{name}.new"
        new.write_text(text)
        new.replace(folder / name)


def tables(found: dict[str, Any]) -> str:
    """A table for each precision."""
    measured = [row for row in found["rows"] if row["engines"]]
    peers = list(dict.fromkeys(name for row in measured for name in row["engines"] if name != "nbcnn"))
    head = ["model", "batch", "ms on the GPU", "ms wall", "images/s", "floor"]
    head += [f"{name}{clock}" for name in peers for clock in (" / nbcnn", " wall", " differs by")]
    lines = ["# On a GPU", "", summary(found["machine"]), METHOD.rstrip()]
    for precision in dict.fromkeys(row["precision"] for row in measured):
        of_it = sorted((r for r in measured if r["precision"] == precision), key=lambda r: r["batch"])
        order = list(dict.fromkeys(row["model"] for row in found["rows"]))
        of_it.sort(key=lambda r: order.index(r["model"]))
        lines += ["", f"## {precision}", "", *table(head, (_cells(row, peers) for row in of_it))]
    lost = [
        f"* {row['model']} {row['precision']} batch {row['batch']}, {name}: {why}"
        for row in found["rows"]
        for name, why in row["failed"].items()
    ]
    return "\n".join([*lines, *(["", "Not measured:", "", *lost] if lost else [])]) + "\n"


def _cells(row: Row, peers: list[str]) -> list[str]:
    ours = row["engines"]["nbcnn"]
    cells = [row["model"], str(row["batch"]), f"{ours['device_ms']:.3f}", f"{ours['wall_ms']:.3f}"]
    cells += [f"{1e3 * row['batch'] / ours['wall_ms']:.0f}", f"{row['floor_ms'] / ours['device_ms']:.0%}"]
    for name in peers:
        theirs = row["engines"].get(name)
        if theirs is None:
            cells += ["-", "-", "-"]
            continue
        middle, low, high = theirs["ratio"]
        error = theirs["error"]
        cells += [f"{middle:.2f} [{low:.2f}-{high:.2f}]", f"{theirs['wall_ratio'][0]:.2f}"]
        cells += ["?" if error is None else f"{error:.1e}"]
    return cells


def layer_tables(found: dict[str, Any]) -> str:
    """A table for each row whose steps were timed."""
    lines = ["# Layer by layer", "", summary(found["machine"]), ""]
    lines += ["Each step by itself by the GPU's clock, many in a row: what they touch may stay in its cache."]
    head = ["node", "kernel", "us", "floor us", "floor", "TFLOP/s", "GB/s"]
    for row in found["rows"]:
        if not (layers := row.get("layers")):
            continue
        whole = sum(layer["us"] for layer in layers) / 1e3
        title = f"## {row['model']}, {row['precision']}, batch {row['batch']}: {whole:.3f} ms in all"
        lines += ["", title, "", *table(head, map(_layer, layers))]
    return "\n".join(lines) + "\n"


def _layer(layer: Row) -> list[str]:
    share = layer["floor_us"] / layer["us"] if layer["us"] else 0.0
    cells = [layer["node"], f"`{layer['kernel']}`", f"{layer['us']:.1f}", f"{layer['floor_us']:.1f}"]
    return [*cells, f"{share:.0%}", f"{layer['gflops'] / 1e3:.1f}", f"{layer['gbytes']:.0f}"]


if __name__ == "__main__":
    sys.exit(main())
