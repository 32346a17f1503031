"""Each line of these kernels that could be wrong in silence, made wrong: the emulator's tests must notice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conv_cases import check
from cuda_emulator import Timing

from nbcnn.kernels.cuda.problem import Conv
from nbcnn.kernels.cuda.shapes import Config, ConvMma, ConvWgmma, Depthwise, Epilogue, SplitReduce

CODE = "nbcnn.kernels.cuda.code"
LATE = Timing(eager_copies=False, eager_products=False)
LATE_PRODUCTS = Timing(eager_copies=True, eager_products=False)
RELU_RES = Epilogue("relu", "before")

SAME3 = Conv(1, 6, 7, 64, 72, 3, 3, pads=(1, 1, 1, 1))
MMA = ConvMma("f16", 64, 64, 64, 32, 32, 4, 2, RELU_RES)
TAIL = Conv(1, 5, 7, 40, 64, 2, 2)
STRICT = ConvMma("f32", 64, 64, 16, 32, 32, 3, 2)
WHOLE = ConvMma("s8", 64, 64, 64, 32, 32, 3, 2, Epilogue("silu", "before"))
FIRST = ConvMma("f16", 64, 64, 32, 32, 32, 3, 2, pixels4=True)
SPLIT = ConvMma("f16", 64, 64, 32, 32, 32, 3, 2, split=True)
WGMMA = ConvWgmma("f16", 128, 64, 2, epilogue=RELU_RES)
WGMMA_F32 = ConvWgmma("f32", 128, 64, 2)
WGMMA_CONV = Conv(2, 9, 11, 64, 72, 2, 3, pads=(1, 1, 0, 1))


@dataclass(frozen=True)
class Bug:
    """``old`` becomes ``new`` in a module of the device code; the case that must then fail."""

    module: str
    old: str
    new: str
    config: Config
    conv: Conv
    how: dict[str, Any] = field(default_factory=dict)


def mma(module: str, old: str, new: str, config: Config = MMA, conv: Conv = SAME3, **how: Any) -> Bug:
    return Bug(module, old, new, config, conv, how)


def wgmma(old: str, new: str, timing: Timing = LATE_PRODUCTS, module: str = "conv_wgmma") -> Bug:
    config = WGMMA_F32 if module == "conv_wgmma_f32" else WGMMA
    return Bug(module, old, new, config, WGMMA_CONV, {"timing": timing, "multiprocessors": 1})


def load(old: str, new: str) -> Bug:
    return wgmma(old, new, module="conv_wgmma_load")


REDUCE = {"splits": 2, "reduction": SplitReduce("f16", RELU_RES)}
S8_CONV = Conv(1, 6, 7, 64, 64, 1, 1)
DEPTHWISE = Depthwise("f16", 3, 3, epilogue=Epilogue("clamp"))
DEPTHWISE_CONV = Conv(1, 6, 7, 16, 16, 3, 3, (1, 1), (1, 1, 1, 1), groups=16)

BUGS = {
    # -- pipeline of mma.sync
    "waits for one group too few": mma(
        "conv_mma", "ptx.async_wait(stages - 2)", "ptx.async_wait(stages - 1)", timing=LATE
    ),
    "no barrier after the wait": mma(
        "conv_mma", "async_wait()\n                ptx.syncthreads()", "async_wait()", timing=LATE
    ),
    "no barrier before the epilogue": mma(
        "conv_mma", "async_drain()\n        ptx.syncthreads()", "async_drain()"
    ),
    "loads wrap one stage early": mma("conv_mma", "load_stage == stages", "load_stage == stages - 1"),
    "swizzle of the filters' rows": mma(
        "conv_mma", "((b_row >> swizzle_shift) & (chunks - 1))", "((b_row >> swizzle_shift) & 3)"
    ),
    "chunk of the second k-step": mma("conv_mma", "e.xor(a_chunk, 32 * k)", "e.xor(a_chunk, 16 * k)"),
    "filter row not advanced": mma("conv_mma", "r = u32(r + 1)\n                        shift", "shift"),
    "filters' bytes after a partial step": mma(
        "conv_mma", "w_shift = u32(w_shift - (c - C))", "pass", conv=TAIL
    ),
    "channels beyond the last": mma("conv_mma", "ptx.less(u32(c + chunk * 16), C)", "u32(1)", conv=TAIL),
    "a TF32 product left out": mma("conv_mma", "(a_low, b_high), (a_high, b_low)", "(a_low, b_high)", STRICT),
    "low parts forgotten": mma(
        "conv_mma", "return [e.fadd(t, v) for t, v in zip(total, sums, strict=True)]", "return sums", STRICT
    ),
    "a split begins one step late": mma(
        "conv_mma", "begin = u32(min(z * share", "begin = u32(min(z * share + 1", SPLIT, **REDUCE
    ),
    "partial sums in one place": mma(
        "conv_mma", "u64(z) * u64(M) * u64(out_pitch)", "u64(0)", SPLIT, **REDUCE
    ),
    "a group's filters": mma(
        "conv_mma", "u64(z) * u64(K) * u64(w_pitch)", "u64(0)", conv=Conv(1, 5, 5, 64, 64, 1, 1, groups=2)
    ),
    # -- what threads copy
    "columns tested against rows": mma(
        "conv_mma_load", "mark_column=marker(2 * pixels)", "mark_column=marker(pixels)"
    ),
    "filters beyond the last": mma(
        "conv_mma_load", "e.select(e.less(k, count), e.u32(1 << i), 0)", "e.u32(1 << i)"
    ),
    "padding not zero": mma("conv_mma_load", "masks[i], tap)", "masks[i], 0)"),
    "window's corner ignores pad": mma(
        "conv_mma_load", "e.sub(e.mul(q, stride_w), pad_w)", "e.mul(q, stride_w)"
    ),
    "taps beyond the last": mma(
        "conv_mma_load",
        "e.select(e.less(r, filter_rows), bits, NEVER)",
        "e.and_(bits, 0)",
        FIRST,
        Conv(1, 8, 9, 4, 64, 3, 3, pads=(1, 1, 1, 1)),
        channels=3,
    ),
    "columns of a first layer": mma(
        "conv_mma_load",
        "e.mul(s, dilation_w)",
        "s",
        FIRST,
        Conv(1, 9, 9, 4, 64, 3, 3, (1, 1), (0, 0, 0, 0), (1, 2)),
        channels=3,
    ),
    # -- epilogue
    "residual left out": mma(
        "epilogue", 'if epilogue.residual == "before":', 'if epilogue.residual == "never":'
    ),
    "residual of another pixel": mma(
        "epilogue",
        'e.op("multiply_wide", m, p.residual_pitch)',
        'e.op("multiply_wide", row, p.residual_pitch)',
    ),
    "activation before the residual": mma(
        "epilogue",
        'residual == "before"',
        'residual == "after"',
        config=ConvMma("f16", 64, 64, 64, 32, 32, 4, 2, Epilogue("relu", "after")),
    ),
    "staging read by another swizzle": mma("epilogue", "e.mul(e.and_(r, 3), 2)", "e.mul(e.and_(r, 1), 2)"),
    "bias of another column": mma(
        "epilogue", "load_columns(e, p.bias, column, ", "load_columns(e, p.bias, column0, "
    ),
    "rows beyond the last": mma("epilogue", "e.flag(e.both(inside, e.less(m, p.rows)))", "e.flag(inside)"),
    "scale of the s8 residual": mma("epilogue", "e.fmul(r, residual_scale)", "r", WHOLE, S8_CONV),
    "scale of the s8 result": mma("epilogue", "e.fmul(v, out_scale)", "v", WHOLE, S8_CONV),
    "silu without its argument's scale": mma(
        "activations",
        "e.fmul(e.fmul(a, x), -LOG2_E)",
        "e.fmul(e.fmul(x, 2.0), -LOG2_E)",
        WHOLE,
        S8_CONV,
    ),
    "one split not added": mma("split_reduce", "z = u32(0)", "z = u32(1)", SPLIT, **REDUCE),
    # -- depthwise
    "depthwise tap": mma("depthwise", "i - t * stride", "i - t * stride + 1", DEPTHWISE, DEPTHWISE_CONV),
    "depthwise row outside": mma(
        "depthwise", "ptx.choose(inside, W, u32(0))", "W", DEPTHWISE, DEPTHWISE_CONV
    ),
    "depthwise last strip": mma("depthwise", "u32(Q - q)", "u32(width)", DEPTHWISE, DEPTHWISE_CONV),
    # -- TMA and wgmma
    "descriptor's step": wgmma("e.add(from_b, 2 * k)", "e.add(from_b, 4 * k)"),
    "descriptor's distance of 8 rows": wgmma("((1024 >> 4) << 32)", "((512 >> 4) << 32)"),
    "stage given back while it is read": wgmma("ptx.wgmma_wait(1)", "ptx.wgmma_wait(2)"),
    "stage given back one step early": wgmma(
        "u32(empty + previous * 8), leader)\n                    previous",
        "u32(empty + stage * 8), leader)\n                    previous",
    ),
    "sums read in flight": wgmma("wait_all()", "pass"),
    "no fence before wgmma": wgmma("ptx.wgmma_fence()", "pass"),
    "no wait for the bytes": wgmma("ptx.mbarrier_wait(u32(full + stage * 8), phase)", "pass", LATE),
    "no wait for the stage": load("ptx.mbarrier_wait(u32(full + 8 * stages + stage * 8), phase)", "pass"),
    "consumer's phase": wgmma("phase = u32(0)", "phase = u32(1)"),
    "producer's phase": load("phase = u32(1)  # the", "phase = u32(0)  # the"),
    "phase not flipped": wgmma("phase = u32(phase ^ 1)", "pass"),
    "too few consumers counted": load("u32(warps), first", "u32(2), first"),
    "too many consumers counted": load("u32(warps), first", "u32(warps + 1), first"),
    "bytes announced": load("u32(stage_bytes), one)", "u32(a_bytes), one)"),
    "every lane copies": load("one = ptx.elect()", "one = u32(1)"),
    "offsets of a tap swapped": load(
        "u16(s * dilation_w), u16(r * dilation_h)", "u16(r * dilation_h), u16(s * dilation_w)"
    ),
    "tap of the filters": load("i32(r * S + s)", "i32(s * R + r)"),
    "sums of the tile before": wgmma("multiplier(0), multiplier(1)", "multiplier(1), multiplier(1)"),
    "rows of the second warpgroup": wgmma("group * (rows * 128)", "group * (rows * 64)"),
    "float32: stage given back while it is read": wgmma("wait_all()", "pass", module="conv_wgmma_f32"),
    "float32: sums carried on": wgmma(
        "keep = 0 if k == 0 and first is small else 1", "keep = 1", module="conv_wgmma_f32"
    ),
    "float32: a product left out": wgmma(", (large, low)", "", module="conv_wgmma_f32"),
    "float32: low parts of the filters": wgmma(
        "e.add(filters, bn * 128)", "e.add(filters, bn * 64)", module="conv_wgmma_f32"
    ),
    "float32: rows of a warp": wgmma(
        "(warp - 4) * 16 + (lane & 15)", "(warp - 4) * 16 + (lane & 7)", module="conv_wgmma_f32"
    ),
    "float32: fence forgotten": wgmma('e.op("wgmma_fence")', "pass", module="conv_wgmma_f32"),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(bug, monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        check(bug.config, bug.conv, **bug.how)


@pytest.mark.parametrize(
    "bug", {(b.config, b.conv, str(b.how)): b for b in BUGS.values()}.values(), ids=lambda b: b.config.name
)
def test_without_a_bug_they_pass(bug: Bug) -> None:
    check(bug.config, bug.conv, **bug.how)


def plant(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the module's changed text, and put its members wherever the device code holds the old ones."""
    for name in ("conv_mma", "conv_wgmma", "conv_wgmma_f32", "depthwise", "split_reduce"):
        import_module(f"{CODE}.{name}")
    sound = import_module(f"{CODE}.{bug.module}")
    text = Path(str(sound.__file__)).read_text(encoding="utf-8")
    assert bug.old in text, f"no {bug.old!r} in {bug.module}: this bug must follow the source"
    broken = ModuleType(sound.__name__)
    monkeypatch.setitem(sys.modules, broken.__name__, broken)  # dataclasses look their module up
    exec(compile(text.replace(bug.old, bug.new), str(sound.__file__), "exec"), vars(broken))
    monkeypatch.undo()
    members: dict[int, Callable] = {id(v): vars(broken)[k] for k, v in vars(sound).items() if callable(v)}
    for module in [m for n, m in sys.modules.items() if n.startswith(f"{CODE}.")]:
        for name, value in list(vars(module).items()):
            if id(value) in members:
                monkeypatch.setattr(module, name, members[id(value)])


@pytest.mark.parametrize("name", sorted({b.module for b in BUGS.values()}))
def test_planting_itself_breaks_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = next(b for b in BUGS.values() if b.module == name)
    plant(Bug(name, bug.old, bug.old, bug.config, bug.conv), monkeypatch)
    check(bug.config, bug.conv, **bug.how)
