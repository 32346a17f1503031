"""The command line: one file per verb, which parses and prints; the work is done below."""

from nbcnn.cli.app import main

__all__ = ["main"]
