"""The passes, named in one table and loaded when first asked for."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from nbcnn.errors import PassError, nearest

if TYPE_CHECKING:
    from nbcnn.passes.base import Pass

PASSES: dict[str, str] = {
    "fold-constants": "fold_constants:FoldConstants",
    "remove-dead": "remove_dead:RemoveDead",
    "remove-identity": "remove_identity:RemoveIdentity",
    "recognise-functions": "recognise_functions:RecogniseFunctions",
    "sink-transposes": "sink_transposes:SinkTransposes",
    "canonicalise-shapes": "canonicalise_shapes:CanonicaliseShapes",
    "common-subexpressions": "common_subexpressions:CommonSubexpressions",
    "fuse-scale-shift": "fuse_scale_shift:FuseScaleShift",
    "fold-pad": "fold_pad:FoldPad",
    "rewrite-pool": "rewrite_pool:RewritePool",
    "fuse-conv-bn": "fuse_conv_bn:FuseConvBn",
    "remove-dead-channels": "remove_dead_channels:RemoveDeadChannels",
    "fuse-residual-add": "fuse_residual_add:FuseResidualAdd",
    "fuse-activation": "fuse_activation:FuseActivation",
    "merge-convs": "merge_convs:MergeConvs",
    "spatial-avg-pool": "spatial_avg_pool:SpatialAvgPool",
    "separate-convs": "separate_convs:SeparateConvs",
    "prune": "prune:Prune",
    "prune-channels": "prune_channels:PruneChannels",
    "sparsify": "sparsify:Sparsify",
    "swap-activation": "swap_activation:SwapActivation",
}
"""Name -> "module:Class" below ``nbcnn.passes``."""

GROUP = "nbcnn.passes"
"""The group of entry points in which a package names its passes: ``name = "package.module:Class"``."""


def get(name: str) -> type[Pass]:
    """The pass class called ``name``; raises PassError with the nearest known name.

    ``name`` is that of a pass of ours, of a plugin (an entry point of the group ``nbcnn.passes``), or
    ``package.module:Class``, which imports that module: it may be any code.
    """
    if name in PASSES:
        module, cls = PASSES[name].split(":")
        return getattr(import_module(f"nbcnn.passes.{module}"), cls)
    spec = name if ":" in name else plugins().get(name)
    if spec is None:
        raise PassError(f"unknown pass '{name}'{nearest(name, [*PASSES, *plugins()])}")
    return _imported(spec)


def spec(cls: type[Pass]) -> str:
    """The name under which `get` finds ``cls``; ``package.module:Class`` for a pass that no table names."""
    with suppress(PassError):
        if get(cls.name) is cls:
            return cls.name
    return f"{cls.__module__}:{cls.__qualname__}"


@cache
def plugins() -> dict[str, str]:
    """Name -> "package.module:Class" of the passes that other packages bring.

    Raises PassError where two of one name are installed, or one bears the name of a pass of ours.
    """
    found: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        if point.name in PASSES:
            raise PassError(f"the plugin '{point.value}' takes the name of our own pass '{point.name}'")
        if found.setdefault(point.name, point.value) != point.value:
            raise PassError(
                f"two plugins bring a pass '{point.name}': '{found[point.name]}' and '{point.value}'"
            )
    return found


def _imported(spec: str) -> type[Pass]:
    from nbcnn.passes.base import Pass

    module, _, name = spec.partition(":")
    try:
        found = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise PassError(f"pass '{spec}' cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Pass)):
        raise PassError(f"'{spec}' is no subclass of nbcnn.passes.Pass")
    return found
