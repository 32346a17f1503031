"""Runs tests/cuda in Numba's simulator (`simulated`)."""

from __future__ import annotations

import simulated


def test_the_device_in_the_simulator() -> None:
    code, output = simulated.result()
    summary = output.strip().splitlines()[-1] if output.strip() else ""
    print(output)
    assert code == 0 and " passed" in summary, output
