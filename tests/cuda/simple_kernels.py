"""The smallest plain kernels: for tests of launchers and of what reads and writes memory."""

from __future__ import annotations

from typing import Any

from nbcnn.runtime.cuda.launcher import simulated
from nbcnn.runtime.cuda.simt import Simt


def _kernel(name: str, params: str, **constants: Any) -> Simt:
    """``params``: ``"x:f32[] n:i32"``."""
    pairs = tuple((p, c) for p, _, c in (word.partition(":") for word in params.split()))
    label = "_".join([name, *map(str, constants.values())])
    factory = f"simple_kernels_code:make_{name}"
    return Simt(label, factory, tuple(constants.items()), pairs, 4 if simulated() else 256)


def scale(kind: str) -> Simt:
    """y = factor * x."""
    return _kernel("scale", f"x:{kind}[] factor:f32 y:{kind}[] n:i32", KIND=kind)


def narrow(kind: str) -> Simt:
    """float32 to ``kind``."""
    return _kernel("narrow", f"x:f32[] y:{kind}[] n:i32", KIND=kind)


def widen(kind: str) -> Simt:
    """``kind`` to float32."""
    return _kernel("widen", f"x:{kind}[] y:f32[] n:i32", KIND=kind)


def store_at() -> Simt:
    """x[index] = 1."""
    return _kernel("store_at", "x:f32[] index:i32")


def reverse_blocks(barrier: bool = True) -> Simt:
    """Each block of four values in reverse, through shared memory."""
    return _kernel("reverse_blocks", "x:f32[] y:f32[]", BARRIER=barrier)
