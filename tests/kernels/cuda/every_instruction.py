"""A kernel that holds each instruction of the table once: not to be run, only to be assembled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.runtime.cuda.ptx import Op, codes

IMMEDIATES = {
    "bar_sync": (1, 64),
    "async_wait": (1,),
    "bulk_wait_read": (1,),
    "tma_load": (3,),
    "tma_store": (2,),
    "wgmma_accumulators": ("f16", 64, 1),
    "wgmma": ("f16", 64, 0),
    "wgmma_registers": (64,),
    "wgmma_result": ("f16", 64, 0, 4),
    "wgmma_wait": (1,),
    "setmaxnreg_inc": (160,),
    "setmaxnreg_dec": (40,),
}
"""For each family of the table, the member that is tried."""

FIRST = ["wgmma_accumulators"]  # declared before use


@dataclass(frozen=True)
class EveryInstruction:
    """The instructions of one table that ``arch`` (80, 90) has."""

    arch: int
    threads: int = 128
    blocks: int = 1
    smem: int = 0

    factory = "every_instruction:make"
    params = (("address", "u64"), ("word", "u32"), ("number", "f32"))

    @property
    def name(self) -> str:
        return f"every_instruction__sm{self.arch}"

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return capability >= (self.arch // 10, 0)


def specification(name: str) -> Op:
    entry = OPS[name]
    return entry if isinstance(entry, Op) else entry(*IMMEDIATES[name])


def make(bind: Any, config: EveryInstruction) -> Any:
    ptx = bind(OPS)
    names = [
        name for name in FIRST + [n for n in OPS if n not in FIRST] if specification(name).arch <= config.arch
    ]

    @ptx.macro("", "u64 u32 f32")
    def everything(e, address, word, number):
        operand = {"u64": address, "u32": word, "i32": word, "u16": 1, "f32": number}
        for name in names:
            spec = specification(name)
            imms = IMMEDIATES.get(name, ())
            out = e.op(name, *(operand[c] for c in codes(spec.ins)), imms=imms)
            for value, code in zip(out if isinstance(out, list) else [out], codes(spec.outs), strict=False):
                shown = e.bits(value) if code == "f32" else value
                shown = e.and_(shown, address) if code == "u64" else e.wide(shown)
                e.op("red_add_f32", e.add(address, shown), number)

    def kernel(address, word, number):
        everything(address, word, number)

    return kernel
