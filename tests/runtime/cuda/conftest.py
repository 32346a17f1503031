"""A device whose driver is a double."""

from __future__ import annotations

import pytest
from gpu_doubles import Double

from nbcnn.runtime.cuda import cubin, driver
from nbcnn.runtime.cuda import device as devices
from nbcnn.runtime.cuda.device import Device, open_device


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Double:
    """The driver that `open_device` finds; no device is open yet."""
    double = Double()
    monkeypatch.setattr(driver, "load", double.load)
    monkeypatch.setattr(devices, "_devices", {})
    monkeypatch.setattr(cubin, "load", lambda config, capability: config.cubin())
    return double


@pytest.fixture
def device(gpu: Double) -> Device:
    """GPU 0 behind that driver, with an empty log."""
    found = open_device()
    gpu.log()
    return found
