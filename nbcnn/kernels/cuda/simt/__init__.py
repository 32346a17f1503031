"""Plain Numba kernels: each module's ``make...(**constants)`` gives one; its records name it as a `Simt`.

They compute in float32 whatever lies in memory; `nbcnn.kernels.cuda.simt.memory` converts.
"""
