"""Kernels: records that match a site of the graph, and (below) the compiled code they name."""
