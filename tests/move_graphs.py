"""Random graphs of moves: slices, pads, resizes, reshapes, reductions of values of any rank, and what makes
layouts matter between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from strategies import Builder

from nbcnn.errors import ShapeError
from nbcnn.ir import Graph, Op
from nbcnn.ops.activation import Relu, Silu
from nbcnn.ops.blocks import DepthToSpace, SpaceToDepth
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pad import Pad
from nbcnn.ops.reduce import ReduceL2, ReduceMax, ReduceMean, ReduceSum
from nbcnn.ops.repeat import Tile
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.resize import Resize
from nbcnn.ops.scan import CumSum
from nbcnn.ops.slice import Slice
from nbcnn.ops.transpose import Transpose
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze

MOST = 20_000
"""Elements of one image."""


@st.composite
def move_graphs(draw: st.DrawFn, most: int = 7) -> Graph:
    """A valid graph of up to ``most`` moves of [N, 4, 6, 6], at times with a second result."""
    build = Builder(seed=draw(st.integers(0, 9999)))
    values = [build("first", Relu(), build.input(4, 6, 6))]
    for number in range(draw(st.integers(1, most))):
        x = values[-1]
        shape = [int(d) for d in build.types[x].shape[1:]]
        step = STEPS[draw(st.sampled_from(sorted(STEPS)))]
        op = step(draw, shape) if shape else Unsqueeze((1,))
        data = (x, x) if isinstance(op, Concat) else (x,)
        try:
            wide = op.infer(*(build.types[v] for v in data))[0].elements()
        except ShapeError:
            continue  # channels that do not divide, a plane that is too small
        if 0 < wide <= MOST:
            values.append(build(f"{op.name}{number}", op, *data))
    outputs = {"y": values[-1]}
    if draw(st.booleans()):
        outputs["z"] = draw(st.sampled_from(values))
    return build.graph(outputs)


def _axis(draw: st.DrawFn, shape: list[int]) -> int:
    return draw(st.integers(1, len(shape)))


def _slice(draw: st.DrawFn, shape: list[int]) -> Op:
    axis = _axis(draw, shape)
    first = draw(st.integers(0, shape[axis - 1] - 1))
    last = draw(st.integers(first, shape[axis - 1] - 1))
    step = draw(st.sampled_from((1, 1, 2, -1)))
    ends = (last + 1,) if step > 0 else (-99,)
    return Slice((first if step > 0 else last,), ends, (axis,), (step,))


def _pad(draw: st.DrawFn, shape: list[int]) -> Op:
    mode = draw(st.sampled_from(("constant", "constant", "edge", "reflect", "wrap")))
    margins = (draw(st.integers(-1, 2)), draw(st.integers(-1, 2)))
    return Pad(margins, draw(st.sampled_from((0.0, 1.5))), mode, (_axis(draw, shape),))


def _resize(draw: st.DrawFn, shape: list[int]) -> Op:
    axis = _axis(draw, shape)
    return Resize(
        sizes=(draw(st.integers(1, 9)),),
        axes=(axis,),
        mode=draw(st.sampled_from(("nearest", "linear", "cubic"))),
        coordinates=draw(st.sampled_from(("half_pixel", "asymmetric", "align_corners"))),
    )


def _reduce(draw: st.DrawFn, shape: list[int]) -> Op:
    kind = draw(st.sampled_from((ReduceMean, ReduceSum, ReduceMax, ReduceL2)))
    axes = draw(st.sets(st.integers(1, len(shape)), min_size=1, max_size=2))
    return kind(tuple(sorted(axes)), draw(st.booleans()))


def _reshape(draw: st.DrawFn, shape: list[int]) -> Op:
    elements = int(np.prod(shape))
    part = draw(st.sampled_from([d for d in (1, 2, 3, 4, 6) if elements % d == 0]))
    return Reshape(draw(st.sampled_from(((0, part, -1), (0, -1, part, 1), (0, elements)))))


def _turn(draw: st.DrawFn, shape: list[int]) -> Op:
    return Transpose((0, *draw(st.permutations(range(1, len(shape) + 1)))))


def _tile(draw: st.DrawFn, shape: list[int]) -> Op:
    axis = _axis(draw, shape)
    return Tile(tuple(2 if i == axis else 1 for i in range(len(shape) + 1)))


def _blocks(draw: st.DrawFn, shape: list[int]) -> Op:
    return draw(st.sampled_from((DepthToSpace, SpaceToDepth)))(2, draw(st.sampled_from(("DCR", "CRD"))))


STEPS: dict[str, Callable[[st.DrawFn, list[int]], Op]] = {
    "act": lambda draw, shape: draw(st.sampled_from((Relu(), Silu()))),
    "blocks": _blocks,
    "concat": lambda draw, shape: Concat(_axis(draw, shape)),
    "conv": lambda draw, shape: Conv2d(
        draw(st.integers(1, 6)), draw(st.sampled_from((1, 3))), padding="same"
    ),
    "flatten": lambda draw, shape: Flatten(_axis(draw, shape)),
    "pad": _pad,
    "reduce": _reduce,
    "reshape": _reshape,
    "resize": _resize,
    "scan": lambda draw, shape: CumSum(_axis(draw, shape), draw(st.booleans()), draw(st.booleans())),
    "slice": _slice,
    "squeeze": lambda draw, shape: Squeeze(tuple(i + 1 for i, d in enumerate(shape) if d == 1)),
    "tile": _tile,
    "turn": _turn,
    "unsqueeze": lambda draw, shape: Unsqueeze((draw(st.integers(1, len(shape) + 1)),)),
}
"""A kind of step -> the operator that it draws for a value whose images have this shape."""
