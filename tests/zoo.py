"""The models that come with nbcnn as parameters of a test; those that are not small make it slow."""

from __future__ import annotations

from typing import Any

import pytest

from nbcnn import resources

SMALL = {
    "cifar_cnn",
    "cifar_sepconv",
    "digit_masks",
    "digit_scenes",
    "digits",
    "lenet5",
    "mnist_cnn",
    "text_cnn",
}


def models(*more: str) -> list[Any]:
    """Every model; what is neither small nor one of ``more`` is marked slow."""
    fast = SMALL.union(more)
    return [pytest.param(n, marks=() if n in fast else pytest.mark.slow) for n in resources.names("graphs")]
