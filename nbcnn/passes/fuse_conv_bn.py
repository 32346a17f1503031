"""Fold a batch normalisation into the convolution or dense layer before it, or else behind it.

    y = g * (conv(x; w, b) - m) / sqrt(v + eps) + t   with g, t, m, v per output channel
      = conv(x; s*w, s*(b - m) + t)                    with s = g / sqrt(v + eps)

and conv(bn(x)) where the convolution has no padding, or the normalisation no shift: `nbcnn.passes.affine`
has the algebra. Transposed convolutions alike. The node that remains bears the batch_norm's name where that
came last, because its value is the batch_norm's. Refused where others read the value in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbcnn.ir import Rewriter
from nbcnn.ops.conv import CONVS
from nbcnn.ops.conv_transpose import TRANSPOSED
from nbcnn.passes import affine
from nbcnn.passes.base import REASSOCIATES, Pass

_KIND = affine.Kind(
    lambda _, node: node.data[0] if node.op.name == "batch_norm" else None,
    affine.of_norm,
    frozenset({*CONVS, *TRANSPOSED, "dense"}),
)


@dataclass(frozen=True)
class FuseConvBn(Pass):
    """A convolution, transposed or not, or dense beside a batch_norm: one layer with a bias."""

    name: ClassVar[str] = "fuse-conv-bn"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        affine.fold(rw, _KIND)
