"""Memory stays flat over many calls and many shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nbcnn

PAGE = 4096


def resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_resident_memory_is_flat_over_calls_and_shapes() -> None:
    model = nbcnn.compile(nbcnn.load("digits"), threads=2)
    images = np.random.default_rng(0).random((100, 1, 8, 8), np.float32)

    def shapes() -> None:
        for batch in range(1, 101):
            model(images[:batch])

    def calls(count: int) -> None:
        for _ in range(count):
            model(images[:1])

    for _ in range(3):  # until the heap has what plans in the making need
        shapes()
    before = resident()
    calls(10_000)
    after_calls = resident()
    shapes()
    after_shapes = resident()
    mib = [n >> 20 for n in (before, after_calls, after_shapes)]
    print(f"\nRSS {mib[0]} MiB, {mib[1]} after 10,000 calls, {mib[2]} after 100 shapes")
    assert after_calls - before < 1 << 20
    assert after_shapes - before < 4 << 20
