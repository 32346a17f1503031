"""How far the answers of every network lie from float64: with Winograd's algorithm, without, by pipeline.

    python benchmarks/accuracy.py [--models resnet50,...]        # some ten minutes, vgg16 the longest

Writes ``results/accuracy.md`` and ``results/accuracy.json`` beside this file, and returns 1 when a layer lies
beyond its bound.

Weights are random, drawn as the zoo draws them, and so is the one input (normal). The error of a network is
the largest |y - y64| / max |y64| of its outputs, y64 being what the reference computes of the unoptimised
graph in float64; "direct" is without Winograd's algorithm. ONNX Runtime's error stands beside.

Layers are judged one by one on the operands that they read. "Of its bound": the largest error in units of the
stated bound, which follows from the operands in float64 (`nbcnn.reference.bound`, with the kernel's
`rounding`), over the layers by Winograd's algorithm and over the others that multiply and add (one rounding
alone attains its bound: element-wise layers lie close below theirs). "Winograd's factor": how many times
the error of the direct product (root mean square) that algorithm makes in a layer, at most.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from networks import NETWORKS

import nbcnn
from nbcnn import reference
from nbcnn.bench import markdown
from nbcnn.bench.machine import describe, summary
from nbcnn.debug import program

RESULTS = Path(__file__).parent / "results"
PIPELINES = ("default", "max")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A node as it was lowered: its kernel's family, its largest error in units of the bound, and the root
    mean square of its errors over that of its results. ``product``: whether it multiplies and adds."""

    name: str
    family: str
    excess: float
    error: float
    product: bool = True

    @property
    def winograd(self) -> bool:
        return self.family.startswith("winograd")


@dataclass(frozen=True)
class Row:
    """One network. ``errors`` are by pipeline with ``, direct`` after it for one without Winograd."""

    model: str
    errors: dict[str, float]
    layers: list[Layer] = field(default_factory=list)
    direct: list[Layer] = field(default_factory=list)

    def worst(self, winograd: bool) -> Layer | None:
        """Of the layers that multiply and add, the one that comes nearest to its bound."""
        return max(self.products(winograd), key=lambda x: x.excess, default=None)

    def products(self, winograd: bool) -> list[Layer]:
        """The layers that multiply and add, by Winograd's algorithm or not."""
        return [x for x in self.layers if x.product and x.winograd == winograd]

    def loss(self) -> float | None:
        """The most that Winograd's algorithm makes of a layer's error, as a factor; None without one."""
        plain = {layer.name: layer.error for layer in self.direct}
        found = [x.error / plain[x.name] for x in self.layers if x.winograd and plain.get(x.name)]
        return max(found, default=None)


def main() -> int:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--models", default=",".join(NETWORKS))
    rows = []
    for model in words.parse_args().models.split(","):
        rows.append(row(model))
        sys.stderr.write(f"{model}: {rows[-1].errors['default']:.1e}\n")
    text = table(rows, summary(describe()))
    (RESULTS / "accuracy.md").write_text(text)
    data = {"machine": describe(), "models": [asdict(found) for found in rows]}
    (RESULTS / "accuracy.json").write_text(json.dumps(data) + "\n")
    sys.stdout.write(text)
    return int(any(layer.excess > 1 for found in rows for layer in found.layers + found.direct))


def row(model: str) -> Row:
    """Errors of the network and of its layers."""
    graph = nbcnn.load(model)
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal(t.extents(1), np.float32) for name, t in graph.inputs.items()}
    wants = reference.run(graph, inputs, np.float64)
    errors = {}
    for passes in PIPELINES:
        optimized = nbcnn.optimize(graph, passes)
        for winograd, label in ((True, passes), (False, f"{passes}, direct")):
            built = nbcnn.compile(optimized, passes="none", threads=1, winograd=winograd)
            errors[label] = relative(wants, built.run(inputs))
    if (theirs := onnxruntime(graph, inputs)) is not None:
        errors["onnxruntime"] = relative(wants, theirs)
    ways = (layers(graph, inputs, winograd) for winograd in (True, False))
    return Row(model, errors, *ways)


def layers(graph: nbcnn.Graph, inputs: Arrays, winograd: bool) -> list[Layer]:
    """Every node of the program of the default pipeline, judged by itself."""
    optimized = nbcnn.optimize(graph)

    def build(taps: Iterable[str]) -> nbcnn.Model:
        return nbcnn.compile(optimized, passes="none", threads=1, winograd=winograd, taps=tuple(taps))

    return [
        Layer(
            *(choice.site.name, choice.kernel.name),
            *(_rounded(found.excess), _rounded(10 ** (-found.sqnr / 20)), choice.site.macs > 0),
        )
        for choice, found in program.nodes(build, optimized, inputs)
    ]


def relative(wants: Arrays, gots: Arrays) -> float:
    """The largest |got - want| / max |want| of all outputs."""
    return max(float(abs(gots[k] - want).max() / abs(want).max()) for k, want in wants.items())


def onnxruntime(graph: nbcnn.Graph, inputs: Arrays) -> Arrays | None:
    """ONNX Runtime's answers, None where it is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime as ort
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        nbcnn.to_onnx(graph, path)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        return dict(zip(graph.outputs, session.run(list(graph.outputs), inputs), strict=True))


def table(rows: list[Row], machine: str) -> str:
    """Both tables as Markdown."""
    paragraphs = [" ".join(text.split()) for text in (__doc__ or "").split("\n\n")[3:]]
    labels = list(dict.fromkeys(label for found in rows for label in found.errors))
    cells = [[found.model, *(_number(found.errors.get(label)) for label in labels)] for found in rows]
    lines = ["# Accuracy", "", machine, "", paragraphs[0], ""]
    lines += ["## Networks", "", *markdown.table(["model", *labels], cells), ""]
    head = [
        "model",
        "by Winograd",
        "of its bound",
        "others",
        "of its bound",
        "Winograd's factor",
    ]
    cells = []
    for found in rows:
        cell = [found.model]
        for winograd in (True, False):
            worst = found.worst(winograd)
            cell += [str(len(found.products(winograd))), f"{worst.excess:.2f} {worst.name}" if worst else "-"]
        loss = found.loss()
        cells.append([*cell, f"{loss:.1f}" if loss is not None else "-"])
    lines += ["## Layers, default pipeline", "", paragraphs[1], "", *markdown.table(head, cells)]
    return "\n".join(lines) + "\n"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


if __name__ == "__main__":
    sys.exit(main())
