"""Functions of a float32 that a GPU and the simulator both have; results are float32.

On a GPU the transcendental ones are libdevice's: an ulp or two off the nearest float32, ``power`` four (CUDA
C++ Programming Guide, mathematical functions). The simulator rounds each once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.runtime.cuda.launcher import simulated

if simulated():

    def _once(function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, rounded once; unlike Python's own, NumPy's give infinities where a GPU's do."""
        return lambda *args: np.float32(function(*map(np.float64, args)))

    exp, expm1, log, log1p = map(_once, (np.exp, np.expm1, np.log, np.log1p))
    tanh, erf, power = map(_once, (np.tanh, math.erf, np.power))
    floor, ceil, rint, sqrt = np.floor, np.ceil, np.rint, np.sqrt
else:
    from numba.cuda import libdevice

    exp, expm1, log, log1p = math.exp, math.expm1, math.log, math.log1p
    tanh, erf, power = math.tanh, math.erf, math.pow
    floor, ceil, rint, sqrt = math.floor, math.ceil, libdevice.rintf, math.sqrt
