"""Fixtures that all tests share. Being here puts this folder on the import path (`strategies`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import simulated
from hypothesis import settings

from nbcnn.ir import Op, TensorType

# The same examples in every run, so that a change is judged by what it changed; .ci/full searches on.
settings.register_profile("fixed", derandomize=True, database=None)
settings.register_profile("search")
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the files of tests/golden anew")


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly and any(i.path.name == simulated.FILE for i in session.items):
        simulated.start(session.config.option.markexpr)


def pytest_sessionfinish() -> None:
    simulated.abandon()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden("passes/x.txt", text)``: fails unless tests/golden/passes/x.txt holds just this text."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if not path.is_file():
            pytest.fail(f"no golden file {name}: run pytest --update-golden, and read what it writes")
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run."""
    return np.random.default_rng(20240607)


@pytest.fixture
def operands(rng: np.random.Generator) -> Callable[..., list[np.ndarray]]:
    """``operands(op, types, batch=1, ranges=())``: random arrays for the data operands, then the weights.

    Where ``ranges`` (`Sample.ranges`) gives no interval, floats are standard normal, and integers small,
    so that they may serve as indices: -4 to 3, without a sign 0 to 7.
    """

    def random(type_: TensorType, batch: int, interval: tuple[float, float] | None) -> np.ndarray:
        shape, dtype = type_.extents(batch), np.dtype(type_.dtype)
        if dtype.kind == "f":
            drawn = rng.uniform(*interval, shape) if interval else rng.standard_normal(shape)
            return drawn.astype(dtype)
        low, high = interval or {"i": (-4, 3), "u": (0, 7), "b": (0, 1)}[dtype.kind]
        return rng.integers(int(low), int(high) + 1, shape).astype(dtype)

    def draw(
        op: Op, types: Sequence[TensorType], batch: int = 1, ranges: Sequence[tuple[float, float]] = ()
    ) -> list[np.ndarray]:
        arrays = [random(t, batch, ranges[i] if ranges else None) for i, t in enumerate(types)]
        for param in op.params(*types).values():
            array = rng.standard_normal(param.type.extents()).astype(param.type.dtype)
            arrays.append(abs(array) + array.dtype.type(0.1) if param.init == "running_var" else array)
        return arrays

    return draw
