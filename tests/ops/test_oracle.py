"""The references against PyTorch, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from nbcnn import ops
from nbcnn.ir import Sample, TensorType

torch = pytest.importorskip("torch")
F = torch.nn.functional


def around(pads):
    """Padding before and behind each axis as F.pad takes it: the last axis first."""
    rank = len(pads) // 2
    return [side for axis in reversed(range(rank)) for side in (pads[axis], pads[axis + rank])]


def conv(op, x, w, b=None):
    w = w.flip(*range(2, w.ndim)) if op.flip else w
    apply = (F.conv1d, F.conv2d, F.conv3d)[op.rank - 1]
    padded = F.pad(x, around(op.pads(TensorType(tuple(x.shape)))))
    return apply(padded, w, b, op.stride, 0, op.dilation, op.groups)


def conv_transpose(op, x, w, b=None):
    pads = op.pads(TensorType(tuple(x.shape)))
    apply = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[op.rank - 1]
    whole = apply(x, w, None, op.stride, 0, op.output_padding, op.groups, op.dilation)
    cut = F.pad(whole, [-p for p in around(pads)])
    return cut if b is None else cut + b.reshape(-1, *(1,) * op.rank)


def pad(op, x):
    if op.mode != "constant":
        pytest.skip("PyTorch pads images only in other modes; the suite of ONNX has cases")
    around = op.around(TensorType(tuple(x.shape)))
    return F.pad(x, [n for axis in reversed(range(x.ndim)) for n in around.get(axis, (0, 0))], value=op.value)


def reduce_mean(op, x):
    axes = op.along(TensorType(tuple(x.shape)))
    return x.mean(axes, op.keepdims) if axes else x


def symmetric(op, x):
    """The padding as PyTorch takes it; a sample with uneven padding is skipped."""
    at = op.at(TensorType(tuple(x.shape)))
    rank = len(at.kernel)
    if at.pads[:rank] != at.pads[rank:]:
        pytest.skip("PyTorch pools with even padding only")
    if any(2 * p > k for p, k in zip(at.pads, at.kernel, strict=False)):
        pytest.skip("PyTorch pads by half a kernel at most")
    return at.kernel, at.stride, at.pads[:rank], at.dilation


def max_pool(op, x):
    kernel, stride, pads, dilation = symmetric(op, x)
    apply = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.ndim - 3]
    if op.storage_order:
        pytest.skip("PyTorch counts places row by row")
    y = apply(x, kernel, stride, pads, dilation, op.ceil_mode, op.indices)
    if not op.indices:
        return y
    planes = torch.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    return y[0], y[1] + planes * x[0, 0].numel()


def avg_pool(op, x):
    kernel, stride, pads, dilation = symmetric(op, x)
    if set(dilation) != {1}:
        pytest.skip("PyTorch has no dilated means")
    apply = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.ndim - 3]
    return apply(x, kernel, stride, pads, op.ceil_mode, op.count_include_pad)


def layer_norm(op, x, w, b=None):
    axes = op.along(TensorType(tuple(x.shape)))
    if axes != tuple(range(x.ndim - len(axes), x.ndim)):
        moved = x.movedim(axes, tuple(range(x.ndim - len(axes), x.ndim)))
        y = F.layer_norm(moved, w.shape, w, b, op.epsilon)
        y = y.movedim(tuple(range(x.ndim - len(axes), x.ndim)), axes)
    else:
        y = F.layer_norm(x, w.shape, w, b, op.epsilon)
    if not op.statistics:
        return y
    mean = x.mean(axes, keepdim=True)
    return y, mean, 1 / (x.var(axes, keepdim=True, unbiased=False) + op.epsilon).sqrt()


ORACLES = {
    "conv1d": conv,
    "conv2d": conv,
    "conv3d": conv,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "global_avg_pool": lambda op, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "global_max_pool": lambda op, x: x.amax(tuple(range(2, x.ndim)), keepdim=True),
    "global_lp_pool": lambda op, x: x.norm(op.p, tuple(range(2, x.ndim)), keepdim=True),
    "conv_transpose1d": conv_transpose,
    "conv_transpose2d": conv_transpose,
    "conv_transpose3d": conv_transpose,
    "layer_norm": layer_norm,
    "instance_norm": lambda op, x, w, b: F.instance_norm(x, weight=w, bias=b, eps=op.epsilon),
    "group_norm": lambda op, x, w, b: F.group_norm(x, op.num_groups, w, b, op.epsilon),
    "lp_normalization": lambda op, x: F.normalize(x, op.p, op.axis),
    "lrn": lambda op, x: F.local_response_norm(x, op.size, op.alpha, op.beta, op.bias),
    "pad": pad,
    "reduce_mean": reduce_mean,
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
    want = ORACLES[sample.op.name](sample.op, *map(torch.from_numpy, arrays))
    got = sample.op.reference(*arrays)
    for mine, theirs in zip(got, want if isinstance(want, tuple) else (want,), strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-12, atol=1e-13)


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


@pytest.mark.parametrize("size", range(1, 8))
def test_local_response_of_any_size(size: int, rng) -> None:
    x = rng.standard_normal((2, 5, 3))
    (got,) = ops.get("lrn")(size, 0.5, 0.75, 1.5).reference(x)
    for c in range(5):
        seen = x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1]  # ONNX: the longer half comes last
        want = x[:, c] / (1.5 + 0.5 / size * (seen**2).sum(1)) ** 0.75
        np.testing.assert_allclose(got[:, c], want, rtol=1e-13)


def test_default_hard_sigmoid_is_torchs(rng) -> None:
    x = rng.standard_normal(1000) * 4
    want = F.hardsigmoid(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ops.get("hard_sigmoid")().reference(x)[0], want, rtol=1e-13, atol=1e-15)
