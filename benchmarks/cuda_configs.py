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
from nbcnn.kernels.cuda.shapes import ACTIVATIONS, Config, ConvMma, Epilogue
from nbcnn.runtime.cuda import cubin

RESULTS = Path(__file__).parent / "results"
SHOWN = ("HMMA", "IMMA", "HGMMA", "IGMMA", "FFMA", "LDSM", "LDGSTS", "UTMALDG", "LDG", "STG", "LDS", "STS")


WITH_EPILOGUES = (
    "f16_conv_mma_128x128x64_w64x64s3__sm80",
    "f16_conv_mma_32x64x64_w16x32s4__sm80",
    "f16_conv_wgmma_128x256x64_c2s4_im2col__sm90a",
    "f32_conv_wgmma_128x128x32_c2s4_im2col__sm90a",
    "f16_depthwise_3x3s1_w4__sm80",
    "f16_split_reduce__sm80",
)
"""The kernels that are shown with every activation."""


def usual(config: Config) -> Config:
    """The configuration with residual and ReLU; partial sums as they are."""
    split = isinstance(config, ConvMma) and config.split
    return config if split else with_epilogue(config, Epilogue("relu", "before"))


def measure(config: Config) -> dict:
    """One row: what the assembler reports, the instructions, and the seconds it took."""
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


def epilogues(rows: list[dict]) -> str:
    """Markdown: a line for each activation, registers and bytes spilt of each of `WITH_EPILOGUES`."""
    found = {row["name"]: f"{row['registers']}, {row['spill_bytes']} B" for row in rows}
    lines = ["| activation | " + " | ".join(WITH_EPILOGUES) + " |", "|---" * (1 + len(WITH_EPILOGUES)) + "|"]
    for name in ACTIVATIONS:
        cells = [found[with_epilogue(CONFIGS[c], Epilogue(name, "before")).name] for c in WITH_EPILOGUES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def report(rows: list[dict], others: list[dict]) -> None:
    """Write both files: of every configuration, and of every activation."""
    text = [
        "# CUDA configurations",
        "",
        "Written by `benchmarks/cuda_configs.py`, without a GPU: what the assembler reports of each kernel, "
        "built with bias, residual and ReLU (splits: bare partial sums), and the instructions in its machine "
        "code. wgmma kernels start with 168 registers a thread and share them out anew (`setmaxnreg`). "
        f"Tools: {', '.join(cubin.tools())}.",
        "",
        table(rows),
        "Registers and bytes spilt with other activations, bias and residual:",
        "",
        epilogues(others),
    ]
    (RESULTS / "cuda_configs.md").write_text("\n".join(text))
    shown = ("name", "registers", "spill_bytes", "warnings")
    short = [{key: row[key] for key in shown} for row in others]
    found = {"tools": cubin.tools(), "rows": rows, "epilogues": short}
    (RESULTS / "cuda_configs.json").write_text(json.dumps(found, indent=1) + "\n")


def measured(configs: list[Config]) -> list[dict]:
    """A row for each, told as it is made."""
    rows = []
    for config in configs:
        rows.append(measure(config))
        row = rows[-1]
        told = f"{row['registers']} registers, {row['spill_bytes']} B spilt, {row['seconds']} s"
        sys.stdout.write("\n    ".join([f"{row['name']}: {told}", *row["warnings"]]) + "\n")
        sys.stdout.flush()
    return rows


def main() -> None:
    words = sys.argv[1:]
    chosen = [c for name, c in CONFIGS.items() if not words or any(w in name for w in words)]
    rows = measured([usual(config) for config in chosen])
    if not words:
        every = [Epilogue(name, "before") for name in ACTIVATIONS]
        report(rows, measured([with_epilogue(CONFIGS[c], e) for c in WITH_EPILOGUES for e in every]))


if __name__ == "__main__":
    main()
