"""nbcnn as a backend of the onnx package: what its test suite, and tools written for any backend, drive.

    import onnx, nbcnn.onnx_backend as backend
    outputs = backend.prepare(onnx.load("model.onnx")).run([image])

A program is compiled for what a model fixes. Inputs that decide shapes or stand where weights do (the shape
of a Reshape, the filters of a Conv) are constants of a program: for each value that they take, and each
size of an open extent other than the batch, there is one program, of which the last few are kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from nbcnn.errors import InputError, OptionError
from nbcnn.frontends.onnx import importer, signature
from nbcnn.frontends.onnx.importer import NotConstant
from nbcnn.ir.graph import Graph
from nbcnn.lower.build import compile_graph
from nbcnn.lower.model import Model
from nbcnn.options import CompileOptions
from nbcnn.passes import Pipeline, runner

PROGRAMS = 8
"""How many programs a model keeps."""


class NbcnnRep(BackendRep):
    """A model ready to run; ``options`` are the fields of CompileOptions."""

    def __init__(self, model: onnx.ModelProto, passes: str, options: CompileOptions) -> None:
        self._model, self._passes, self._options = model, passes, options
        self._inputs = signature.declared(model)
        self._outputs = [o.name for o in model.graph.output]
        self._fixed: tuple[str, ...] = ()
        self._programs: OrderedDict[Any, Model] = OrderedDict()
        if not signature.open_extents(self._inputs):
            try:
                self._program({}, {})
            except NotConstant as error:
                self._fix(error)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs in the order of the graph; ``inputs`` by name, in order, or the only one."""
        arrays = self._arrays(inputs)
        shapes = signature.extents_of(self._inputs, {k: a.shape for k, a in arrays.items()})
        while True:
            fixed = {k: arrays[k] for k in self._fixed}
            try:
                program = self._program(fixed, shapes)
                break
            except NotConstant as error:
                self._fix(error)
        found = program.run({k: a for k, a in arrays.items() if k in program.graph.inputs})
        return namedtupledict("Outputs", self._outputs)(*(found[name] for name in self._outputs))

    def _arrays(self, inputs: Any) -> dict[str, np.ndarray]:
        names = list(self._inputs)
        if not isinstance(inputs, Mapping):
            listed = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
            if len(listed) != len(names):
                raise InputError(f"the model takes {len(names)} inputs, got {len(listed)}")
            inputs = dict(zip(names, listed, strict=True))
        if missing := [n for n in names if n not in inputs]:
            raise InputError(f"input '{missing[0]}' is missing")
        return {n: np.asarray(inputs[n]) for n in names}

    def _fix(self, error: NotConstant) -> None:
        """Note further inputs as constants of each program."""
        if not error.inputs - set(self._fixed):
            raise error
        self._fixed = tuple(sorted({*self._fixed, *error.inputs}))

    def _program(self, fixed: Mapping[str, np.ndarray], shapes: Mapping[str, int]) -> Model:
        key = (tuple(sorted(shapes.items())), tuple(_digest(a) for a in fixed.values()))
        if key not in self._programs:
            graph = importer.load(self._model, shapes=shapes, constants=fixed)
            if inputs := _inputs_as_weights(graph):
                raise NotConstant("inputs stand where weights do", inputs=inputs)
            optimised = runner.optimize(graph, Pipeline.of(self._passes, {}))
            self._programs[key] = compile_graph(optimised, self._options)
            while len(self._programs) > PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key]


class NbcnnBackend(Backend):
    """The interface of `onnx.backend.base`; every method takes ``device="CPU"``."""

    @classmethod
    def prepare(
        cls, model: onnx.ModelProto, device: str = "CPU", *, passes: str = "default", **kwargs: Any
    ) -> NbcnnRep:
        """Compile ``model``; ``kwargs`` are options of `nbcnn.compile`. Raises NbcnnError."""
        if not cls.supports_device(device):
            raise OptionError(f"unknown device '{device}'; expected CPU")
        return NbcnnRep(model, passes, CompileOptions.of(**kwargs))

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The results of one node; ``opset_version`` may be given, the newest is taken else."""
        opset = int(kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        names = [name for name in node.input if name]
        if not isinstance(inputs, Mapping):
            inputs = dict(zip(names, [inputs] if isinstance(inputs, np.ndarray) else inputs, strict=True))
        arrays = {name: np.asarray(inputs[name]) for name in names}
        infos = [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in arrays.items()
        ]
        outputs = [onnx.helper.make_empty_tensor_value_info(o) for o in node.output if o]
        graph = onnx.helper.make_graph([node], "node", infos, outputs)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
        return cls.prepare(model, device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether ``device`` is the CPU."""
        return device.split(":")[0] == "CPU"


def _digest(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    content = np.ascontiguousarray(array)
    return array.dtype.str, array.shape, hashlib.sha256(content.tobytes()).digest()


def _inputs_as_weights(graph: Graph) -> set[str]:
    """The inputs that weights are or are computed from."""
    found: set[str] = set()
    seen: set[str] = set()
    pending = [v for node in graph.nodes for v in node.weights if not graph.is_weight(v)]
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        if graph.is_input(value):
            found.add(value)
        elif node := graph.producer(value):
            pending += [v for v in node.inputs if not graph.is_weight(v)]
    return found


is_compatible = NbcnnBackend.is_compatible
prepare = NbcnnBackend.prepare
run_model = NbcnnBackend.run_model
run_node = NbcnnBackend.run_node
supports_device = NbcnnBackend.supports_device
