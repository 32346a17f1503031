"""Compiles a CPU kernel as the product does, runs it in parts, and guards what it must not touch."""

from __future__ import annotations

import ctypes
import functools
from importlib import import_module

import numpy as np

from nbcnn.runtime import jit, loader
from nbcnn.target import detect

CODE = "nbcnn.kernels.cpu.code"
POISON = np.uint32(0x7FC0DEAD)  # a NaN that no arithmetic makes from other numbers
EPS = 2.0**-24  # half an ulp of 1: the relative error of one rounding
_SIGNATURE = ctypes.CFUNCTYPE(None, *[ctypes.c_ssize_t] * 3)


@functools.cache
def _compiled(factory, params):
    module = factory.partition(":")[0]
    import_module(f"{CODE}.{module}")
    symbol = f"test_{factory.replace(':', '_')}_{len(_symbols)}"
    _symbols.append(symbol)
    code = jit.compile_object(f"{CODE}.{factory}", dict(params), detect(), symbol=symbol)
    return _SIGNATURE(loader.load_object(code, symbol, detect()))


_symbols: list[str] = []


def kernel(factory, **params):
    """``kernel("pool:make_window", OP=0, LANES=16)``: a function (address, part, parts)."""
    return _compiled(factory, tuple(sorted(params.items())))


def bits(x):
    """A float32 as the argument block holds it."""
    return int(np.float32(x).view(np.uint32))


def run(function, *args, parts=1):
    """All parts one after the other; arrays and slots pass their address."""
    block = np.array([getattr(a, "address", a) for a in args], np.int64)
    for part in range(parts):
        function(block.ctypes.data, part, parts)


def up(n, lanes):
    """``n`` rounded up to whole vectors."""
    return -(-n // lanes) * lanes


class Slot:
    """Rows of ``channels`` floats inside a wider poisoned buffer: a value next to its neighbours.

    ``view`` is the value; the floats around it, pad lanes included, are POISON.
    """

    def __init__(self, rows, channels, pitch=None, start=0, data=None):
        self.pitch = channels if pitch is None else pitch
        size = rows * self.pitch + start
        raw = np.full(size + 16, POISON, np.uint32)
        self._raw = raw[(-raw.ctypes.data % 64) // 4 :][:size]
        whole = self._raw[start:].view(np.float32).reshape(rows, self.pitch)
        self.start, self.view = start, whole[:, :channels]
        self.address = whole.ctypes.data
        if data is not None:
            self.view[:] = np.asarray(data).reshape(self.view.shape)

    def assert_untouched_beyond(self, width):
        """Only the first ``width`` floats of each row may have been written."""
        np.testing.assert_array_equal(self._raw[: self.start], POISON)
        rest = self._raw[self.start :].reshape(-1, self.pitch)[:, width:]
        np.testing.assert_array_equal(rest, POISON)


def random(*shape, seed=0):
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_within(got, want, bound):
    """|got - want| <= bound everywhere, and no NaN."""
    assert not np.isnan(got).any()
    error = np.abs(got.astype(np.float64) - want)
    worst = np.unravel_index(np.argmax(error - bound), error.shape)
    assert (error <= bound).all(), (worst, got[worst], want[worst], error[worst])
