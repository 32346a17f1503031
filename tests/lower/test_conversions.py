"""What conversions are taken to cost: estimated or measured, as the kernels beside them are."""

from __future__ import annotations

import pytest

from nbcnn.ir import TensorType
from nbcnn.kernels.base import Site
from nbcnn.kernels.cpu import kernels
from nbcnn.lower import assign, conversions
from nbcnn.lower.select import Contest, Offer
from nbcnn.ops.activation import Relu
from nbcnn.options import CompileOptions
from nbcnn.runtime import store
from nbcnn.target import detect

TYPE = TensorType(("N", 64, 8, 8))
OPTIONS = CompileOptions(threads=1)


@pytest.fixture
def kept(monkeypatch) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    real = store.read
    monkeypatch.setattr(
        store, "read", lambda name, key: found.get(key) if name == "trial" else real(name, key)
    )
    monkeypatch.setattr(store, "write", lambda name, key, payload: found.update({key: payload}))
    return found


def contest(kernel: str, measured: bool) -> Contest:
    site = Site("a", Relu(), ("x",), (), ("a",), (TYPE,), (TYPE,))
    (record,) = [k for k in kernels() if k.name == kernel]
    return Contest(site, (Offer(record, 1e-6, measured),), ())


@pytest.mark.parametrize("kernel, measured", [("unary", True), ("planes_unary", False)])
def test_estimated_beside_estimates_and_where_all_lie_as_pixels(kernel: str, measured: bool, kept) -> None:
    assert conversions.seconds([contest(kernel, measured)], detect(), OPTIONS) is assign.estimated
    assert not kept


def test_measured_once_beside_kernels_that_were(kept, monkeypatch) -> None:
    contests = [contest("planes_unary", True)]
    first = conversions.seconds(contests, detect(), OPTIONS)
    assert len(kept) == 1
    monkeypatch.setattr(conversions, "timed_steps", lambda *_: pytest.fail("they were timed again"))
    again = conversions.seconds(contests, detect(), OPTIONS)
    sizes = [1 << power for power in range(8, 26)]
    assert [first(n) for n in sizes] == [again(n) for n in sizes]
    assert all(0 < first(n) < 1 for n in sizes)
    with pytest.raises(pytest.fail.Exception):
        conversions.seconds(contests, detect(), CompileOptions(threads=2))


def test_between_sizes_and_beyond(kept, monkeypatch) -> None:
    bytes_of = [type_.nbytes() for type_ in conversions.SIZES]
    monkeypatch.setattr(conversions, "timed_steps", lambda *_: [[(1e-9 * n, 3e-9 * n)] for n in bytes_of])
    found = conversions.seconds([contest("planes_unary", True)], detect(), OPTIONS)
    for nbytes in (bytes_of[0], bytes_of[1] + 4000, bytes_of[-1], 3 * bytes_of[-1]):
        assert found(nbytes) == pytest.approx(1e-9 * nbytes)
