"""Latency of a model while another Python thread of the process is busy, against its latency alone.

    python benchmarks/busy_thread.py resnet50

An inference is one native call that releases the GIL: a busy thread costs at most the wait to get it
back (the switch interval, 5 ms), not one such wait for every layer. Give the process two idle cores.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time

import numpy as np

import nbcnn


def latencies(model: nbcnn.Model, x: np.ndarray, seconds: float) -> list[float]:
    """Milliseconds of each call made in ``seconds``."""
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        model(x)
        found.append(1e3 * (time.perf_counter() - start))
    return found


def main(name: str) -> None:
    """Alternate quiet and busy blocks and print the ratio of their medians."""
    model = nbcnn.compile(nbcnn.load(name), threads=1)
    type_ = next(iter(model.graph.inputs.values()))
    x = np.random.default_rng(0).standard_normal(type_.extents(1), np.float32)
    latencies(model, x, 1.0)
    ratios = []
    for _ in range(5):
        alone = statistics.median(latencies(model, x, 1.5))
        stop = threading.Event()

        def spin(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                pass

        thread = threading.Thread(target=spin)
        thread.start()
        busy = statistics.median(latencies(model, x, 1.5))
        stop.set()
        thread.join()
        ratios.append(busy / alone)
        sys.stdout.write(f"alone {alone:.2f} ms, beside a busy thread {busy:.2f} ms: {busy / alone:.2f}x\n")
    low, middle, high = statistics.quantiles(ratios, n=4)
    sys.stdout.write(f"{name}: {middle:.2f}x [{low:.2f}-{high:.2f}]\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "resnet50")
