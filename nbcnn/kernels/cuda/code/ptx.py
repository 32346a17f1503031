"""The instructions of the kernels, as text. Reference: the PTX ISA, section "Instruction Set".

``_if`` marks an operation that takes a predicate (u32, nonzero: do it) as its last operand: kernels
branch only where a whole warp agrees. Names follow PTX with dots turned into underscores.
"""

from __future__ import annotations

from nbcnn.runtime.cuda.ptx import Op, Table


def _register(name: str) -> Op:
    return Op(f"mov.u32 $0, %{name};", "u32", pure=True)


def _when(flag: int, text: str, before: str = "") -> str:
    return f"{{.reg .pred p; setp.ne.b32 p, ${flag}, 0;{before} @p {text}}}"


def _load_if(space: str, code: str, count: int) -> Op:
    """Vector load: address, predicate; zeros without it.

    The zeros come first: a register that only predicated instructions write counts as live before them.
    """
    kind, zero = ("f32", "0f00000000") if code == "f32" else ("b32", "0")
    to = ",".join(f"${i}" for i in range(count))
    zeros = "".join(f" mov.{kind} ${i}, {zero};" for i in range(count))
    text = _when(count + 1, f"ld.{space}.v{count}.{kind} {{{to}}}, [${count}];", zeros)
    return Op(text, f"{code}*{count}", "u64 u32", memory=False)


def _matrix(shape: str, types: str, out: str = "f32") -> Op:
    """``mma.sync``: D = A B + C on one warp; operands are 4 registers of A, 2 of B, 4 of C."""
    text = f"mma.sync.aligned.{shape}.row.col.{types} "
    text += "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};"
    return Op(text, f"{out}*4", f"u32*6 {out}*4", pure=True)


def _bar_sync(barrier: int, threads: int) -> Op:
    return Op(f"bar.sync {barrier}, {threads};")


def _async_wait(groups: int) -> Op:
    """All but the last ``groups`` groups of this thread's cp.async have arrived."""
    return Op(f"cp.async.wait_group {groups};")


def _bulk_wait_read(groups: int) -> Op:
    return Op(f"cp.async.bulk.wait_group.read {groups};", arch=90)


def _tma(dims: int) -> Op:
    """Tile load: shared address, map, mbarrier, coordinates (innermost first), predicate."""
    where = ",".join(f"${3 + i}" for i in range(dims))
    text = f"cp.async.bulk.tensor.{dims}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
    return Op(
        _when(3 + dims, f"{text} [$0], [$1, {{{where}}}], [$2];"), "", f"u32 u64 u32 i32*{dims} u32", arch=90
    )


def _tma_im2col() -> Op:
    """Pixels of NHWC: shared address, map, mbarrier, coordinates c w h n, offsets w h, predicate."""
    text = "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
    return Op(
        _when(9, f"{text} [$0], [$1, {{$3,$4,$5,$6}}], [$2], {{$7,$8}};"),
        "",
        "u32 u64 u32 i32*4 u16*2 u32",
        arch=90,
    )


def _tma_store(dims: int) -> Op:
    where = ",".join(f"${2 + i}" for i in range(dims))
    text = f"cp.async.bulk.tensor.{dims}d.global.shared::cta.tile.bulk_group"
    return Op(f"{text} [$0, {{{where}}}], [$1];", "", f"u64 u32 i32*{dims}", arch=90)


def _registers(change: str):
    return lambda count: Op(f"setmaxnreg.{change}.sync.aligned.u32 {count};", arch=90)


WGMMA_KINDS = {  # operands -> (accumulator, columns of A in one instruction, scale and transpose flags)
    "f16": ("f32", 16, ", 1, 1, 0, 0"),
    "bf16": ("f32", 16, ", 1, 1, 0, 0"),
    "tf32": ("f32", 8, ", 1, 1"),
    "s8": ("s32", 32, ""),
}


