"""What each model of the zoo becomes on a GPU, and whether all of it assembles: no GPU needed.

For every model and precision: launches at batch 1 and 128, kernels, how many multiply-adds run on tensor
cores, what still runs through the reference. With ``--assemble`` (needs ``pip install nbcnn[cuda]``) every
kernel that any of them launches is built for 8.0 and 9.0a, and those that spill or warn are listed. Writes
``results/cuda_zoo.md``.

    python benchmarks/cuda_zoo.py [MODEL ...] [--assemble]     # with a MODEL it writes nothing
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbcnn
from nbcnn import resources
from nbcnn.kernels.base import Emit, Store
from nbcnn.kernels.cuda import backend
from nbcnn.kernels.steps import DeviceStep, PythonStep
from nbcnn.lower.device_build import choose
from nbcnn.lower.layout import lay_out
from nbcnn.options import PRECISIONS, CompileOptions
from nbcnn.runtime.cuda import cubin
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

RESULTS = Path(__file__).parent / "results"
TARGETS = {
    "sm_80": CudaTarget("A100", (8, 0), 108, 163 << 10),
    "sm_90a": CudaTarget("H200", (9, 0), 132, 227 << 10),
}
Kernels = dict[tuple[cubin.Config, tuple[int, int]], None]


def main() -> None:
    words = [w for w in sys.argv[1:] if not w.startswith("-")]
    kernels: Kernels = {}
    lines = [
        "| model | precision | launches, batch 1 | batch 128 | kernels | MACs on tensor cores | reference |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for name in words or resources.names("graphs"):
        graph = nbcnn.optimize(nbcnn.load(name))
        for precision in PRECISIONS:
            lines.append(row(name, graph, precision, kernels))
            say(lines[-1])
    text = [
        "# The zoo on a GPU",
        "",
        "Written by `benchmarks/cuda_zoo.py`, without a GPU; the figures are those of an H200 (9.0a).",
        "",
        *lines,
    ]
    if "--assemble" in sys.argv:
        text += ["", *assemble(kernels)]
    if not words:
        (RESULTS / "cuda_zoo.md").write_text("\n".join(text) + "\n")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def row(name: str, graph: nbcnn.Graph, precision: str, kernels: Kernels) -> str:
    """A model in one precision; its kernels on both targets go to ``kernels``."""
    launches: dict[int, int] = {}
    for base in TARGETS.values():
        target = CudaTarget(
            base.name, base.capability, base.multiprocessors, base.shared_memory, precision=precision
        )
        options = CompileOptions(precision=precision, strips=False)
        choices, store = choose(graph, target, options), Store()
        for batch in (1, 128):
            steps = lay_out(graph, choices, Emit(batch, target, options, store, backend())).steps
            mine = [step for step in steps if isinstance(step, DeviceStep)]
            launches[batch] = len(mine)
            kernels |= {(step.kernel, target.capability): None for step in mine}
    slow = sorted({step.site for step in steps if isinstance(step, PythonStep)})
    total = sum(step.macs for step in mine) or 1
    on_tensor_cores = sum(step.macs for step in mine if not isinstance(step.kernel, Simt))
    shown = ", ".join(slow[:3]) + (" ..." if len(slow) > 3 else "")
    distinct = len({step.kernel for step in mine})
    share = f"{100 * on_tensor_cores / total:.0f} %"
    return f"| {name} | {precision} | {launches[1]} | {launches[128]} | {distinct} | {share} | {shown} |"


def assemble(kernels: Kernels) -> list[str]:
    """Builds each kernel; a line for those with spills, local memory or warnings, and a summary."""
    wrong, start = [], time.perf_counter()
    for done, (config, capability) in enumerate(kernels):
        built = cubin.build(config, capability)
        if built.spill_stores or built.spill_loads or built.stack or built.warnings:
            said = "; ".join(built.warnings)
            spilt = built.spill_stores + built.spill_loads
            wrong.append(f"- {config.name} ({built.arch}): {spilt} bytes spilt, stack {built.stack} {said}")
            say(wrong[-1])
        if done % 50 == 49:
            say(f"{done + 1} of {len(kernels)} kernels, {time.perf_counter() - start:.0f} s")
    seconds = time.perf_counter() - start
    summary = f"{len(kernels)} kernels assembled for 8.0 and 9.0a in {seconds:.0f} s; "
    say(summary := f"{summary}with spills, stack or warnings: {len(wrong) or 'none'}")
    return [summary, *wrong]


if __name__ == "__main__":
    main()
