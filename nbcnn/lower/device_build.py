"""`compile_graph` for GPUs: an optimised graph becomes a DeviceModel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbcnn.ir.graph import Graph
from nbcnn.kernels.base import Emit, Store
from nbcnn.kernels.cuda import backend, kernels, tiles
from nbcnn.kernels.steps import DeviceStep, Way, first_way
from nbcnn.lower import assign
from nbcnn.lower.build import check_bound, planned_sizes, warn_of_references
from nbcnn.lower.device_model import DeviceModel
from nbcnn.lower.device_plan import DeviceWeights, lower
from nbcnn.lower.layout import lay_out
from nbcnn.lower.select import Choice, contests
from nbcnn.lower.stopwatch import Progress
from nbcnn.lower.taps import add_taps
from nbcnn.options import CompileOptions
from nbcnn.runtime.cuda.launcher import Launcher, open_device
from nbcnn.runtime.cuda.program import DeviceProgram
from nbcnn.target import CudaTarget

THREADS = 256
"""Of a block of a plain kernel, at most."""

CONVERTED = 2e12
"""Bytes that a conversion of layout reads and writes in a second."""


def compile_graph(
    graph: Graph,
    options: CompileOptions,
    progress: Progress | None = None,
    launcher: Launcher | None = None,
) -> DeviceModel:
    """Choose kernels for ``graph``, build those that are not kept, upload the weights, plan batch 1.

    ``launcher`` is the device (None: the one that ``options.device`` names). Raises OptionError for symbolic
    extents other than the batch, DeviceError where there is no such device or too little memory.
    """
    check_bound(graph)
    device = launcher or open_device(options.device)
    options = replace(options, threads=1, strips=False)
    target = target_of(device, options.precision)
    choices = choose(graph, target, options)
    warn_of_references(choices)
    store, weights = Store(), DeviceWeights(device)
    pick = first_way if options.tune is False else tiles.picker(device)

    def emit(batch: int, pick: tiles.Pick = pick) -> Emit[CudaTarget]:
        return Emit(batch, target, options, store, backend(), pick)

    size = planned_sizes(graph)[0]
    steps = lay_out(graph, choices, emit(size, _counted(pick, len(choices), progress))).steps
    configs = {step.kernel: None for step in steps if isinstance(step, DeviceStep)}
    for done, config in enumerate(configs):
        device.prepare(config)
        if progress:
            progress(done + 1, len(configs), "building kernels")
    program = DeviceProgram(lambda batch: lower(graph, choices, emit(batch), weights), device)
    return DeviceModel(graph, choices, program, size, 1, target)


def _counted(pick: tiles.Pick, total: int, progress: Progress | None) -> tiles.Pick:
    """``pick``, with progress: at most once for each of ``total`` nodes."""
    done = 0

    def counting(ways: Sequence[Way]) -> Sequence[DeviceStep]:
        nonlocal done
        done += 1
        if progress and len(ways) > 1:
            progress(min(done, total), total, "timing tiles")
        return pick(ways)

    return counting


def choose(graph: Graph, target: CudaTarget, options: CompileOptions) -> list[Choice]:
    """The kernel of every node, by estimates; needs no device."""
    rivals = contests(graph, kernels(), target, options)
    choices = assign.assign(rivals, lambda nbytes: 2 * nbytes / CONVERTED)
    return add_taps(graph, choices, kernels(), target, options)


def target_of(device: Launcher, precision: str) -> CudaTarget:
    """What kernels may assume of ``device``."""
    return CudaTarget(
        device.name,
        device.capability,
        device.multiprocessors,
        device.shared_memory,
        min(THREADS, device.threads),
        precision,
    )
