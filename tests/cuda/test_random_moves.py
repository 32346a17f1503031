"""Random graphs of moves, through tiles in shared memory and without."""

from __future__ import annotations

import move_graphs
import pytest
from conformance import excesses
from device_graphs import coarse, compiled
from hypothesis import given, settings

from nbcnn.ir import Graph
from nbcnn.kernels.cuda import moves

MOST = 400
"""Elements of an image that the simulator is troubled with."""


@pytest.mark.parametrize("tiles", (True, False))
def test_random_moves(tiles: bool) -> None:
    @settings(max_examples=8, deadline=None)
    @given(move_graphs.move_graphs(5))
    def check(graph: Graph) -> None:
        model = compiled(graph)
        wrong = {k: e for k, e in excesses(model, coarse(graph, 2)).items() if not e <= 1}
        assert not wrong, [(c.site.name, c.kernel.name) for c in model.choices]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(move_graphs, "MOST", MOST)
        if not tiles:
            patch.setattr(moves, "_turn", lambda *_: None)
        check()
