"""A plain kernel with arrays and numbers of every type."""

from nbcnn.runtime.cuda.simt import Simt

ARRAYS = Simt(
    "arrays__simt",
    "arrays_kernel:make",
    (),
    (
        ("x", "f32[]"),
        ("n", "i32"),
        ("f", "f32"),
        ("y", "f16[]"),
        ("z", "bf16[]"),
        ("i", "i64[]"),
        ("u", "u32"),
    ),
)


def make():
    from numba import cuda, float32

    def kernel(x, n, f, y, z, i, u):
        for k in range(cuda.grid(1), n, cuda.gridsize(1)):
            x[k] = f * float32(i[k] + u)
            z[k] = z[k + 1]

    return kernel
