"""Kernels for NVIDIA GPUs: configurations (`shapes`, `configs`), host side, device code (`code`).

Device code is written against instruction tables (`nbcnn.runtime.ptx`) and imports no compiler.
"""
