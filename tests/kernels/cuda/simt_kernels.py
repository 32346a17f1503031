"""Plain kernels that must compile without local memory: each family adds those whose inner loop is hot."""

from __future__ import annotations

import simple_kernels

from nbcnn.runtime.cuda.simt import Simt

KINDS = ("f32", "f16", "bf16")


def kernels() -> dict[str, Simt]:
    """By name."""
    found = [
        *(make(kind) for kind in KINDS for make in (simple_kernels.scale,)),
        simple_kernels.narrow("bf16"),
    ]
    return {kernel.name: kernel for kernel in found}
