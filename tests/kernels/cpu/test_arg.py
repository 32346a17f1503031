"""arg_max and arg_min against NumPy: ties, NaN, every axis and order."""

from __future__ import annotations

import numpy as np
import pytest
from single_node import as_pixels
from sites import LANES, compiled, families
from strategies import Builder

from nbcnn.ops.rank import ArgMax, ArgMin


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("op", (ArgMax, ArgMin), ids=lambda op: op.name)
@pytest.mark.parametrize("last", (False, True))
@pytest.mark.parametrize("shape", [(21, 4, 5), (3, 2, 37), (64, 1, 1), (1, 5, 3), (40,)], ids=str)
def test_any_axis(lanes: int, op, last: bool, shape: tuple[int, ...]) -> None:
    build = Builder()
    x = build.input(*shape)
    values = [x, as_pixels(build, x)] if len(shape) == 3 else [x]
    places = [(v, a, k) for v in values for a in range(1, len(shape) + 1) for k in (True, False)]
    graph = build.graph({f"{v}{a}{k}": build(f"n{v}{a}{k}", op(a, k, last), v) for v, a, k in places})
    rng = np.random.default_rng(0)
    array = rng.integers(-3, 4, (3, *shape)).astype(np.float32)  # many ties
    array[rng.random(array.shape) < 0.05] = np.nan
    array[rng.random(array.shape) < 0.05] = -np.inf
    array[2] = -np.inf
    models = [compiled(graph, lanes, threads) for threads in (1, 2)]
    assert "reference" not in families(models[0])
    for model in models:
        for batch in (1, 3):
            found = model(array[:batch])
            found = found if isinstance(found, dict) else {next(iter(graph.outputs)): found}
            for v, a, k in places:
                (want,) = op(a, k, last).reference(array[:batch])
                got = found[f"{v}{a}{k}"]
                assert got.dtype == np.int64
                np.testing.assert_array_equal(got, want, err_msg=f"{v} {a} {k}")
