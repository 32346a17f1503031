import subprocess
import sys

import pytest

import nbcnn
from nbcnn.errors import OptionError

HEAVY = ("numba", "numpy", "pydantic", "onnx", "networkx", "yaml", "PIL")


def loaded_after(code: str) -> set[str]:
    """Which of the heavy packages ``code`` imports, in a process of its own."""
    code = f"import sys; {code}; print(*(m for m in {HEAVY} if m in sys.modules))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_importing_nbcnn_imports_nothing_heavy():
    assert loaded_after("import nbcnn, nbcnn.api, nbcnn.resources; nbcnn.load, nbcnn.NbcnnError") == set()


def test_loading_a_model_needs_no_compiler():
    assert loaded_after("import nbcnn; nbcnn.load('lenet5')") == {"numpy", "pydantic", "networkx", "yaml"}


def test_every_public_name_is_there():
    for name in nbcnn.__all__:
        assert getattr(nbcnn, name) is not None
        assert name in dir(nbcnn)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = nbcnn.laod


def test_unknown_targets():
    with pytest.raises(OptionError, match="unknown target 'gpu'"):
        nbcnn.compile(nbcnn.load("lenet5"), "gpu")
