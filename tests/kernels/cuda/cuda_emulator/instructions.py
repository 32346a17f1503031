"""What each instruction of the table does to a warp: functions of 32-lane arrays, by the table's names.

A family's function gets its immediates first. Reference: the PTX ISA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import machine, tensor_maps
from .matrices import add_product, join_fragment, mma, split_rows

LANES = np.arange(32, dtype=np.uint32)
Array = np.ndarray
F32 = np.float32


def _loads(words: int, dtype: type = np.uint32) -> Callable:
    def load(address: Array, wanted: Array) -> tuple[Array, ...]:
        out = np.zeros((32, words), np.uint32)
        lanes = wanted != 0
        out[lanes] = machine.warp().block.device.read(address[lanes], words)
        return tuple(out.T.copy().view(dtype))

    return load


def _store_if(address: Array, *rest: Array) -> None:
    *words, wanted = rest
    lanes = wanted != 0
    machine.warp().block.device.write(address[lanes], np.stack(words, 1)[lanes])


def _load_shared4(address: Array) -> tuple[Array, ...]:
    return tuple(machine.warp().block.shared.read(address, 4).T.copy())


def _store_shared2(address: Array, x: Array, y: Array) -> None:
    machine.warp().block.shared.write(address, np.stack([x, y], 1))


# -- cp.async ---------------------------------------------------------------------------------------


def _async(words: int) -> Callable:
    def start(to: Array, source: Array, mask: Array, bits: Array) -> None:
        warp = machine.warp()
        valid = (mask & bits) == bits

        def copy() -> None:
            data = np.zeros((32, words), np.uint32)
            data[valid] = warp.block.device.read(source[valid], words)
            warp.block.shared.write(to, data)

        if warp.block.timing.eager_copies:
            copy()
        else:
            warp.copies.append(copy)

    return start


def _async_commit() -> None:
    warp = machine.warp()
    warp.copy_groups.append(warp.copies)
    warp.copies = []


def _async_wait(groups: int) -> None:
    warp = machine.warp()
    while len(warp.copy_groups) > groups:
        for copy in warp.copy_groups.pop(0):
            copy()


# -- barriers ---------------------------------------------------------------------------------------


def _syncthreads() -> None:
    warp = machine.warp()
    warp.block.barrier(warp, 0, len(warp.block.warps))


def _bar_sync(number: int, threads: int) -> None:
    machine.warp().block.barrier(machine.warp(), number, threads // 32)


def _mbarrier_init(address: Array, count: Array, wanted: Array) -> None:
    for i in np.flatnonzero(wanted):
        machine.warp().block.mbarriers[int(address[i])] = machine.MBarrier(int(count[i]), int(count[i]))


def _arrive(address: Array, wanted: Array, nbytes: Array | None = None) -> None:
    warp = machine.warp()
    for i in np.flatnonzero(wanted):
        barrier = warp.block.mbarriers[int(address[i])]
        barrier.pending -= 1
        barrier.bytes += int(nbytes[i]) if nbytes is not None else 0
        assert barrier.pending >= 0, "more arrivals than the barrier counts"
        barrier.settle()
    if wanted.any():
        warp.wait()  # somebody else may run here


def _mbarrier_wait(address: Array, parity: Array) -> None:
    barrier = machine.warp().block.mbarriers[int(address[0])]
    machine.warp().wait(lambda: barrier.phase != int(parity[0]) & 1)


# -- TMA --------------------------------------------------------------------------------------------


def _tma(
    to: Array, handle: Array, barrier: Array, wanted: Array, coordinates: list[int], offsets: list[int]
) -> None:
    lanes = np.flatnonzero(wanted)
    if not len(lanes):
        return
    assert len(lanes) == 1, "more than one lane starts a copy"
    block, lane = machine.warp().block, lanes[0]
    target, at, map_ = int(to[lane]), int(barrier[lane]), tensor_maps.by_handle(int(handle[lane]))

    def copy() -> None:
        rows = tensor_maps.read(block.device, map_, coordinates, offsets)
        tensor_maps.place(block.shared, target, rows)
        block.mbarriers[at].bytes -= rows.nbytes
        block.mbarriers[at].settle()

    if block.timing.eager_copies:
        copy()
    else:
        block.in_flight.append(copy)


def _tma_load(dims: int, to: Array, handle: Array, barrier: Array, *rest: Array) -> None:
    *coordinates, wanted = rest
    lane = int(np.argmax(wanted))
    _tma(to, handle, barrier, wanted, [int(c[lane]) for c in coordinates], [])


def _tma_im2col(to: Array, handle: Array, barrier: Array, *rest: Array) -> None:
    *coordinates, wanted = rest
    lane = int(np.argmax(wanted))
    numbers = [int(c[lane]) for c in coordinates]
    _tma(to, handle, barrier, wanted, numbers[:4], numbers[4:])


# -- wgmma ------------------------------------------------------------------------------------------


def _wgmma(kind: str, columns: int, tile: int, a: Array, b: Array, keep: Array) -> None:
    warp = machine.warp()

    def rows() -> Array:
        return tensor_maps.operand(warp.block.shared, int(a[0]), 64)[16 * (warp.index % 4) :][:16]

    _multiply(kind, columns, tile, rows, b, keep)


def _wgmma_registers(columns: int, *operands: Array) -> None:
    *registers, b, keep = operands
    _multiply("tf32", columns, 0, lambda: join_fragment(registers), b, keep)


def _multiply(kind: str, columns: int, tile: int, rows: Callable[[], Array], b: Array, keep: Array) -> None:
    warp = machine.warp()
    assert warp.fenced, "wgmma without wgmma.fence after its registers were touched"

    def multiply() -> None:
        left, right = rows(), tensor_maps.operand(warp.block.shared, int(b[0]), columns)
        start = np.zeros((16, columns), np.int32 if kind == "s8" else F32)
        warp.sums[tile] = add_product(kind, warp.sums[tile] if keep[0] else start, left, right)

    if warp.block.timing.eager_products:
        multiply()
        warp.products.append(lambda: None)
    else:
        warp.products.append(multiply)


def _wgmma_commit() -> None:
    warp = machine.warp()
    warp.product_groups.append(warp.products)
    warp.products = []


def _wgmma_wait(groups: int) -> None:
    warp = machine.warp()
    while len(warp.product_groups) > groups:
        for multiply in warp.product_groups.pop(0):
            multiply()


def _wgmma_fence() -> None:
    machine.warp().fenced = True


def _wgmma_result(kind: str, columns: int, first: int, count: int) -> tuple[Array, ...]:
    warp = machine.warp()
    assert not warp.products and not warp.product_groups, "accumulators read while a wgmma is in flight"
    warp.fenced = False
    tile, start = divmod(first, columns // 2)
    return split_rows(warp.sums[tile])[start : start + count]


# -- arithmetic -------------------------------------------------------------------------------------


def _divide(n: Array, multiplier: Array, shift: Array) -> Array:
    quotient = ((n.astype(np.uint64) * multiplier >> np.uint64(32)) >> shift.astype(np.uint64)).astype(
        np.uint32
    )
    return np.where(multiplier == 0, n, quotient)


def _to_bf16x2(low: Array, high: Array) -> Array:
    from nbcnn.kernels.cuda.packing import to_bfloat16

    return to_bfloat16(low).astype(np.uint32) | (to_bfloat16(high).astype(np.uint32) << 16)


def _to_tf32(x: Array) -> Array:
    from nbcnn.kernels.cuda.packing import round_tf32

    return round_tf32(x).view(np.uint32)


def _to_s8x4(*values: Array) -> Array:
    whole = np.clip(np.rint(np.nan_to_num(np.stack(values, 1), posinf=1e9, neginf=-1e9)), -128, 127)
    return np.ascontiguousarray(whole.astype(np.int8)).view(np.uint32)[:, 0]


def _nothing(*_: Any) -> None:
    pass


def _mma(kind: str) -> Callable:
    return lambda *operands: mma(kind, list(operands))


INSTRUCTIONS: dict[str, Callable[..., Any]] = {
    "tid_x": lambda: np.uint32(machine.warp().index * 32) + LANES,
    "ctaid_x": lambda: machine.warp().block.at[0],
    "ctaid_y": lambda: machine.warp().block.at[1],
    "ctaid_z": lambda: machine.warp().block.at[2],
    "nctaid_x": lambda: machine.warp().block.grid[0],
    "nctaid_z": lambda: machine.warp().block.grid[2],
    "warp_uniform": lambda x: int(x[0]),
    "elect": lambda: (LANES == 0).astype(np.uint32),
    "opaque": lambda x: x,
    "divide": _divide,
    "less": lambda x, y: (x < y).astype(np.uint32),
    "choose": lambda p, x, y: np.where(p != 0, x, y),
    "multiply_wide": lambda x, y: x.astype(np.uint64) * y,
    "syncthreads": _syncthreads,
    "bar_sync": _bar_sync,
    "syncwarp": _nothing,
    "griddepcontrol_wait": _nothing,
    "griddepcontrol_launch": _nothing,
    "load4_if": _loads(4),
    "load4f_if": _loads(4, F32),
    "load2_if": _loads(2),
    "load4_written_if": _loads(4),
    "store4_if": _store_if,
    "store2_if": _store_if,
    "load_shared4": _load_shared4,
    "store_shared2": _store_shared2,
    "async16": _async(4),
    "async8": _async(2),
    "async4": _async(1),
    "async_commit": _async_commit,
    "async_wait": _async_wait,
    "ldmatrix4": lambda at: tuple(machine.warp().block.shared.read(at, 4).reshape(4, 32)),
    "mma_f16": _mma("f16"),
    "mma_bf16": _mma("bf16"),
    "mma_tf32": _mma("tf32"),
    "mma_s8": _mma("s8"),
    "to_f16x2": lambda low, high: np.stack([low, high], 1).astype(np.float16).view(np.uint32)[:, 0],
    "to_bf16x2": _to_bf16x2,
    "to_tf32": _to_tf32,
    "to_s8x4": _to_s8x4,
    "from_f16x2": lambda x: tuple(x.view(np.float16).reshape(32, 2).T.astype(F32)),
    "from_s8x4": lambda x: tuple(x.view(np.int8).reshape(32, 4).T.astype(F32)),
    "max": np.maximum,
    "min": np.minimum,
    "exp2_approx": np.exp2,
    "reciprocal_approx": lambda x: F32(1) / x,
    "mbarrier_init_if": _mbarrier_init,
    "mbarrier_arrive_if": _arrive,
    "mbarrier_expect_if": lambda at, nbytes, wanted: _arrive(at, wanted, nbytes),
    "mbarrier_wait": _mbarrier_wait,
    "fence_mbarrier_init": _nothing,
    "prefetch_map_if": _nothing,
    "tma_load": _tma_load,
    "tma_im2col": _tma_im2col,
    "wgmma_accumulators": _nothing,
    "wgmma": _wgmma,
    "wgmma_registers": _wgmma_registers,
    "wgmma_result": _wgmma_result,
    "wgmma_fence": _wgmma_fence,
    "wgmma_commit": _wgmma_commit,
    "wgmma_wait": _wgmma_wait,
    "setmaxnreg_inc": _nothing,
    "setmaxnreg_dec": _nothing,
}
