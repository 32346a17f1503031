"""Arrays in a device's memory for tests, with the simulator as the device: its memory is the host's."""

from __future__ import annotations

import numpy as np

from nbcnn.runtime.cuda.arrays import DeviceArray
from nbcnn.runtime.cuda.simulator import Simulator

OURS = 100  # the model's stream
SHAPES = [(), (4,), (2, 3, 5), (0, 3), (1, 1)]


class Device(Simulator):
    """Notes who waits for whom, and can be any GPU of a machine."""

    def __init__(self, index=0):
        super().__init__(1 << 20)
        self.index, self.waits = index, []

    def wait(self, stream, other):
        self.waits.append((stream, other))

    @property
    def live(self):
        return len(self._blocks)


def resident(device, values, stream=7):
    array = DeviceArray.of(device, values)
    assert array.stream is None
    array.stream = stream
    return array


def values_of(lent):
    """What lies where a loan says: here, the host can read it."""
    interface = {
        "version": 3, "shape": lent.shape, "typestr": lent.dtype.str, "data": (lent.address, True)
    }  # fmt: skip
    return np.asarray(type("Memory", (), {"__array_interface__": interface})())
