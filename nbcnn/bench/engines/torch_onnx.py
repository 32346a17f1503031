"""An ONNX network as a torch module, so that PyTorch runs the very model the others run.

It interprets the graph op by op and is made to be traced: the trace holds plain torch operators,
with the weights as parameters, which is what a model written by hand in torch gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Step:
    op: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


class OnnxModule(nn.Module):
    """A module that takes its inputs in the order of ``inputs`` and returns ``outputs``."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__()
        self._constants: dict[str, np.ndarray] = {}  # shapes and bounds, needed as numbers
        self._weights: dict[str, str] = {}
        self._steps: list[Step] = []
        for tensor in graph.initializer:
            self._constant(tensor.name, numpy_helper.to_array(tensor))
        self.inputs = tuple(i.name for i in graph.input if i.name not in self._constants)
        self.outputs = tuple(o.name for o in graph.output)
        for node in graph.node:
            self._node(node)

    def _constant(self, name: str, array: np.ndarray) -> None:
        self._constants[name] = array
        self._weights[name] = key = f"w{len(self._weights)}"
        self.register_buffer(key, torch.from_numpy(array.copy()))

    def _node(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            if "value" not in attributes:
                raise NotImplementedError("ONNX Constant without a tensor value")
            self._constant(node.output[0], numpy_helper.to_array(attributes["value"]))
            return
        if node.op_type not in OPS:
            raise NotImplementedError(f"ONNX operator {node.op_type} (node '{node.name}')")
        # Reshape targets, Clip bounds and the like are numbers to torch, not tensors.
        numbers = NUMBERS.get(node.op_type, ())
        for slot in numbers:
            if slot < len(node.input) and node.input[slot]:
                if node.input[slot] not in self._constants:
                    raise NotImplementedError(f"ONNX {node.op_type} with a computed input {slot}")
                attributes[f"input{slot}"] = self._constants[node.input[slot]].tolist()
        inputs = tuple(name for i, name in enumerate(node.input) if i not in numbers)
        if node.op_type == "Split":
            attributes["count"] = len(node.output)
        self._steps.append(Step(OPS[node.op_type], inputs, tuple(node.output), attributes))

    def forward(self, *args: Tensor) -> Tensor | tuple[Tensor, ...]:
        values: dict[str, Any] = {"": None}
        values.update({name: getattr(self, key) for name, key in self._weights.items()})
        values.update(zip(self.inputs, args, strict=True))
        for step in self._steps:
            found = step.op(*(values[i] for i in step.inputs), **step.attributes)
            values.update(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=False))
        results = tuple(values[name] for name in self.outputs)
        return results[0] if len(results) == 1 else results


def load(path: str | Path) -> OnnxModule:
    """Read an ONNX file; NotImplementedError names the first operator that is not known here."""
    return OnnxModule(onnx.load(str(path)).graph)


