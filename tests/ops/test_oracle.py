"""The references against PyTorch, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from nbcnn import ops
from nbcnn.ir import Sample, TensorType

torch = pytest.importorskip("torch")
F = torch.nn.functional


def conv2d(op, x, w, b=None):
    top, left, bottom, right = op.pads(TensorType(tuple(x.shape)))
    w = w.flip(2, 3) if op.flip else w
    return F.conv2d(F.pad(x, (left, right, top, bottom)), w, b, op.stride, 0, op.dilation, op.groups)


def conv_transpose2d(op, x, w, b=None):
    top, left, bottom, right = op.padding
    whole = F.conv_transpose2d(x, w, b, op.stride, 0, op.output_padding, op.groups, op.dilation)
    return whole[:, :, top : whole.shape[2] - bottom, left : whole.shape[3] - right]


def pad(op, x):
    top, left, bottom, right = op.padding
    return F.pad(x, (left, right, top, bottom), value=op.value)


def symmetric(op, x):
    """The padding as PyTorch takes it; a sample with uneven padding is skipped."""
    top, left, bottom, right = op.pads(TensorType(tuple(x.shape)))
    if (top, left) != (bottom, right):
        pytest.skip("PyTorch pools with even padding only")
    if 2 * top > op.kernel[0] or 2 * left > op.kernel[1]:
        pytest.skip("PyTorch pads by half a kernel at most")
    return top, left


ORACLES = {
    "conv2d": conv2d,
    "max_pool": lambda op, x: F.max_pool2d(
        x, op.kernel, op.stride, symmetric(op, x), op.dilation, op.ceil_mode
    ),
    "avg_pool": lambda op, x: F.avg_pool2d(
        x, op.kernel, op.stride, symmetric(op, x), op.ceil_mode, op.count_include_pad
    ),
    "global_avg_pool": lambda op, x: F.adaptive_avg_pool2d(x, 1),
    "global_max_pool": lambda op, x: F.adaptive_max_pool2d(x, 1),
    "conv_transpose2d": conv_transpose2d,
    "pad": pad,
    "reduce_mean": lambda op, x: x.mean(op.axes, op.keepdims),
    "transpose": lambda op, x: x.permute(op.perm),
    "dense": lambda op, x, w, b=None: F.linear(x, w, b),
    "batch_norm": lambda op, x, w, b, m, v: F.batch_norm(x, m, v, w, b, eps=op.epsilon),
    "add": lambda op, a, b: a + b,
    "sub": lambda op, a, b: a - b,
    "mul": lambda op, a, b: a * b,
    "minimum": lambda op, a, b: torch.minimum(a, b),
    "maximum": lambda op, a, b: torch.maximum(a, b),
    "prelu": lambda op, x, slope: torch.where(x < 0, x * slope, x),
    "concat": lambda op, *x: torch.cat(x, op.axis),
    "flatten": lambda op, x: torch.flatten(x, op.axis),
    "softmax": lambda op, x: F.softmax(x, op.axis),
    "log_softmax": lambda op, x: F.log_softmax(x, op.axis),
    "sigmoid": lambda op, x: torch.sigmoid(x),
    "tanh": lambda op, x: torch.tanh(x),
    "relu": lambda op, x: F.relu(x),
    "relu6": lambda op, x: F.relu6(x),
    "leaky_relu": lambda op, x: F.leaky_relu(x, op.alpha),
    "elu": lambda op, x: F.elu(x, op.alpha),
    "silu": lambda op, x: x * torch.sigmoid(op.alpha * x),
    "hard_swish": lambda op, x: F.hardswish(x),
    "hard_sigmoid": lambda op, x: torch.clamp(op.alpha * x + op.beta, 0, 1),
    "gelu": lambda op, x: F.gelu(x, approximate=op.approximate),
    "celu": lambda op, x: F.celu(x, op.alpha),
    "selu": lambda op, x: op.gamma * F.elu(x, op.alpha),
    "softplus": lambda op, x: F.softplus(x, threshold=1000),
    "softsign": lambda op, x: F.softsign(x),
    "mish": lambda op, x: F.mish(x),
    "clip": lambda op, x: x if op.min is op.max is None else torch.clamp(x, op.min, op.max),
    "thresholded_relu": lambda op, x: F.threshold(x, op.alpha, 0),
    "shrink": lambda op, x: (x - op.bias * x.sign()) * (x.abs() > op.lambd),
} | {
    name: lambda op, x, name=name: getattr(torch, name)(x)
    for name in (
        *("abs", "neg", "sign", "floor", "ceil", "round", "reciprocal", "sqrt", "exp", "log", "erf"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
    )
}
SAMPLES = [s for name in ORACLES for s in ops.get(name).samples() if s.error is None]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s.op.name}-{s.note}")
def test_agrees_with_torch(sample: Sample, operands) -> None:
    arrays = [a.astype(np.float64) for a in operands(sample.op, sample.types, 2, sample.ranges)]
    arrays[0] *= 1 if sample.ranges else 3
    want = ORACLES[sample.op.name](sample.op, *map(torch.from_numpy, arrays)).numpy()
    (got,) = sample.op.reference(*arrays)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size", range(2, 9))
@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (2, 3, 1), (3, 2, 1), (3, 2, 0), (4, 3, 2)])
def test_ceil_mode_counts_windows_as_torch(size: int, kernel: int, stride: int, padding: int, rng) -> None:
    if kernel > size + 2 * padding:
        pytest.skip("larger than the plane")
    x = rng.standard_normal((1, 2, size, size))
    for include in (False, True):
        op = ops.get("avg_pool")(kernel, stride, padding, ceil_mode=True, count_include_pad=include)
        want = F.avg_pool2d(torch.from_numpy(x), kernel, stride, padding, True, include).numpy()
        np.testing.assert_allclose(op.reference(x)[0], want, rtol=1e-13)
    op = ops.get("max_pool")(kernel, stride, padding, ceil_mode=True)
    want = F.max_pool2d(torch.from_numpy(x), kernel, stride, padding, 1, True).numpy()
    np.testing.assert_array_equal(op.reference(x)[0], want)


def test_default_hard_sigmoid_is_torchs(rng) -> None:
    x = rng.standard_normal(1000) * 4
    want = F.hardsigmoid(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ops.get("hard_sigmoid")().reference(x)[0], want, rtol=1e-13, atol=1e-15)
