"""What `simple_kernels` names."""

from numba import cuda, float32

from nbcnn.kernels.cuda.simt.memory import reader, writer


def make_scale(KIND):
    read, write = reader(KIND), writer(KIND)

    def kernel(x, factor, y, n):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            write(y, i, factor * read(x, i))

    return kernel


def make_narrow(KIND):
    write = writer(KIND)

    def kernel(x, y, n):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            write(y, i, x[i])

    return kernel


def make_widen(KIND):
    read = reader(KIND)

    def kernel(x, y, n):
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            y[i] = read(x, i)

    return kernel


def make_store_at():
    def kernel(x, index):
        if cuda.grid(1) == 0:
            x[index] = float32(1)

    return kernel


def make_reverse_blocks(BARRIER):
    def kernel(x, y):
        shared = cuda.shared.array(4, float32)
        me = cuda.threadIdx.x
        shared[me] = x[cuda.grid(1)]
        if BARRIER:
            cuda.syncthreads()
        y[cuda.grid(1)] = shared[3 - me]

    return kernel