def _split_pads(
    x: Tensor,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    pads: list[int] | None,
    auto_pad: bytes,
) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial axis."""
    rank = len(kernel)
    if auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
        before, after = [], []
        for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            n = int(n)
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            small, large = total // 2, total - total // 2
            before.append(small if auto_pad == b"SAME_UPPER" else large)
            after.append(large if auto_pad == b"SAME_UPPER" else small)
        return before, after
    pads = list(pads or [0] * 2 * rank)
    return pads[:rank], pads[rank:]


def _pad(x: Tensor, before: list[int], after: list[int], value: float) -> Tensor:
    flat = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    return F.pad(x, flat, value=value)


def _conv(x, w, b=None, *, strides=None, dilations=None, pads=None, group=1, auto_pad=b"NOTSET",
          kernel_shape=None):  # fmt: skip
    rank = w.dim() - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    kernel = [int(k) for k in w.shape[2:]]
    before, after = _split_pads(x, kernel, strides, dilations, pads, auto_pad)
    if before != after:
        x, before = _pad(x, before, after, 0.0), [0] * rank
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    return conv(x, w, b, strides, before, dilations, group)


def _max_pool(x, *, kernel_shape, strides=None, dilations=None, pads=None, auto_pad=b"NOTSET",
              ceil_mode=0, storage_order=0):  # fmt: skip
    rank = len(kernel_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    before, after = _split_pads(x, kernel_shape, strides, dilations, pads, auto_pad)
    # torch refuses more padding than half the kernel
    if before != after or any(2 * p > k for p, k in zip(before, kernel_shape, strict=True)):
        x, before = _pad(x, before, after, float("-inf")), [0] * rank
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]
    return pool(x, kernel_shape, strides, before, dilations, bool(ceil_mode))


def _average_pool(x, *, kernel_shape, strides=None, dilations=None, pads=None, auto_pad=b"NOTSET",
                  ceil_mode=0, count_include_pad=0):  # fmt: skip
    rank = len(kernel_shape)
    if any(d != 1 for d in dilations or ()):
        raise NotImplementedError("dilated ONNX AveragePool")
    strides = strides or [1] * rank
    before, after = _split_pads(x, kernel_shape, strides, [1] * rank, pads, auto_pad)
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    if before == after and all(2 * p <= k for p, k in zip(before, kernel_shape, strict=True)):
        return pool(x, kernel_shape, strides, before, bool(ceil_mode), bool(count_include_pad))
    padded = pool(_pad(x, before, after, 0.0), kernel_shape, strides, 0, bool(ceil_mode))
    if count_include_pad:
        return padded
    ones = _pad(torch.ones_like(x), before, after, 0.0)
    return padded / pool(ones, kernel_shape, strides, 0, bool(ceil_mode))


def _batch_norm(x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0,
                spatial=1):  # fmt: skip
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)


def _gemm(a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):
    a = a.t() if transA else a
    if transB and alpha == 1 and (c is None or (beta == 1 and c.dim() == 1)):
        return F.linear(a, b, c)
    y = alpha * (a @ (b.t() if transB else b))
    return y if c is None else y + beta * c


def _clip(x, *, input1=None, input2=None, min=None, max=None):
    low = min if input1 is None else float(input1)
    high = max if input2 is None else float(input2)
    if low == 0 and high == 6:
        return F.relu6(x)
    return torch.clamp(x, low, high)


def _flatten(x, *, axis=1):
    if axis == 1:
        return x.flatten(1)
    axis += x.dim() if axis < 0 else 0
    return x.reshape(int(np.prod([int(d) for d in x.shape[:axis]], dtype=np.int64)), -1)


def _reshape(x, *, input1, allowzero=0):
    shape = [int(d) for d in input1]
    if not allowzero:
        shape = [int(x.shape[i]) if d == 0 else d for i, d in enumerate(shape)]
    return x.reshape(shape)


def _split(x, *, input1=None, axis=0, split=None, num_outputs=None, count):
    extent = int(x.shape[axis])
    part = -(-extent // count)
    sizes = input1 or split or [min(part, extent - i * part) for i in range(count)]
    return torch.split(x, sizes, axis)


def _layer_norm(x, scale, bias=None, *, axis=-1, epsilon=1e-5, stash_type=1):
    return F.layer_norm(x, x.shape[axis:], scale, bias, epsilon)


def _conv_transpose(x, w, b=None, *, strides=None, dilations=None, pads=None, group=1, output_padding=None,
                    kernel_shape=None):  # fmt: skip
    rank = w.dim() - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    before, after = _split_pads(x, kernel_shape or list(w.shape[2:]), strides, dilations, pads, b"NOTSET")
    if before != after:
        raise NotImplementedError("ONNX ConvTranspose with uneven padding")
    conv = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[rank]
    return conv(x, w, b, strides, before, output_padding or [0] * rank, group, dilations)


def _reduce_mean(x, *, input1=None, axes=None, keepdims=1, noop_with_empty_axes=0):
    chosen = axes if input1 is None else [int(a) for a in input1]
    if not chosen:
        if noop_with_empty_axes:
            return x
        chosen = list(range(x.dim()))
    return x.mean(chosen, keepdim=bool(keepdims))


def _global_pool(x):
    return x.mean(list(range(2, x.dim())), keepdim=True)


def _global_max_pool(x):
    return x.amax(list(range(2, x.dim())), keepdim=True)


def _transpose(x, *, perm=None):
    return x.permute(perm or list(reversed(range(x.dim()))))


def _gather(x, indices, *, axis=0):
    found = x.index_select(axis, indices.reshape(-1))
    axis %= x.dim()
    return found.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _hard_sigmoid(x, *, alpha=0.2, beta=0.5):
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


def _gelu(x, *, approximate=b"none"):
    return F.gelu(x, approximate=approximate.decode())


OPS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Add": torch.add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda *xs, axis: torch.cat(xs, axis),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": torch.div,
    "Dropout": lambda x, **_: x,
    "Elu": lambda x, alpha=1.0: F.elu(x, alpha),
    "Erf": torch.erf,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_max_pool,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda x, alpha=0.01: F.leaky_relu(x, alpha),
    "MatMul": torch.matmul,
    "MaxPool": _max_pool,
    "Mul": torch.mul,
    "ReduceMean": _reduce_mean,
    "Relu": F.relu,
    "Reshape": _reshape,
    "Sigmoid": torch.sigmoid,
    "Split": _split,
    "Softmax": lambda x, axis=-1: F.softmax(x, axis),
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Transpose": _transpose,
}

NUMBERS: dict[str, tuple[int, ...]] = {
    "Clip": (1, 2),
    "Dropout": (1, 2),
    "ReduceMean": (1,),
    "Reshape": (1,),
    "Split": (1,),
}
"""Input slots that torch takes as numbers."""
