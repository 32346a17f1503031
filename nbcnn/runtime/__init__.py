"""Runs callables on buffers: code cache, step driver, threads. Knows no graphs and no ops."""
