"""Where the layers of networks stand below the machine's roof: its peak, and the speed of its memory.

    python benchmarks/roofline.py [--models resnet50,mobilenet_v2] [--time 10]

Writes ``results/roofline.json`` beside this file, and draws it (``plot.py``). On one core the peak and the
read bandwidth of L2, L3 and memory are measured (``peak.py``), and every step of the optimised network by
itself (``layers.py``): the least time of many rounds counts, so that other work on the machine does not.
FLOPs are those of the direct product: a layer by Winograd's algorithm may stand above the roof. Bytes are
operands, weights and results once each.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import plot
from layers import least_times
from peak import bandwidths, gflops

import nbcnn
from nbcnn.bench.machine import describe

RESULTS = Path(__file__).parent / "results"


def layers(model: str, seconds: float) -> list[dict[str, Any]]:
    """For each step that multiplies: node, kernel, microseconds, FLOP a byte, GFLOP/s."""
    compiled = nbcnn.compile(nbcnn.load(model), threads=1, strips=False)
    return [
        {
            "node": row.node,
            "kernel": row.kernel,
            "us": round(1e6 * row.seconds, 2),
            "intensity": round(row.gflops / row.gbytes, 3),
            "gflops": round(row.gflops, 2),
        }
        for row in least_times(compiled, seconds)
        if row.gflops and row.gbytes
    ]


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--models", default="resnet50,mobilenet_v2")
    words.add_argument("--time", type=float, default=10.0, help="seconds per network")
    asked = words.parse_args()
    found = {
        "machine": describe(),
        "gflops": round(gflops(), 1),
        "gbytes": {level: round(speed, 1) for level, speed in bandwidths().items()},
        "models": {name: layers(name, asked.time) for name in asked.models.split(",")},
    }
    (RESULTS / "roofline.json").write_text(json.dumps(found, indent=1) + "\n")
    if plot.installed():
        plot.roofline(found, RESULTS / "roofline.svg")
    else:
        sys.stderr.write("no picture: pip install -e '.[plot]'\n")


if __name__ == "__main__":
    main()
