"""Registers, shared memory, spills and instructions of every CUDA configuration: no GPU needed.

Needs ``pip install nbcnn[cuda] nvidia-cuda-nvdisasm``. Writes ``results/cuda_configs.md`` and ``.json``; each
kernel is built with bias, residual and ReLU (partial sums: without), for 8.0 or, with wgmma, 9.0a.

    python benchmarks/cuda_configs.py [WORD ...]     # names that contain one of the words; writes nothing
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from nbcnn.debug import sass
from nbcnn.kernels.cuda.configs import CONFIGS, with_epilogue
from nbcnn.kernels.cuda.shapes import Config, ConvMma, Epilogue
from nbcnn.runtime.cuda import cubin

RESULTS = Path(__file__).parent / "results"
SHOWN = ("HMMA", "IMMA", "HGMMA", "IGMMA", "FFMA", "LDSM", "LDGSTS", "UTMALDG", "LDG", "STG", "LDS", "STS")


def measure(config: Config) -> dict:
    """One row: what the assembler reports, the instructions, and the seconds it took."""
    if not (isinstance(config, ConvMma) and config.split):
        config = with_epilogue(config, Epilogue("relu", "before"))
    start = time.perf_counter()
    built = cubin.build(config, (9, 0) if config.arch == 90 else (8, 0))
    seconds = time.perf_counter() - start
    counts = sass.instructions(built.code)
    return {
        **{"name": config.name, "arch": built.arch, "threads": config.threads, "registers": built.registers},
        "shared_bytes": config.smem,
        "spill_bytes": built.spill_stores + built.spill_loads,
        "stack_bytes": built.stack,
        "warnings": list(built.warnings),
        "instructions": sum(counts.values()),
        "counts": {name: counts[name] for name in SHOWN if counts[name]},
        "code_bytes": len(built.code),
        "seconds": round(seconds, 2),
    }


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = ["| configuration | threads | registers | shared KiB | spilt B | instructions | of which |"]
    lines.append("|---|--:|--:|--:|--:|--:|---|")
    for row in rows:
        counts = ", ".join(f"{n} {name}" for name, n in row["counts"].items())
        numbers = [row["threads"], row["registers"], f"{row['shared_bytes'] / 1024:.0f}", row["spill_bytes"]]
        lines.append(
            f"| {row['name']} | " + " | ".join(map(str, numbers)) + f" | {row['instructions']} | {counts} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    words = sys.argv[1:]
    chosen = [c for name, c in CONFIGS.items() if not words or any(w in name for w in words)]
    rows = []
    for config in chosen:
        rows.append(measure(config))
        row = rows[-1]
        told = f"{row['registers']} registers, {row['spill_bytes']} B spilt, {row['seconds']} s"
        sys.stdout.write("\n    ".join([f"{row['name']}: {told}", *row["warnings"]]) + "\n")
        sys.stdout.flush()
    if words:
        return
    text = [
        "# CUDA configurations",
        "",
        "Written by `benchmarks/cuda_configs.py`, without a GPU: what the assembler reports of each kernel, "
        "built with bias, residual and ReLU (splits: bare partial sums), and the instructions in its machine "
        "code. wgmma kernels start with 168 registers a thread and share them out anew (`setmaxnreg`). "
        f"Tools: {', '.join(cubin.tools())}.",
        "",
        table(rows),
    ]
    (RESULTS / "cuda_configs.md").write_text("\n".join(text))
    (RESULTS / "cuda_configs.json").write_text(
        json.dumps({"tools": cubin.tools(), "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
