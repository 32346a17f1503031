"""What a device function is built for: data type, tile, epilogue. Frozen records that know their own
name, threads, shared memory and parameters; the table of those in use is `nbcnn.kernels.cuda.configs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CODE = "nbcnn.kernels.cuda.code"


@dataclass(frozen=True)
class Kind:
    """A data type in memory and how it is multiplied.

    ``size`` in bytes, of inputs and outputs alike; ``mma`` names the instruction, ``depth`` is how
    many channels one of them sums; ``whole`` tells integers from floating point.
    """

    size: int
    mma: str
    depth: int
    whole: bool = False


KINDS = {
    "f16": Kind(2, "mma_f16", 16),
    "bf16": Kind(2, "mma_bf16", 16),
    "tf32": Kind(4, "mma_tf32", 8),  # float32 in memory, rounded to 11 significant bits for the product
    "f32": Kind(4, "mma_tf32", 8),  # float32 by three TF32 products each
    "s8": Kind(1, "mma_s8", 32, whole=True),  # scaled per filter, symmetric
}

ACTIVATIONS = (
    *("none", "relu", "clamp", "leaky_relu", "sigmoid", "hard_sigmoid", "silu", "hard_swish"),
    *("tanh", "elu", "selu", "gelu", "gelu_tanh", "mish"),
)
RESIDUALS = ("none", "before", "after")
"""A residual is added nowhere, before the activation, or after it."""


@dataclass(frozen=True)
class Epilogue:
    """What happens to a sum before it is stored: + bias, + residual, activation (all in float32)."""

    activation: str = "none"
    residual: str = "none"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS or self.residual not in RESIDUALS:
            raise ValueError(f"no epilogue {self.activation!r} with residual {self.residual!r}")

    @property
    def label(self) -> str:
        """A word for names: ``""``, ``_relu``, ``_relu_res``, ``_silu_resafter``."""
        act = "" if self.activation == "none" else f"_{self.activation}"
        return act + {"none": "", "before": "_res", "after": "_resafter"}[self.residual]


_POINTERS = ("x", "w", "bias", "scale", "residual", "out")
_IMAGE = ("H", "W", "C", "K", "R", "S", "P", "Q", "M")
_WINDOW = ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w")
_PITCHES = ("x_pitch", "w_pitch", "residual_pitch", "out_pitch")
_FLOATS = ("a", "b", "residual_scale", "out_scale")


def _params(**codes: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, code) for code, names in codes.items() for name in names)


def _divisor(name: str) -> tuple[str, str]:
    return f"{name}_multiplier", f"{name}_shift"


@dataclass(frozen=True)
class ConvMma:
    """Implicit GEMM on ``mma.sync``: M = pixels, N = filters, K = taps x channels; compute capability 8.0 on.

    A block computes ``bm x bn`` of the result in steps of ``bk`` along K, a warp ``wm x wn``, with
    ``stages`` steps of cp.async in flight. ``pixels4`` reads pixels of 4 channels (first layers), ``split``
    writes partial sums for `SplitReduce` and has then no epilogue. ``blocks`` on a multiprocessor at once.
    """

    kind: str
    bm: int
    bn: int
    bk: int
    wm: int
    wn: int
    stages: int
    blocks: int = 1
    epilogue: Epilogue = field(default_factory=Epilogue)
    split: bool = False
    pixels4: bool = False
    arch: int = 80

    factory = f"{CODE}.conv_mma:make"
    params = _params(
        u64=_POINTERS,
        u32=(
            *(*_IMAGE, *_WINDOW, *_PITCHES, "n_tiles", "k_tiles"),
            *(*_divisor("n_tiles"), *_divisor("PQ"), *_divisor("Q"), *_divisor("S")),
        ),
        f32=_FLOATS,
    )

    def __post_init__(self) -> None:
        if (
            self.row_bytes not in (64, 128)
            or self.bm % self.wm
            or self.bn % self.wn
            or self.wn not in (32, 64)
        ):
            raise ValueError(
                f"no tile {self.bm}x{self.bn}x{self.bk} of {self.kind} in warps of {self.wm}x{self.wn}"
            )
        if self.split and self.epilogue != Epilogue():
            raise ValueError("partial sums take no epilogue: give it to the reduction")

    @property
    def name(self) -> str:
        extra = ("_c4" if self.pixels4 else "") + ("_split" if self.split else "")
        warps = f"w{self.wm}x{self.wn}s{self.stages}"
        tile = f"{self.bm}x{self.bn}x{self.bk}_{warps}"
        return f"{self.kind}_conv_mma_{tile}{extra}{self.epilogue.label}__sm{self.arch}"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row (a pixel, a filter) of one step in shared memory."""
        return self.bk * KINDS[self.kind].size

    @property
    def threads(self) -> int:
        return 32 * (self.bm // self.wm) * (self.bn // self.wn)

    @property
    def smem(self) -> int:
        """Dynamic shared memory: the pipeline, which the epilogue uses again."""
        return max(self.stages * (self.bm + self.bn) * self.row_bytes, self.threads // 32 * 16 * self.wn * 4)

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return capability >= (8, 0)


@dataclass(frozen=True)
class ConvWgmma:
    """Implicit GEMM on TMA and ``wgmma``: persistent, one producer warp, ``consumers`` warpgroups (9.0a).

    A step is 128 bytes of channels. f32 multiplies thrice (`conv_wgmma_f32`) and reads filters in two
    parts. ``blocks`` is 1: the pipeline fills the shared memory.
    """

    kind: str
    bm: int
    bn: int
    stages: int
    consumers: int = 2
    im2col: bool = True
    epilogue: Epilogue = field(default_factory=Epilogue)
    blocks: int = 1
    arch: int = 90

    params = _params(
        map=("x", "w"),
        u64=("bias", "scale", "residual", "out"),
        u32=(
            *("C", "K", "R", "S", "P", "Q", "M", *_WINDOW, "residual_pitch", "out_pitch", "tiles", "n_tiles"),
            *(*_divisor("n_tiles"), *_divisor("PQ"), *_divisor("Q")),
        ),
        f32=_FLOATS,
    )

    def __post_init__(self) -> None:
        tall, rest = divmod(self.bm, 64 * self.consumers)
        if rest or self.bn % 64 or self.consumers not in (2, 3) or (self.kind == "f32" and tall > 1):
            raise ValueError(
                f"no wgmma tile {self.bm}x{self.bn} of {self.kind} for {self.consumers} warpgroups"
            )

    @property
    def name(self) -> str:
        how = "im2col" if self.im2col else "1x1"
        tile = f"{self.bm}x{self.bn}x{self.bk}_c{self.consumers}s{self.stages}"
        return f"{self.kind}_conv_wgmma_{tile}_{how}{self.epilogue.label}__sm{self.arch}a"

    @property
    def bk(self) -> int:
        return 128 // KINDS[self.kind].size

    @property
    def factory(self) -> str:
        return f"{CODE}.conv_wgmma{'_f32' if self.kind == 'f32' else ''}:make"

    @property
    def parts(self) -> int:
        """How many terms the filters are split into."""
        return 2 if self.kind == "f32" else 1

    @property
    def stage_bytes(self) -> int:
        return (self.bm + self.bn * self.parts) * 128

    @property
    def staging(self) -> int:
        """Where the epilogue's memory begins: 16 rows of 64 float32 for each warp of the consumers."""
        return self.stages * self.stage_bytes

    @property
    def barriers(self) -> int:
        """Where the barriers begin: two a stage, 8 bytes each."""
        return self.staging + self.consumers * 4 * 16 * 64 * 4

    @property
    def threads(self) -> int:
        return 128 * (self.consumers + 1)

    @property
    def smem(self) -> int:
        """Pipeline, staging of the epilogue, barriers."""
        return self.barriers + 16 * self.stages

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return capability == (9, 0)


@dataclass(frozen=True)
class SplitReduce:
    """Adds the partial sums of a split convolution in the order of the splits, then the epilogue."""

    kind: str
    epilogue: Epilogue = field(default_factory=Epilogue)
    threads: int = 256
    blocks: int = 4
    smem: int = 0
    arch: int = 80

    factory = f"{CODE}.split_reduce:make"
    params = _params(
        u64=("partial", "bias", "scale", "residual", "out"),
        u32=(
            "M",
            "K",
            "splits",
            "partial_pitch",
            "residual_pitch",
            "out_pitch",
            "vectors",
            *_divisor("vectors"),
        ),
        f32=_FLOATS,
    )

    @property
    def name(self) -> str:
        return f"{self.kind}_split_reduce{self.epilogue.label}__sm{self.arch}"

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return capability >= (8, 0)


@dataclass(frozen=True)
class Depthwise:
    """Depthwise convolution: a thread computes ``width`` neighbouring pixels of 16 bytes of channels."""

    kind: str
    r: int
    s: int
    stride: int = 1
    dilation: int = 1
    width: int = 4
    epilogue: Epilogue = field(default_factory=Epilogue)
    threads: int = 128
    blocks: int = 4
    smem: int = 0
    arch: int = 80

    factory = f"{CODE}.depthwise:make"
    params = _params(
        u64=_POINTERS,
        u32=(
            *("H", "W", "C", "P", "Q", "M", "stride_h", "pad_h", "pad_w", "dilation_h"),
            *("x_pitch", "w_pitch", "residual_pitch", "out_pitch", "vectors", "strips", "total"),
            *(*_divisor("vectors"), *_divisor("strips"), *_divisor("P")),
        ),
        f32=_FLOATS,
    )

    def __post_init__(self) -> None:
        if self.kind == "tf32":
            raise ValueError("no depthwise kernel for tf32: it would multiply float32 as f32 does")

    @property
    def name(self) -> str:
        step = f"s{self.stride}" + (f"d{self.dilation}" if self.dilation > 1 else "")
        return (
            f"{self.kind}_depthwise_{self.r}x{self.s}{step}_w{self.width}{self.epilogue.label}__sm{self.arch}"
        )

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return capability >= (8, 0)


Config = ConvMma | ConvWgmma | SplitReduce | Depthwise
