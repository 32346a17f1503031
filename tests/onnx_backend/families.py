"""The operators of convolutional networks, by family, as the public suite tests them one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

FAMILIES: dict[str, tuple[str, ...]] = {
    "convolution": ("Conv", "ConvTranspose"),
    "pooling": ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"),
    "normalisation": (
        *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization"),
        *("LRN", "LpNormalization", "RMSNormalization", "MeanVarianceNormalization"),
    ),
    "activation": (
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Celu", "Selu", "Gelu", "ThresholdedRelu", "Clip", "Sigmoid"),
        *("HardSigmoid", "HardSwish", "Mish", "Softplus", "Softsign", "Tanh", "Swish", "Shrink"),
    ),
    "softmax": ("Softmax", "LogSoftmax", "Hardmax"),
    "matrix product": ("Gemm", "MatMul"),
    "arithmetic": (
        *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Sum", "Mean", "Neg", "Abs", "Sign"),
        *("Reciprocal", "Sqrt", "Exp", "Log", "Erf", "Floor", "Ceil", "Round", "Sin", "Cos", "Tan", "Asin"),
        *("Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"),
    ),
    "comparison and logic": (
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "Where"),
        *("IsInf", "IsNaN", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"),
    ),
    "shape": (
        *("Reshape", "Flatten", "Concat", "Split", "Slice", "Pad", "Transpose", "Squeeze", "Unsqueeze"),
        *("Shape", "Size", "Expand", "Tile", "Gather", "GatherElements", "GatherND", "ScatterElements"),
        *("ScatterND", "DepthToSpace", "SpaceToDepth", "Identity", "Constant", "ConstantOfShape", "Trilu"),
        *("CumSum", "OneHot", "TopK", "Range"),
    ),
    "cast": ("Cast", "CastLike"),
    "reduction": (
        *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
        *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin"),
    ),
    "resize": ("Resize", "Upsample"),
    "dropout": ("Dropout",),
    "quantised": (
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"),
        *("ConvInteger", "MatMulInteger"),
    ),
}

_FAMILY_OF = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}


def family(model: onnx.ModelProto) -> str:
    """The family of the only operator of ``model``, or "other operators"."""
    kinds = [node.op_type for node in model.graph.node]
    return _FAMILY_OF.get(kinds[0], "other operators") if len(kinds) == 1 else "other operators"
