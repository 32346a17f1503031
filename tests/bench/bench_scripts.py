"""The scripts of ``benchmarks/`` as modules, and reports as they write them."""

import importlib
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"


def loaded(name):
    """The script ``name``; scripts import each other by name, as when they are run."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)


def report(model, threads, batch=1, **ratios):
    """A report of nbcnn at 12.25 ms and engines with these ratios."""
    machine = {"cpu": "Some CPU", "features": ["avx2"], "usable_cores": 2}
    ours = {"name": "nbcnn", "version": "0.1", "precision": "float32", "latency_ms": {"median": 12.25}}
    engines = [ours]
    for name, ratio in ratios.items():
        precision = "bfloat16" if "default" in name else "float32"
        ratios = {"ratio": ratio, "ratio_q1": ratio - 0.1, "ratio_q3": ratio + 0.1}
        engines.append({"name": name, "version": "2", "precision": precision, **ratios})
    return {"model": model, "batch": batch, "threads": threads, "machine": machine, "engines": engines}
