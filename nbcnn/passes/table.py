"""The passes, named in one table and loaded when first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nbcnn.errors import PassError, nearest

if TYPE_CHECKING:
    from nbcnn.passes.base import Pass

PASSES: dict[str, str] = {
    "fold-constants": "fold_constants:FoldConstants",
    "remove-dead": "remove_dead:RemoveDead",
    "remove-identity": "remove_identity:RemoveIdentity",
    "fuse-conv-bn": "fuse_conv_bn:FuseConvBn",
    "fuse-residual-add": "fuse_residual_add:FuseResidualAdd",
    "fuse-activation": "fuse_activation:FuseActivation",
}
"""Name -> "module:Class" below ``nbcnn.passes``."""


def get(name: str) -> type[Pass]:
    """The pass class called ``name``; raises PassError with the nearest known name."""
    if name not in PASSES:
        raise PassError(f"unknown pass '{name}'{nearest(name, PASSES)}")
    module, cls = PASSES[name].split(":")
    return getattr(import_module(f"nbcnn.passes.{module}"), cls)
