"""How long a process takes to its first answer: import, load, optimise, compile, run.

    python benchmarks/startup.py [--models resnet50] [--cold resnet50,mobilenet_v2,...] [--repeats 5]

Writes ``results/startup.md`` and ``results/startup.json`` beside this file; returns 1 when a goal is missed.

Warm is what every start but the first is like: kernels are in the cache on disk, the safetensors file in the
system's; each of ``--repeats`` is a fresh process, and the median of each stage is shown. Cold has an empty
cache: every kernel is compiled, once for a machine and version. Goals: the first answer within 1.5 s warm and
20 s cold. The start of the interpreter itself is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from networks import NETWORKS

RESULTS = Path(__file__).parent / "results"
STAGES = ("import", "load", "optimise", "compile", "first answer")
WARM_S, COLD_S = 1.5, 20.0
Seconds = dict[str, float]


def measure(path: str) -> Seconds:
    """Seconds of each stage in this process, which has imported nothing of nbcnn yet."""
    clock = [time.perf_counter()]
    import numpy as np

    import nbcnn

    clock.append(time.perf_counter())
    graph = nbcnn.load(path)
    clock.append(time.perf_counter())
    graph = nbcnn.optimize(graph)
    clock.append(time.perf_counter())
    model = nbcnn.compile(graph, passes="none")
    clock.append(time.perf_counter())
    model(*(np.ones(t.extents(1), np.float32) for t in graph.inputs.values()))
    clock.append(time.perf_counter())
    return {stage: end - start for stage, start, end in zip(STAGES, clock, clock[1:], strict=False)}


def ask(path: Path, cache: str | None = None) -> Seconds:
    """`measure` in a fresh process; ``cache`` is the folder of its kernels."""
    from nbcnn.bench.machine import usable_cores
    from nbcnn.bench.remote import environment

    env = environment(os.environ, usable_cores()) | ({"NBCNN_CACHE_DIR": cache} if cache else {})
    command = [sys.executable, __file__, "--child", str(path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=env)
    if done.returncode:
        raise SystemExit(f"{path.stem}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def median(runs: list[Seconds]) -> Seconds:
    """The median of each stage."""
    return {stage: statistics.median(run[stage] for run in runs) for stage in STAGES}


def markdown(warm: dict[str, Seconds], cold: dict[str, Seconds], machine: str) -> str:
    """A table for warm starts and one for cold ones, in seconds."""
    from nbcnn.bench.markdown import table

    lines = ["# Start", "", machine, "", " ".join(__doc__.strip().rpartition("\n\n")[2].split()), ""]
    for title, found in (("Warm", warm), ("Cold", cold)):
        rows = [
            [model, *(f"{run[stage]:.2f}" for stage in STAGES), f"**{sum(run.values()):.2f}**"]
            for model, run in found.items()
        ]
        lines += [f"## {title}, seconds", "", *table(["model", *STAGES, "in all"], rows), ""]
    return "\n".join(lines)


def missed(warm: dict[str, Seconds], cold: dict[str, Seconds]) -> list[str]:
    """The goals that were missed, in words."""
    goals = (("warm", warm, WARM_S), ("cold", cold, COLD_S))
    return [
        f"{model}: a {kind} start took {sum(run.values()):.1f} s, more than {limit:g}"
        for kind, found, limit in goals
        for model, run in found.items()
        if sum(run.values()) > limit
    ]


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        sys.stdout.write(json.dumps(measure(sys.argv[2])))
        return 0
    import nbcnn
    from nbcnn.bench.machine import describe, summary

    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--models", default="resnet50", help="for warm starts")
    words.add_argument("--cold", default=",".join(NETWORKS), help="for cold starts; '' for none")
    words.add_argument("--repeats", type=int, default=5)
    asked = words.parse_args()
    warm, cold = {}, {}
    with tempfile.TemporaryDirectory(prefix="nbcnn-startup-") as folder:

        def saved(model: str) -> Path:
            path = Path(folder, f"{model}.yaml")
            if not path.exists():
                nbcnn.save(nbcnn.load(model), path)
            return path

        for model in asked.models.split(","):
            ask(saved(model))
            warm[model] = median([ask(saved(model)) for _ in range(asked.repeats)])
        for model in filter(None, asked.cold.split(",")):
            with tempfile.TemporaryDirectory(prefix="nbcnn-kernels-") as cache:
                cold[model] = ask(saved(model), cache)
            sys.stderr.write(f"{model}: {sum(cold[model].values()):.1f} s cold\n")
    machine = describe()
    text = markdown(warm, cold, summary(machine))
    (RESULTS / "startup.md").write_text(text)
    data = {"machine": machine, "warm": warm, "cold": cold}
    (RESULTS / "startup.json").write_text(json.dumps(data, indent=1) + "\n")
    sys.stdout.write(text)
    for line in (found := missed(warm, cold)):
        sys.stderr.write(f"{line}\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
