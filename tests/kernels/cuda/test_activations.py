"""Activations of the epilogues, each alone, in the emulator against float64, over all magnitudes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conv_cases import activation
from cuda_emulator import bind

from nbcnn.kernels.cuda.code.activations import activate
from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.kernels.cuda.shapes import ACTIVATIONS

ARGS = {
    "leaky_relu": (0.1, 0),
    "hard_sigmoid": (0.2, 0.5),
    "elu": (1.3, 0.7),
    "selu": (1.05, 1.67),
    "clamp": (-1, 6),
}
ULPS = {"none": 0, "relu": 0, "clamp": 0, "leaky_relu": 1, "hard_sigmoid": 2, "hard_swish": 4}
"""Errors in units in the last place; 8 for the others."""
IN_THE_EXPONENT = {"sigmoid", "silu", "gelu", "gelu_tanh", "mish"}
"""Those whose bound counts 1 + |ln f(x)| / 2 times."""


def evaluated(name: str, x: np.ndarray, a: float, b: float) -> np.ndarray:
    ptx = bind(OPS)

    @ptx.macro("f32", "f32 f32 f32")
    def apply(e, x, a, b):
        return activate(e, name, x, a, b)

    with np.errstate(all="ignore"):
        return np.concatenate([apply(part, a, b) for part in x.reshape(-1, 32)])


def points(rng: np.random.Generator) -> np.ndarray:
    """Of both signs, from the tiniest to the greatest, and many between 0.01 and 100."""
    wide = np.ldexp(rng.uniform(1, 2, 1 << 12), rng.integers(-120, 127, 1 << 12))
    usual = np.exp(rng.uniform(math.log(1e-2), math.log(1e2), 1 << 12))
    sizes = np.concatenate([wide, usual]).astype(np.float32)
    return sizes * rng.choice(np.array([-1, 1], np.float32), len(sizes))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_within_its_bound(name: str, rng: np.random.Generator) -> None:
    a, b = ARGS.get(name, (1.0, 0.0))
    x = points(rng)
    with np.errstate(all="ignore"):
        exact = x.astype(np.float64)
        wanted = activation(name, exact, np.float64(np.float32(a)), np.float64(np.float32(b)))
        wanted = np.where(
            (wanted != wanted) & (x < 0), 0.0, wanted
        )  # exp overflows in the formula, not in ours
    got = evaluated(name, x, a, b)
    size = np.maximum(np.abs(wanted), 2.0**-100)
    bound = ULPS.get(name, 8) * size * 2.0**-23
    if name in IN_THE_EXPONENT:
        bound = bound * (1 + np.abs(np.log(size)) / 2)
    if name == "hard_sigmoid":
        bound = bound + 2.0**-24 * (np.abs(a * exact) + b) * (wanted > 0) * (wanted < 1)
    excess = np.abs(got - wanted) - bound
    worst = int(np.argmax(np.nan_to_num(excess, nan=np.inf)))
    assert excess[worst] <= 0, f"{name}({x[worst]}) = {got[worst]}, not {wanted[worst]}: bound {bound[worst]}"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_infinities_and_nan(name: str) -> None:
    a, b = ARGS.get(name, (1.0, 0.0))
    x = np.full(32, np.nan, np.float32)
    assert np.isnan(evaluated(name, x, a, b)).all()
    x[:16], x[16:] = -np.inf, np.inf
    found = evaluated(name, x, a, b)
    assert not np.isnan(found).any() and found[16] >= found[0]
