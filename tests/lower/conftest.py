"""What tests of lowering share."""

from __future__ import annotations

import pytest

from nbcnn.runtime import store


@pytest.fixture
def cache(monkeypatch) -> dict[str, bytes]:
    """The times that are kept, by key: none at first, and none of them on disk."""
    kept: dict[str, bytes] = {}
    real_read, real_write = store.read, store.write

    def read(name: str, key: str) -> bytes | None:
        return kept.get(key) if name == "trial" else real_read(name, key)

    def write(name: str, key: str, payload: bytes) -> None:
        if name == "trial":
            kept[key] = payload
        else:
            real_write(name, key, payload)

    monkeypatch.setattr(store, "read", read)
    monkeypatch.setattr(store, "write", write)
    return kept
