"""Kernels for NVIDIA GPUs on tensor cores: `shapes` and `configs` (what there is), `problem`, `packing` and
`maps` (the host's side), `code` (the device's). Nothing in lowering uses them yet, and none has run on a GPU:
they are proved by an emulator (tests/kernels/cuda) and by what the assembler reports
(benchmarks/results/cuda_configs.md).

Device code is written against instruction tables (`nbcnn.runtime.ptx`) and imports no compiler;
`nbcnn.runtime.cubin` builds and keeps it. To run a convolution: choose a configuration, ``cubin.load`` it
for the device, pack the weights, give ``problem.launch`` the addresses, encode its maps for the driver
and start ``Cubin.entry`` with ``Launch.args`` in their order, ``config.threads`` to a block,
``config.smem`` bytes of dynamic shared memory.
"""
