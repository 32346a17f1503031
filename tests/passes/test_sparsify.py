import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pass_checks import apply, optimized
from strategies import Builder

from nbcnn.errors import PassError
from nbcnn.ir import Sparsity
from nbcnn.ops.activation import Relu
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.passes import prune_patterns
from nbcnn.passes.sparsify import Sparsify


def one_conv(kept: np.ndarray, *, masked: bool = False, groups: int = 1):
    """A convolution whose weight is zero where ``kept`` is not, by its values or by a mask."""
    build = Builder()
    values = build.rng.normal(size=kept.shape)
    out, inside, kernel = len(kept), kept.shape[1], kept.shape[2:]
    build.weight("w", values if masked else values * kept, kept if masked else None)
    x = build.input(inside * groups, 6, 6)
    return build.graph(build("act", Relu(), build("conv", Conv2d(out, kernel, groups=groups), x, weight="w")))


def blocks(rng, out: int, block: int, *rest: int, share: float = 0.2) -> np.ndarray:
    """Which elements are kept: ``block`` outputs alike, at least one kept and one not in every block."""
    kept = rng.random((out // block, *rest)) < share
    kept[:, 0], kept[:, 1] = True, False
    return np.repeat(kept, block, axis=0)


@pytest.mark.parametrize("masked", [False, True])
def test_marks_zeros_wherever_they_come_from(rng, masked):
    kept = rng.random((6, 4, 3, 3)) < 0.25
    after, record = apply(Sparsify(), one_conv(kept, masked=masked))
    assert after.weight("w").sparsity == Sparsity(1 - kept.mean(), 1, "unstructured")
    assert (after.weight("w").mask is None) != masked
    assert [r.node for r in record.rewrites] == ["conv"]
    assert "'w' is unstructured sparse" in record.rewrites[0].what


@pytest.mark.parametrize("block", [4, 8, 16])
@pytest.mark.parametrize("shape", [(6, 3, 3), (9, 1, 1)])
def test_recognises_blocks_of_outputs(rng, block, shape):
    after, _ = apply(Sparsify(), one_conv(blocks(rng, 48, block, *shape)))
    found = after.weight("w").sparsity
    assert (found.block, found.pattern) == (block, f"1x{block}")


def test_blocks_stay_within_a_group_and_fill_the_outputs(rng):
    kept = blocks(rng, 24, 8, 5, 1, 1)
    assert prune_patterns.found(kept, groups=3).block == 8
    assert prune_patterns.found(kept, groups=2).block == 4
    assert prune_patterns.found(kept, groups=12).block == 1
    assert prune_patterns.found(np.concatenate([kept, kept[:6]])).block == 1


def test_a_weight_that_two_layers_share_has_the_groups_of_both(rng):
    build = Builder()
    build.weight("w", build.rng.normal(size=(8, 2, 1, 1)) * blocks(rng, 8, 8, 2, 1, 1))
    a = build("a", Conv2d(8, 1, bias=False), build.input(2, 4, 4), weight="w")
    b = build("b", Conv2d(8, 1, groups=2, bias=False), build.input(4, 4, 4, name="y"), weight="w")
    after, record = apply(Sparsify(), build.graph(a, b))
    assert after.weight("w").sparsity == Sparsity(0.5, 4, "1x4")
    assert len(record.rewrites) == 1


@pytest.mark.parametrize(("most", "group"), [(2, 4), (4, 8)])
def test_recognises_n_of_m_inputs(rng, most, group):
    order = rng.permuted(np.tile(np.arange(group), (12, 3, 3, 3, 1)), axis=-1)
    kept = (order < most).transpose(0, 1, 4, 2, 3).reshape(12, 3 * group, 3, 3)
    assert prune_patterns.found(kept).pattern == f"{most}:{group}"
    wrong = kept.copy()
    wrong[5, :group, 1, 1] = True
    assert prune_patterns.found(wrong).pattern == "unstructured"
    assert prune_patterns.found(kept[:, : group + 2]).pattern == "unstructured"


def test_few_elements_are_no_n_of_m_pattern(rng):
    kept = np.zeros((9, 8, 1, 1), bool)
    kept[np.arange(9), rng.integers(0, 8, 9)] = True
    assert prune_patterns.found(kept).pattern == "unstructured"


def test_recognises_whole_filters(rng):
    kept = np.ones((8, 5, 3, 3), bool)
    kept[[0, 3, 4, 5, 6]] = False
    assert prune_patterns.found(kept) == Sparsity(0.625, 1, "channel")
    kept[:] = False
    kept[:4] = True
    assert prune_patterns.found(kept) == Sparsity(0.5, 4, "channel")
    assert prune_patterns.found(np.zeros((16, 3))) == Sparsity(1.0, 16, "channel")


def test_a_stray_zero_does_not_hide_a_block_but_many_do(rng):
    kept = blocks(rng, 64, 8, 64, 3, 3)
    stray = kept.copy()
    stray[np.unravel_index(np.flatnonzero(kept)[17], kept.shape)] = False
    assert prune_patterns.found(stray).block == 8
    many = kept & (rng.random(kept.shape) < 0.9)
    assert prune_patterns.found(many).block == 1


def test_a_few_stray_zeros_are_no_pattern(rng):
    kept = np.ones((16, 16, 3, 3), bool)
    kept[3, 2, 1, 0] = kept[4, 4, 0, 0] = False
    assert prune_patterns.found(kept) == Sparsity(2 / kept.size, 1, "unstructured")
    assert prune_patterns.found(np.ones((16, 4))) == Sparsity(0, 1, "unstructured")


def test_threshold(rng):
    kept = np.arange(100).reshape(10, 10, 1, 1) % 10 < 5
    assert apply(Sparsify(), one_conv(kept))[0].weight("w").sparsity.zeros == 0.5
    assert apply(Sparsify(0.51), one_conv(kept))[1].rewrites == ()
    dense = one_conv(np.ones((4, 4, 1, 1), bool))
    assert apply(Sparsify(0.0), dense)[1].rewrites == ()
    with pytest.raises(PassError, match=r"'threshold': must be from 0 to 1, got 1\.5"):
        Sparsify(1.5)


def test_a_mark_that_no_longer_holds_is_taken_away(rng):
    graph = one_conv(rng.random((6, 4, 3, 3)) < 0.25)
    marked, _ = apply(Sparsify(), graph)
    after, record = apply(Sparsify(0.9), marked)
    assert after.weight("w").sparsity is None
    assert "no longer sparse" in record.rewrites[0].what


def test_dense_layers_and_layers_inside_fused_nodes(rng):
    build = Builder()
    kept = blocks(rng, 16, 4, 24)
    build.weight("w", build.rng.normal(size=kept.shape) * kept)
    x = build("act", Relu(), build("fc", Dense(16), build.input(24), weight="w"))
    after = optimized(build.graph(x), ["fuse-activation", "sparsify"])
    assert [n.op.name for n in after.nodes] == ["fused"]
    assert after.weight("w").sparsity.pattern == "1x4"


def test_other_weights_are_left_alone():
    build = Builder()
    build.weight("b", np.zeros(4))
    graph = build.graph(build("conv", Conv2d(4, 3), build.input(2, 5, 5), bias="b"))
    assert apply(Sparsify(), graph)[1].rewrites == ()


@given(st.sampled_from([1, 4, 8, 16]), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_stored_positions_cover_every_element(block, count, inside, seed):
    """Whatever is found, the positions that a block shares hold all that is not zero."""
    rng = np.random.default_rng(seed)
    kept = np.repeat(rng.random((count, inside, 1, 1)) < rng.random(), block, axis=0)
    found = prune_patterns.found(kept)
    assert found.zeros == pytest.approx(1 - kept.mean())
    assert found.block >= block or kept.all()
    union = kept.reshape(-1, found.block, inside).any(axis=1)
    assert union.sum() * found.block <= kept.sum() * prune_patterns.FILL
