"""Operators: one file per family, named in one table, loaded when first asked for.

To add one: write its file (see `nbcnn.ir.Op` for the contract), add a line to `OPS`; it runs at
once through its NumPy reference, and generic tests pick it up.
"""

from __future__ import annotations

from importlib import import_module

from nbcnn.errors import GraphError, nearest
from nbcnn.ir.op import Op

OPS: dict[str, str] = {
    "conv1d": "conv1d:Conv1d",
    "conv2d": "conv2d:Conv2d",
    "conv3d": "conv3d:Conv3d",
    "max_pool": "pool:MaxPool",
    "avg_pool": "pool:AvgPool",
    "global_avg_pool": "pool:GlobalAvgPool",
    "global_max_pool": "pool:GlobalMaxPool",
    "lp_pool": "lp_pool:LpPool",
    "global_lp_pool": "lp_pool:GlobalLpPool",
    "conv_transpose1d": "conv_transpose1d:ConvTranspose1d",
    "conv_transpose2d": "conv_transpose2d:ConvTranspose2d",
    "conv_transpose3d": "conv_transpose3d:ConvTranspose3d",
    "pad": "pad:Pad",
    "reduce_mean": "reduce:ReduceMean",
    "transpose": "transpose:Transpose",
    "dense": "dense:Dense",
    "batch_norm": "batch_norm:BatchNorm",
    "add": "arithmetic:Add",
    "mul": "arithmetic:Mul",
    "concat": "concat:Concat",
    "split": "split:Split",
    "flatten": "reshape:Flatten",
    "reshape": "reshape:Reshape",
    "squeeze": "unit_axes:Squeeze",
    "unsqueeze": "unit_axes:Unsqueeze",
    "expand": "repeat:Expand",
    "tile": "repeat:Tile",
    "slice": "slice:Slice",
    "gather": "gather:Gather",
    "gather_elements": "gather:GatherElements",
    "gather_nd": "gather:GatherNd",
    "scatter_elements": "scatter:ScatterElements",
    "scatter_nd": "scatter:ScatterNd",
    "depth_to_space": "blocks:DepthToSpace",
    "space_to_depth": "blocks:SpaceToDepth",
    "dropout": "dropout:Dropout",
    "softmax": "softmax:Softmax",
    "sigmoid": "activation:Sigmoid",
    "tanh": "activation:Tanh",
    "relu": "activation:Relu",
    "relu6": "activation:Relu6",
    "leaky_relu": "activation:LeakyRelu",
    "elu": "activation:Elu",
    "silu": "activation:Silu",
    "hard_swish": "activation:HardSwish",
    "hard_sigmoid": "activation:HardSigmoid",
    "gelu": "activation:Gelu",
    "fused": "fused:Fused",
}
"""YAML word -> "module:Class" below ``nbcnn.ops``."""


def get(name: str) -> type[Op]:
    """The operator class called ``name``; raises GraphError with the nearest known name."""
    if name not in OPS:
        raise GraphError(f"unknown op '{name}'{nearest(name, OPS)}")
    module, cls = OPS[name].split(":")
    return getattr(import_module(f"nbcnn.ops.{module}"), cls)
