"""Fixtures that all tests share. Being here puts this folder on the import path (`strategies`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from nbcnn.ir import Op, TensorType


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run."""
    return np.random.default_rng(20240607)


@pytest.fixture
def operands(rng: np.random.Generator) -> Callable[..., list[np.ndarray]]:
    """``operands(op, types, batch=1)``: random arrays for data operands of ``types``, then the weights."""

    def draw(op: Op, types: Sequence[TensorType], batch: int = 1) -> list[np.ndarray]:
        arrays = [rng.standard_normal(t.extents(batch)).astype(t.dtype) for t in types]
        for param in op.params(*types).values():
            array = rng.standard_normal(param.type.extents()).astype(param.type.dtype)
            arrays.append(abs(array) + array.dtype.type(0.1) if param.init == "running_var" else array)
        return arrays

    return draw