def _accumulators(kind: str, columns: int, tiles: int) -> Op:
    """Declares the accumulators: named PTX registers, which LLVM never sees.

    Values that LLVM sees are moved between a wgmma and the loop's next turn, and ptxas then serialises
    the wgmmas (C7510, C7515). Call it once, first thing in the kernel.
    """
    return Op(f".reg .{'b32' if kind == 's8' else 'f32'} acc<{columns // 2 * tiles}>;", memory=False, arch=90)


def _wgmma(kind: str, columns: int, tile: int) -> Op:
    """64 x ``columns`` accumulators number ``tile`` += A B: descriptors of A and B, flag 0 to overwrite."""
    to, depth, tail = WGMMA_KINDS[kind]
    each = columns // 2
    names = ",".join(f"acc{i}" for i in range(tile * each, (tile + 1) * each))
    text = (
        f"wgmma.mma_async.sync.aligned.m64n{columns}k{depth}.{to}.{kind}.{kind} {{{names}}}, $0, $1, p{tail};"
    )
    return Op("{.reg .pred p; setp.ne.b32 p, $2, 0; " + text + "}", "", "u64 u64 u32", memory=False, arch=90)


def _wgmma_registers(columns: int) -> Op:
    """64 x ``columns`` accumulators += A B of TF32: four registers of A, B's descriptor, flag as above."""
    names = ",".join(f"acc{i}" for i in range(columns // 2))
    text = f"wgmma.mma_async.sync.aligned.m64n{columns}k8.f32.tf32.tf32 {{{names}}}, {{$0,$1,$2,$3}}, $4, "
    text = "{.reg .pred p; setp.ne.b32 p, $5, 0; " + text + "p, 1, 1;}"
    return Op(text, "", "u32*4 u64 u32", memory=False, arch=90)


def _accumulated(kind: str, columns: int, first: int, count: int) -> Op:
    """``count`` accumulators from number ``first`` on; those of one tile are ``columns / 2`` a thread."""
    move, code = ("mov.b32", "i32") if kind == "s8" else ("mov.f32", "f32")
    text = " ".join(f"{move} ${i}, acc{first + i};" for i in range(count))
    return Op(text, f"{code}*{count}", memory=False, arch=90)


def _wgmma_wait(groups: int) -> Op:
    return Op(f"wgmma.wait_group.sync.aligned {groups};", arch=90)


_SIZE = "{.reg .pred p; .reg .b32 t; and.b32 t, $2, $3; setp.eq.b32 p, t, $3; selp.b32 t, %d, 0, p; %s}"

OPS: Table = {
    # -- who and where ------------------------------------------------------------------------------
    "tid_x": _register("tid.x"),
    "ctaid_x": _register("ctaid.x"),
    "ctaid_y": _register("ctaid.y"),
    "ctaid_z": _register("ctaid.z"),
    "nctaid_x": _register("nctaid.x"),
    "nctaid_z": _register("nctaid.z"),
    "cluster_ctarank": Op("mov.u32 $0, %cluster_ctarank;", "u32", pure=True, arch=90),
    "warp_uniform": Op("shfl.sync.idx.b32 $0, $1, 0, 0x1f, -1;", "u32", "u32", memory=False),
    "elect": Op(
        "{.reg .pred p; elect.sync _|p, 0xffffffff; selp.b32 $0, 1, 0, p;}", "u32", memory=False, arch=90
    ),
    # -- integers: a volatile move stops the compiler from computing an address again in every turn ---
    "opaque": Op("mov.b32 $0, $1;", "u32", "u32", memory=False),
    # n / d as (n * multiplier >> 32) >> shift, see problem.magic; multiplier 0 stands for d = 1
    "divide": Op(
        "{.reg .pred p; .reg .b32 t; mul.hi.u32 t, $1, $2; shr.u32 t, t, $3; setp.eq.u32 p, $2, 0; "
        "selp.b32 $0, $1, t, p;}",
        "u32",
        "u32*3",
        pure=True,
    ),
    "less": Op("{.reg .pred p; setp.lt.u32 p, $1, $2; selp.b32 $0, 1, 0, p;}", "u32", "u32 u32", pure=True),
    "choose": Op(  # the second operand where the first is nonzero, else the third
        "{.reg .pred p; setp.ne.b32 p, $1, 0; selp.b32 $0, $2, $3, p;}", "u32", "u32*3", pure=True
    ),
    "multiply_wide": Op("mul.wide.u32 $0, $1, $2;", "u64", "u32 u32", pure=True),
    # -- barriers -----------------------------------------------------------------------------------
    "syncthreads": Op("bar.sync 0;"),
    "bar_sync": _bar_sync,
    "syncwarp": Op("bar.warp.sync 0xffffffff;"),
    "griddepcontrol_wait": Op("griddepcontrol.wait;", arch=90),
    "griddepcontrol_launch": Op("griddepcontrol.launch_dependents;", arch=90),
    # -- global memory ------------------------------------------------------------------------------
    "load4_if": _load_if("global.nc", "u32", 4),
    "load4f_if": _load_if("global.nc", "f32", 4),
    "load2_if": _load_if("global.nc", "u32", 2),
    # what an earlier kernel, perhaps still running, writes must not come through the read-only path
    "load4_written_if": _load_if("global", "u32", 4),
    "store4_if": Op(_when(5, "st.global.v4.b32 [$0], {$1,$2,$3,$4};"), "", "u64 u32*4 u32"),
    "store2_if": Op(_when(3, "st.global.v2.b32 [$0], {$1,$2};"), "", "u64 u32*2 u32"),
    "red_add_f32": Op("red.global.add.f32 [$0], $1;", "", "u64 f32"),
    "red_add_f32x4": Op("red.global.add.v4.f32 [$0], {$1,$2,$3,$4};", "", "u64 f32*4", arch=90),
    # -- shared memory ------------------------------------------------------------------------------
    "load_shared4": Op("ld.shared.v4.b32 {$0,$1,$2,$3}, [$4];", "u32*4", "u32"),
    "store_shared2": Op("st.shared.v2.b32 [$0], {$1,$2};", "", "u32*3"),
    # -- cp.async: to shared, from global; zeros unless all bits of the last operand are in the mask
    "async16": Op(
        _SIZE % (16, "cp.async.cg.shared.global.L2::128B [$0], [$1], 16, t;"), "", "u32 u64 u32 u32"
    ),
    "async8": Op(_SIZE % (8, "cp.async.ca.shared.global [$0], [$1], 8, t;"), "", "u32 u64 u32 u32"),
    "async4": Op(_SIZE % (4, "cp.async.ca.shared.global [$0], [$1], 4, t;"), "", "u32 u64 u32 u32"),
    "async_commit": Op("cp.async.commit_group;"),
    "async_wait": _async_wait,
    "async_mbarrier_arrive": Op("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [$0];", "", "u32"),
    # -- matrices of 8 x 16 bytes: each lane names one row, gets 4 bytes of one row of each ---------
    "ldmatrix2": Op("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {$0,$1}, [$2];", "u32*2", "u32"),
    "ldmatrix4": Op("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4];", "u32*4", "u32"),
    "ldmatrix4_trans": Op(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0,$1,$2,$3}, [$4];", "u32*4", "u32"
    ),
    "stmatrix4": Op("stmatrix.sync.aligned.m8n8.x4.shared.b16 [$0], {$1,$2,$3,$4};", "", "u32*5", arch=90),
    "mma_f16": _matrix("m16n8k16", "f32.f16.f16.f32"),
    "mma_bf16": _matrix("m16n8k16", "f32.bf16.bf16.f32"),
    "mma_tf32": _matrix("m16n8k8", "f32.tf32.tf32.f32"),
    "mma_s8": _matrix("m16n8k32", "satfinite.s32.s8.s8.s32", "i32"),
    "dp4a": Op("dp4a.s32.s32 $0, $1, $2, $3;", "i32", "u32 u32 i32", pure=True),
    # -- floating point -----------------------------------------------------------------------------
    "to_f16x2": Op("cvt.rn.f16x2.f32 $0, $2, $1;", "u32", "f32 f32", pure=True),  # first operand: low half
    "to_bf16x2": Op("cvt.rn.bf16x2.f32 $0, $2, $1;", "u32", "f32 f32", pure=True),
    "to_tf32": Op("cvt.rna.tf32.f32 $0, $1;", "u32", "f32", pure=True),
    "to_s8x4": Op(  # to the even one of two, saturated; the first operand becomes the lowest byte
        "{.reg .s32 a,b,c,d; .reg .b32 t; cvt.rni.s32.f32 a, $1; cvt.rni.s32.f32 b, $2; "
        "cvt.rni.s32.f32 c, $3; cvt.rni.s32.f32 d, $4; "
        "cvt.pack.sat.s8.s32.b32 t, d, c, 0; cvt.pack.sat.s8.s32.b32 $0, b, a, t;}",
        "u32",
        "f32*4",
        pure=True,
    ),
    "from_f16x2": Op(
        "{.reg .b16 l,h; mov.b32 {l,h}, $2; cvt.f32.f16 $0, l; cvt.f32.f16 $1, h;}", "f32*2", "u32", pure=True
    ),
    "from_s8x4": Op(
        "{.reg .s32 t; bfe.s32 t, $4, 0, 8; cvt.rn.f32.s32 $0, t; bfe.s32 t, $4, 8, 8; cvt.rn.f32.s32 $1, t; "
        "bfe.s32 t, $4, 16, 8; cvt.rn.f32.s32 $2, t; bfe.s32 t, $4, 24, 8; cvt.rn.f32.s32 $3, t;}",
        "f32*4",
        "u32",
        pure=True,
    ),
    "max": Op("max.NaN.f32 $0, $1, $2;", "f32", "f32 f32", pure=True),
    "min": Op("min.NaN.f32 $0, $1, $2;", "f32", "f32 f32", pure=True),
    "exp2_approx": Op("ex2.approx.ftz.f32 $0, $1;", "f32", "f32", pure=True),  # 2 ulp
    "reciprocal_approx": Op("rcp.approx.ftz.f32 $0, $1;", "f32", "f32", pure=True),  # 1 ulp
    # -- mbarrier -----------------------------------------------------------------------------------
    "mbarrier_init_if": Op(_when(2, "mbarrier.init.shared::cta.b64 [$0], $1;"), "", "u32*3", arch=90),
    "mbarrier_arrive_if": Op(_when(1, "mbarrier.arrive.shared::cta.b64 _, [$0];"), "", "u32*2", arch=90),
    "mbarrier_expect_if": Op(  # arrives, and the phase ends only when that many bytes have come too
        _when(2, "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;"), "", "u32*3", arch=90
    ),
    "mbarrier_wait": Op(  # until the phase of this parity has ended; ${:uid} is unique where LLVM copies it
        "{.reg .pred p; WAIT_${:uid}: mbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1; "
        "@!p bra WAIT_${:uid};}",
        "",
        "u32 u32",
        arch=90,
    ),
    "fence_mbarrier_init": Op("fence.mbarrier_init.release.cluster;", arch=90),
    "fence_proxy_async": Op("fence.proxy.async.shared::cta;", arch=90),
    "cluster_arrive": Op("barrier.cluster.arrive.aligned;", arch=90),
    "cluster_wait": Op("barrier.cluster.wait.aligned;", arch=90),
    # -- TMA and wgmma ------------------------------------------------------------------------------
    "prefetch_map_if": Op(_when(1, "prefetch.tensormap [$0];"), "", "u64 u32", arch=90),
    "tma_load": _tma,
    "tma_im2col": _tma_im2col(),
    "tma_store": _tma_store,
    "bulk_commit": Op("cp.async.bulk.commit_group;", arch=90),
    "bulk_wait_read": _bulk_wait_read,
    "wgmma_accumulators": _accumulators,
    "wgmma": _wgmma,
    "wgmma_registers": _wgmma_registers,
    "wgmma_result": _accumulated,
    "wgmma_fence": Op("wgmma.fence.sync.aligned;", arch=90),
    "wgmma_commit": Op("wgmma.commit_group.sync.aligned;", arch=90),
    "wgmma_wait": _wgmma_wait,
    "setmaxnreg_inc": _registers("inc"),
    "setmaxnreg_dec": _registers("dec"),
}
"""Name -> instruction, or function of immediates that gives one."""
