"""Softmax against float64, at every kind of tail."""

from __future__ import annotations

import numpy as np
import pytest
from code_harness import EPS, Slot, assert_within, kernel, random, run

lanes = pytest.mark.parametrize("lanes", [16, 8, 4])


def softmax(x):
    x = x.astype(np.float64)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("rows, C, extra", [(5, 1, 0), (4, 3, 1), (3, 16, 0), (7, 21, 11), (1, 1000, 0)])
def test_softmax(lanes, rows, C, extra, parts):
    a, out = Slot(rows, C, C + extra, data=3 * random(rows, C) - 50), Slot(rows, C, C + extra, start=1)
    run(kernel("softmax:make", LOG=0, LANES=lanes), a, out, rows, C, a.pitch, out.pitch, parts=parts)
    want = softmax(a.view)
    # Relative: x - max is rounded once, exp is within 1.5 ulp (3 EPS), the sum of C terms takes C
    # roundings at most, its inverse and the last product one each.
    spread = np.abs(a.view - a.view.max(axis=1, keepdims=True))
    assert_within(out.view, want, (2 * spread.max() + 2 * 3 + C + 2) * EPS * want)
    out.assert_untouched_beyond(C)


@lanes
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("rows, C, extra", [(5, 1, 0), (4, 3, 1), (3, 16, 0), (7, 21, 11), (1, 1000, 0)])
def test_log_softmax(lanes, rows, C, extra, parts):
    a, out = Slot(rows, C, C + extra, data=3 * random(rows, C) - 50), Slot(rows, C, C + extra, start=1)
    run(kernel("softmax:make", LOG=1, LANES=lanes), a, out, rows, C, a.pitch, out.pitch, parts=parts)
    want = np.log(softmax(a.view))
    # x - max is rounded once, its exponential within 3 EPS, the sum C times, its logarithm (at most
    # log C) within 6 EPS, the last difference once.
    spread = np.abs(a.view - a.view.max(axis=1, keepdims=True))
    assert_within(out.view, want, (2 * spread.max() + 3 + C + 6 * np.log(C) + np.abs(want)) * EPS)
    out.assert_untouched_beyond(C)


@lanes
def test_large_and_equal_values(lanes):
    x = np.array([[1e38, -1e38, 1e38], [-300, -300, -300], [0, -200, -np.inf]], np.float32)
    a, out = Slot(3, 3, data=x), Slot(3, 3)
    run(kernel("softmax:make", LOG=0, LANES=lanes), a, out, 3, 3, 3, 3)
    want = [[0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]]
    assert_within(out.view, np.array(want), 4 * EPS)


@lanes
@pytest.mark.parametrize("at", [0, 17, 20])
def test_nan_reaches_the_whole_row(lanes, at):
    a, out = Slot(2, 21, data=random(2, 21)), Slot(2, 21)
    a.view[0, at] = np.nan
    run(kernel("softmax:make", LOG=0, LANES=lanes), a, out, 2, 21, 21, 21)
    assert np.isnan(out.view[0]).all()
    assert not np.isnan(out.view[1]).any()


def test_in_place():
    a = Slot(3, 21, data=random(3, 21))
    want = softmax(a.view)
    run(kernel("softmax:make", LOG=0, LANES=8), a, a, 3, 21, 21, 21, parts=2)
    assert_within(a.view, want, 40 * EPS * want)
