"""From an optimised graph to a program: kernels chosen, layouts decided, memory planned, steps emitted."""
