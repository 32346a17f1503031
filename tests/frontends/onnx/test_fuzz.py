"""Models with bytes or parts replaced at random: read, or refused in words, and soon."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pytest

import nbcnn
from nbcnn.errors import NbcnnError

pytest.importorskip("onnx")
mutations = pytest.importorskip("mutations")


@pytest.mark.parametrize("name", ["image", "shapes", "function", "old", "parts"])
def test_seeds_are_good(name: str) -> None:
    assert nbcnn.from_onnx(mutations.seeds()[name]).nodes


@pytest.mark.parametrize(
    "first, count", [(0, 1500), pytest.param(10_000, 60_000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_wronged_models(first: int, count: int) -> None:
    seeds = list(mutations.seeds().values())
    read = 0
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        seed = seeds[number % len(seeds)]
        flip = number % 3 == 0
        source = mutations.flipped(seed.SerializeToString(), rng) if flip else mutations.wronged(seed, rng)
        start = time.process_time()
        with contextlib.suppress(NbcnnError):
            nbcnn.from_onnx(source)
            read += 1
        assert time.process_time() - start < 5, number
    assert 0 < read < count
