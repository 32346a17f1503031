"""MNN as a row of the bench: float32 on the CPU, and its sparse kernels where they are the faster ones.

MNN picks sparse kernels when it converts a model (``--detectSparseSpeedUp``): for each convolution with
enough zeros, for zeros that stand alone (blocks of 1) unless a compression file names blocks of output
channels. Which of the three is fastest depends on the weights; each is tried, and the note tells.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from nbcnn.bench.engines import Arrays, Task
from nbcnn.bench.engines.onnx_file import call, describe

WORTH_A_TRY = 0.3
"""The least share of zeros in a weight at which MNN uses a sparse kernel, for any block."""

BLOCKS = (1, 4)
"""Blocks of output channels with kernels for x86-64; blocks of 8 run as fast as blocks of 4."""

_CONVERT = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"
# The extension itself: the wheel's command of this name reports each conversion to a server of the maker's.


class Mnn:
    """MNN's module interface on the file that its own converter makes of the ONNX file."""

    precision, note = "float32", ""

    def __init__(self, task: Task) -> None:
        self.version = import_module("MNN").version()
        self._task = task
        self._file = describe(task.onnx)
        self._models = dict(self._converted())

    def _converted(self) -> Iterator[tuple[str, Path]]:
        """What to say of a converted file, and its path."""
        folder = Path(self._task.folder)
        sparse = BLOCKS if self._file.zeros > WORTH_A_TRY else ()
        yield "dense kernels" if sparse else "", self._convert(folder / "dense.mnn")
        for block in sparse:
            blocks = folder / f"blocks{block}.bin"
            blocks.write_bytes(compression(block))
            words = ["--detectSparseSpeedUp", "--compressionParamsFile", str(blocks)]
            yield f"sparse kernels, blocks of {block}", self._convert(folder / f"sparse{block}.mnn", *words)

    def _convert(self, path: Path, *words: str) -> Path:
        files = ["--modelFile", str(self._task.onnx), "--MNNModel", str(path)]
        said = call([sys.executable, "-c", _CONVERT, "-f", "ONNX", *files, "--bizCode", "MNN", *words])
        if not path.exists():  # it ends with status 0 all the same
            raise RuntimeError(f"MNN could not convert the model: {said.strip().splitlines()[-1:]}")
        return path

    def compile(self, inputs: Arrays) -> None:
        expr = import_module("MNN.expr")
        kinds = {"f": expr.float, "i": expr.int, "u": expr.int, "b": expr.int}
        self._inputs = [
            expr.const(x, list(x.shape), expr.NCHW, kinds[x.dtype.kind])
            for x in (inputs[name] for name in self._file.inputs)
        ]
        modules = {note: self._load(path) for note, path in self._models.items()}
        self.note, self._module = min(modules.items(), key=lambda item: self._seconds(item[1]))

    def _load(self, path: Path) -> Any:
        nn = import_module("MNN.nn")  # not typed, as nothing of MNN is
        options = {"backend": "CPU", "precision": "high", "memory": "normal", "numThread": self._task.threads}
        runtime = nn.create_runtime_manager((options,))
        names = self._file.inputs, self._file.outputs
        return nn.load_module_from_file(str(path), *names, runtime_manager=runtime, shape_mutable=False)

    def _seconds(self, module: Any) -> float:
        """The fastest of a few calls."""
        if len(self._models) == 1:
            return 0.0
        times = []
        for _ in range(8):
            start = time.perf_counter()
            self._call(module)
            times.append(time.perf_counter() - start)
        return min(times)

    def _call(self, module: Any) -> list[Any]:
        return [y.read() for y in module.forward(self._inputs)]  # reading makes it compute

    def run(self) -> Any:
        return self._call(self._module)

    def read(self, result: Any) -> Arrays:
        return dict(zip(self._file.outputs, result, strict=True))


def compression(block: int) -> bytes:
    """A compression file of MNN's converter: pruned in blocks of ``block`` output channels.

    Protocol buffers, ``Pipeline{version: "0.0.0", algo: [CompressionAlgo{type: PRUNE, prune_params:
    PruneParams{type: SIMD_OC, simd_oc_pruner_params: {oc_blocks: [block]}}}]}``: a tag byte is the field's
    number times 8, plus 2 where a length and that many bytes follow.
    """

    def message(number: int, content: bytes) -> bytes:
        return bytes([number * 8 + 2, len(content)]) + content

    def prune(content: bytes) -> bytes:
        return b"\x08\x01" + message(3, content)  # field 1, the type, is 1 in both

    return message(1, b"0.0.0") + message(2, prune(prune(bytes([4 * 8, block]))))
