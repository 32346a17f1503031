"""The tile rules: few kernels a network, few wasted rows and channels, within the registers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nbcnn.kernels.cpu.tiles import choose_order, choose_share, choose_tile

MACHINES = [(16, 32), (8, 16), (4, 16), (4, 32)]


@pytest.mark.parametrize("lanes,registers", MACHINES)
def test_a_tile_fits_in_the_registers(lanes, registers):
    for rows in (1, 2, 4, 9, 16, 49, 64, 100, 196, 784, 3136, 50176):
        for n in (1, 10, 16, 24, 64, 96, 144, 1000):
            for k in (1, 3, 9, 21, 64, 2048):
                mr, nv, unroll = choose_tile(rows, n, k, 9, lanes, registers)
                assert mr * nv + nv + 1 <= registers
                assert 1 <= unroll <= 8


@pytest.mark.parametrize("rows", [49, 196, 784, 3136, 12544])
def test_imagenet_sizes_waste_few_rows(rows):
    for lanes, registers in MACHINES:
        mr, _, _ = choose_tile(rows, 256, 256, 9, lanes, registers)
        assert -(-rows // mr) * mr <= 1.07 * rows


def test_a_network_needs_few_kernels():
    sizes = [(12544, 21), (3136, 64), (784, 512), (196, 1024), (49, 2048)]
    tiles = {choose_tile(p, n, k, 1, 16, 32) for p, k in sizes for n in (64, 128, 512, 2048)}
    assert tiles == {(7, 2, 4), (7, 2, 7)}


def test_channels_waste_few_vectors():
    assert choose_tile(3136, 144, 24, 1, 16, 32) == (7, 3, 4)
    assert choose_tile(12544, 16, 32, 1, 16, 32) == (7, 1, 4)
    assert choose_tile(1, 1000, 2048, 1, 16, 32)[:2] == (1, 4)


def test_narrow_groups_share_vectors():
    assert choose_share(32, 4, 4, 16) == 4
    assert choose_share(32, 8, 8, 16) == 2
    for groups, n, k in [
        (32, 16, 16),
        (32, 32, 32),
        (6, 4, 4),
        (32, 4, 8),
        (32, 8, 4),
        (16, 1, 1),
        (8, 3, 3),
    ]:
        assert choose_share(groups, n, k, 16) == 1


def test_order():
    caches = SimpleNamespace(l2=1 << 20)
    assert choose_order(50176, 64, 64, 9, 7, 32, caches) == 1  # large input, small weights
    assert choose_order(49, 512, 512, 9, 7, 32, caches) == 0  # small input, large weights
    assert choose_order(50176, 32, 64, 9, 7, 32, caches) == 0  # one panel
