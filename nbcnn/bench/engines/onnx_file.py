"""What converters need to know of an ONNX file, found in a process of its own.

An engine's process must not hold the file beside its own copy of the weights: its memory is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """Names in the file's order; ``zeros`` is the largest share of zeros that a weight holds."""

    inputs: list[str]
    outputs: list[str]
    zeros: float


def describe(path: Path) -> OnnxFile:
    """Read ``path`` in another process; RuntimeError with the last line it said when it cannot."""
    return OnnxFile(**json.loads(call([sys.executable, "-m", __name__, str(path)])))


def call(command: list[str], folder: Path | None = None) -> str:
    """What ``command`` prints; RuntimeError with the last line it said when it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise RuntimeError(said[-1] if said else f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def _read(path: str) -> OnnxFile:
    import numpy as np
    import onnx

    graph = onnx.load(path).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = [array for array in arrays.values() if array.ndim > 1 and array.size]
    return OnnxFile(
        [x.name for x in graph.input if x.name not in arrays],
        [y.name for y in graph.output],
        max((1 - np.count_nonzero(w) / w.size for w in weights), default=0.0),
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_read(sys.argv[1]))))
