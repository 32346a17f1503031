"""Running on NVIDIA GPUs, or on an imitation of one.

`ptx`, `emit`, `jit` and `cubin` turn kernels into machine code; `launcher` says what a device is to the
rest of nbcnn, `device` is a GPU behind its driver, `simulator` the same in host memory.
"""
