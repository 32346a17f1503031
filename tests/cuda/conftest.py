"""Tests of plain kernels on a device: a GPU, or Numba's simulator. Without either the folder is empty;
``tests/test_cuda_simulated.py`` runs it in the simulator."""

from __future__ import annotations

import pytest
from launch_plain import device

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.launcher import Launcher


def _there() -> bool:
    try:
        device()
    except (DeviceError, ImportError):
        return False
    return True


collect_ignore_glob = [] if _there() else ["test_*.py"]


@pytest.fixture
def launcher() -> Launcher:
    """The device."""
    return device()
