"""ncnn as a row of the bench: float32, Winograd, packed layouts, on what pnnx makes of the ONNX file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn.bench.engines import Arrays, Task
from nbcnn.bench.engines.onnx_file import call, describe

NARROWER = (
    *("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage"),
    *("use_int8_inference", "use_vulkan_compute"),
)
"""Options that would make it something else than float32 on the CPU; all others keep their defaults."""

_KINDS = {"float32": "f32", "int32": "i32", "int64": "i64"}


class Ncnn:
    """ncnn's extractor. It knows no batch: the images of one run one after the other."""

    precision = "float32"

    def __init__(self, task: Task) -> None:
        import ncnn

        self.version = ncnn.__version__
        self._ncnn, self._task = ncnn, task
        self._file = describe(task.onnx)

    def compile(self, inputs: Arrays) -> None:
        """Convert too: pnnx wants the shapes."""
        ncnn, folder = self._ncnn, Path(self._task.folder)
        ordered = [inputs[name] for name in self._file.inputs]
        self._convert(ordered)
        self._net = ncnn.Net()
        self._net.opt.num_threads = self._task.threads
        for option in NARROWER:
            if hasattr(self._net.opt, option):
                setattr(self._net.opt, option, False)
        for load, suffix in ((self._net.load_param, "param"), (self._net.load_model, "bin")):
            if load(str(folder / f"ncnn.{suffix}")):
                raise RuntimeError("ncnn cannot read what pnnx made of the model")
        self._images = [
            [ncnn.Mat(np.ascontiguousarray(x[i])).clone() for x in ordered] for i in range(len(ordered[0]))
        ]

    def _convert(self, ordered: list[np.ndarray]) -> None:
        package = importlib.util.find_spec("pnnx")
        assert package is not None and package.origin is not None
        program = Path(package.origin).with_name("pnnx.exe" if sys.platform == "win32" else "pnnx")
        shapes = ",".join(
            f"[{','.join(map(str, (1, *x.shape[1:])))}]{_KINDS.get(x.dtype.name, 'f32')}" for x in ordered
        )
        files = [f"ncnn{suffix}=ncnn.{suffix}" for suffix in ("param", "bin")]
        words = [self._task.onnx.name, f"inputshape={shapes}", "fp16=0", *files]
        call([str(program), *words], Path(self._task.folder))

    def run(self) -> Any:
        return [self._one(image) for image in self._images]

    def _one(self, image: list[Any]) -> list[Any]:
        extractor = self._net.create_extractor()
        for i, x in enumerate(image):
            extractor.input(f"in{i}", x)
        return [extractor.extract(f"out{i}")[1] for i in range(len(self._file.outputs))]

    def read(self, result: Any) -> Arrays:
        by_output = zip(*result, strict=True)
        return {
            name: np.stack([np.array(y) for y in images])
            for name, images in zip(self._file.outputs, by_output, strict=True)
        }
