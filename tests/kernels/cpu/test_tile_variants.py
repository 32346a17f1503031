"""Tiles that tuning tries: within the registers, with little waste, never the one that the rules take."""

from __future__ import annotations

import pytest

from nbcnn.kernels.cpu import tile_variants
from nbcnn.kernels.cpu.tiles import choose_tile

MACHINES = [(16, 32), (8, 16), (4, 16), (4, 32)]


@pytest.mark.parametrize("lanes,registers", MACHINES)
@pytest.mark.parametrize("rows", [1, 4, 49, 196, 3025, 12544])
@pytest.mark.parametrize("n", [1, 16, 24, 64, 144, 1000])
def test_they_fit_and_waste_little(rows: int, n: int, lanes: int, registers: int) -> None:
    chosen = choose_tile(rows, n, 64, 9, lanes, registers)
    found = tile_variants.tiles(rows, n, 64, 9, lanes, registers)
    assert len(set(found)) == len(found) and chosen not in found
    vectors = -(-n // lanes)

    def products(mr: int, nv: int, _: int) -> int:
        return -(-rows // mr) * mr * -(-vectors // nv) * nv

    fewest = min(products(*tile) for tile in (chosen, *found))
    for mr, nv, unroll in found:
        assert mr * nv + nv + 1 <= registers and nv <= vectors
        assert (mr == 1) == (rows == 1) and unroll == chosen[2]
        assert products(mr, nv, unroll) <= 1.2 * fewest


def test_a_layer_of_a_network_has_several() -> None:
    assert {tile[:2] for tile in tile_variants.tiles(784, 128, 256, 1, 16, 32)} >= {(10, 2), (14, 2), (6, 4)}


def test_one_vector_of_channels_has_no_wider_ones() -> None:
    assert {nv for _, nv, _ in tile_variants.tiles(784, 16, 256, 1, 16, 32)} == {1}
