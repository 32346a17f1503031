"""Fast filtering in one dimension: every algorithm of the table filters, and takes the products it says."""

from __future__ import annotations

import numpy as np
import pytest

from nbcnn.kernels.cpu.toom_cook import POINTS, algorithm

CASES = [(*key, 1) for key in POINTS] + [(2, 3, 2), (4, 3, 2), (1, 1, 1), (3, 1, 1)]


@pytest.mark.parametrize("outputs,taps,stride", CASES)
def test_filters(rng: np.random.Generator, outputs: int, taps: int, stride: int) -> None:
    kind = algorithm(outputs, taps, stride)
    assert (kind.outputs, kind.taps, kind.stride) == (outputs, taps, stride)
    inputs, filters = rng.standard_normal(kind.size), rng.standard_normal(taps)
    want = np.convolve(inputs, filters[::-1], "valid")[::stride]
    got = np.array(kind.output) @ ((np.array(kind.filter) @ filters) * (np.array(kind.input) @ inputs))
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "outputs,taps,stride,products",
    [(2, 3, 1, 4), (4, 3, 1, 6), (6, 3, 1, 8), (4, 3, 2, 9), (2, 3, 2, 5), (4, 7, 1, 10), (4, 1, 1, 4)],
)
def test_products(outputs: int, taps: int, stride: int, products: int) -> None:
    kind = algorithm(outputs, taps, stride)
    assert kind.size == products == (outputs - 1) * stride + taps
    assert {len(row) for row in kind.input} == {len(row) for row in kind.output} == {products}


def test_the_matrices_are_those_of_the_textbook() -> None:
    """F(2, 3) of Lavin and Gray, but for the signs of rows, which cancel."""
    kind = algorithm(2, 3)
    assert kind.output == ((1, 1, 1, 0), (0, 1, -1, 1))
    assert kind.filter == ((-1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
    assert kind.input == ((-1, 0, 1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1))


def test_there_are_no_others() -> None:
    with pytest.raises(KeyError):
        algorithm(3, 3)
