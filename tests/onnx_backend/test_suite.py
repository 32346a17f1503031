"""The public test suite of the onnx package, as it ships, on our backend."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from exclusions import EXCLUDED
from families import family

backend_test = pytest.importorskip("onnx.backend.test")
NbcnnBackend: Any = pytest.importorskip("nbcnn.onnx_backend").NbcnnBackend

CLASSES = {
    "OnnxBackendNodeModelTest": "operators",
    "OnnxBackendRealModelTest": "real networks",
    "OnnxBackendSimpleModelTest": "simple models",
    "OnnxBackendPyTorchConvertedModelTest": "converted from PyTorch",
    "OnnxBackendPyTorchOperatorModelTest": "operators of PyTorch",
}


class Watched(NbcnnBackend):
    """Remembers what it was given last."""

    latest: ClassVar[Any] = None

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Any:
        cls.latest = model
        return super().prepare(model, device, **kwargs)


suite = backend_test.BackendTest(Watched, __name__)
NAMES = [name for items in suite._test_items.values() for name in items]
for pattern, _ in EXCLUDED:
    suite.exclude(pattern)
globals().update(suite.test_cases)


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Notes the family of a case; what runs through the reference says so, and need not here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no kernel yet")
        Watched.latest = None
        yield
    if Watched.latest is not None:
        found = CLASSES[request.cls.__name__]
        if found == "operators":
            expanded = "_expanded" in request.node.name
            found = "operators: " + ("written out" if expanded else family(Watched.latest))
        request.node.user_properties.append(("family", found))


@pytest.fixture(autouse=True, scope="session")
def _no_files_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The suite writes the inputs and outputs of real networks to a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNX_HOME", str(tmp_path_factory.mktemp("onnx")))
        yield


@pytest.mark.parametrize("pattern", [p for p, _ in EXCLUDED])
def test_every_exclusion_matches_a_case(pattern: str) -> None:
    assert any(re.search(pattern, name) for name in NAMES)
