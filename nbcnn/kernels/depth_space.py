"""depth_to_space and space_to_depth: one move between two readings of an image."""

from __future__ import annotations

from nbcnn.kernels import orders
from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, View, nhwc
from nbcnn.kernels.steps import DeviceStep, Step
from nbcnn.options import CompileOptions


class DepthSpace(Kernel[AnyTarget]):
    """Blocks of b by b points as channels, and back."""

    name = "depth_space"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        known = ("depth_to_space", "space_to_depth")
        return None if site.op.name in known else f"{site.op.name} moves no blocks"

    def reads(self, site: Site) -> tuple[Layout, ...]:
        """Pixels; whole channels where there would be few of them on one side: those are moved faster."""
        types = (*site.in_types, *site.out_types)
        few = min(int(t.shape[1]) for t in types) < orders.FEW_CHANNELS
        return (PLAIN if few else nhwc(site.in_types[0]),)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (PLAIN if ins[0] == PLAIN else nhwc(site.out_types[0]),)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | DeviceStep]:
        (source,), (target,) = ins, outs
        to_space = site.op.name == "depth_to_space"
        deep, wide = (source, target) if to_space else (target, source)
        _, c, h, w = (site.out_types if to_space else site.in_types)[0].extents()
        b, mode = site.op.blocksize, site.op.mode  # type: ignore[attr-defined]
        # The indices of a point: channel c, block (i, j), place (u, v) in the block.
        shape = (b, b, c, h // b, w // b) if mode == "DCR" else (c, b, b, h // b, w // b)
        depth, space = orders.axes_of(deep, shape), orders.axes_of(wide, (c, h // b, b, w // b, b))
        assert depth is not None and space is not None
        order = (2, 3, 0, 4, 1) if mode == "DCR" else (0, 3, 1, 4, 2)
        depth = [depth[k] for k in order]
        a, z = (depth, space) if to_space else (space, depth)
        axes = orders.matched(a, z, emit.batch, (source.image_stride, target.image_stride))
        assert axes is not None
        return emit.backend.move(site.name, source, target, axes, emit)
