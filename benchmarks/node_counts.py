"""How many nodes are left of every model of the zoo: nbcnn's passes against ONNX Runtime's optimiser.

    python benchmarks/node_counts.py [--models resnet50,...] [--passes default]

Writes ``results/node_counts.json`` and ``results/node_counts.md`` beside this file, and returns 1 when ours
is above ONNX Runtime's anywhere. Both start from the same unoptimised model: ours as loaded, theirs as
nbcnn exports it. Theirs is what the session writes to ``optimized_model_filepath`` with every optimisation on
(ORT_ENABLE_ALL, CPU). Its layout pass adds nodes that reorder memory, so the count without these stands
beside; in nbcnn layouts belong to lowering, and no node of the graph says anything of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import nbcnn
from nbcnn import resources

RESULTS = Path(__file__).parent / "results"
REORDERS = ("ReorderInput", "ReorderOutput")


@dataclass(frozen=True)
class Row:
    """One model: nodes as written, after our passes and after ONNX Runtime's, and of what kinds."""

    model: str
    written: int
    nbcnn: int
    onnxruntime: int
    without_reorders: int
    nbcnn_kinds: dict[str, int]
    onnxruntime_kinds: dict[str, int]

    @property
    def good(self) -> bool:
        return self.nbcnn <= min(self.onnxruntime, self.without_reorders)


def main() -> int:
    """Count, write, and return 1 when ONNX Runtime has fewer nodes somewhere."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--models", default=",".join(resources.names("graphs")))
    words.add_argument("--passes", default="default")
    asked = words.parse_args()
    rows = list(count(asked.models.split(","), asked.passes))
    RESULTS.mkdir(exist_ok=True)
    text = markdown(rows, asked.passes)
    (RESULTS / "node_counts.md").write_text(text)
    data = {"passes": asked.passes, "models": [asdict(row) for row in rows]}
    (RESULTS / "node_counts.json").write_text(json.dumps(data, indent=1) + "\n")
    sys.stdout.write(text)
    return 0 if all(row.good for row in rows) else 1


def count(models: list[str], passes: str) -> Iterator[Row]:
    """A row per model."""
    from nbcnn.ir.summary import op_text

    for model in models:
        graph = nbcnn.load(model)
        ours = Counter(map(op_text, nbcnn.optimize(graph, passes).nodes))
        theirs = onnxruntime_kinds(graph)
        reorders = sum(theirs[kind] for kind in REORDERS)
        yield Row(
            model,
            len(graph.nodes),
            ours.total(),
            theirs.total(),
            theirs.total() - reorders,
            dict(ours.most_common()),
            dict(theirs.most_common()),
        )


def onnxruntime_kinds(graph: nbcnn.Graph) -> Counter[str]:
    """The operators of the model that ONNX Runtime runs in place of ``graph``."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        source, optimized = Path(folder, "model.onnx"), Path(folder, "optimized.onnx")
        nbcnn.to_onnx(graph, source)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3  # it warns that the file suits this machine only
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(optimized, load_external_data=False).graph.node
    return Counter(node.op_type for node in nodes)


def markdown(rows: list[Row], passes: str) -> str:
    """The table, and the operators that are left of each model."""
    import onnxruntime

    lines = [
        "# Nodes after optimisation",
        "",
        f"Pipeline `{passes}` against ONNX Runtime {onnxruntime.__version__} with every optimisation on,",
        "both from the same model. Made by `python benchmarks/node_counts.py`.",
        "",
        "| model | as written | nbcnn | ONNX Runtime | without its layout reorders |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        mine = f"**{row.nbcnn}**" if row.good else f"{row.nbcnn} (above)"
        cells = (row.model, row.written, mine, row.onnxruntime, row.without_reorders)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "| model | left by nbcnn | left by ONNX Runtime |", "|---|---|---|"]
    for row in rows:
        lines.append(f"| {row.model} | {_kinds(row.nbcnn_kinds)} | {_kinds(row.onnxruntime_kinds)} |")
    return "\n".join(lines) + "\n"


def _kinds(kinds: dict[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in kinds.items())


if __name__ == "__main__":
    sys.exit(main())
