"""Kernels for NVIDIA GPUs, in two tiers, and the records that lowering chooses from.

``code`` holds the tensor-core tier, written against instruction tables (`nbcnn.runtime.cuda.ptx`) and
proved by an emulator (tests/kernels/cuda): `shapes` and `configs` say what there is, `problem` and
`packing` are the host's side. ``simt`` holds plain Numba kernels for everything else, which run in Numba's
simulator too.
"""
