import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_checks import apply, optimized, refusals
from strategies import Builder

from nbcnn.errors import OptionError, PassError
from nbcnn.ir import Graph
from nbcnn.ops.activation import Relu
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.reshape import Flatten
from nbcnn.passes import Pipeline, prune_patterns, run
from nbcnn.passes.prune import Prune
from nbcnn.passes.prune_allocate import erk, gradual, lowest, together, uniform


def chain(
    *channels: int, dtype: str = "float32", kernel: int = 3, groups: int = 1, norm: bool = False
) -> Graph:
    """Convolutions c0 (of ``channels[0]`` inputs), c1..., then the dense layer fc."""
    build = Builder(dtype)
    x = build.input(channels[0], 6, 6)
    for i, count in enumerate(channels[1:]):
        x = build(f"c{i}", Conv2d(count, kernel, padding="same", groups=groups if i else 1), x)
        x = build(f"n{i}", BatchNorm(), x) if norm else x
        x = build(f"a{i}", Relu(), x)
    return build.graph(build("fc", Dense(10), build("flat", Flatten(), build("mean", GlobalAvgPool(), x))))


def zeros(graph: Graph, name: str) -> int:
    """The number of zeros of a layer's weight."""
    return int((graph.weight(f"{name}.weight").array == 0).sum())


def test_first_and_last_stay_as_they_are_and_the_smallest_go():
    graph = chain(3, 8, 8, 8)
    after, record = apply(Prune(0.9), graph)
    assert [r.node for r in record.rewrites] == ["c1", "c2"]
    assert "518 of 576 weights pruned (89.93%, unstructured)" in record.rewrites[0].what
    assert [zeros(after, n) for n in ("c0", "c1", "c2", "fc")] == [0, 518, 518, 0]
    old, new = graph.weight("c1.weight").array, after.weight("c1.weight")
    assert abs(old[new.mask]).min() >= abs(old[~new.mask]).max()
    np.testing.assert_array_equal(new.array[new.mask], old[new.mask])
    assert new.trainable


@pytest.mark.parametrize(
    ("keep", "pruned"),
    [
        ((), "c0 c1 c2 fc"),
        (("first",), "c1 c2 fc"),
        (("last", "c1"), "c0 c2"),
        (("c[01]",), "c2 fc"),
    ],
)
def test_keep(keep, pruned):
    _, record = apply(Prune(0.5, keep=keep), chain(3, 8, 8, 8))
    assert [r.node for r in record.rewrites] == pruned.split()


def test_depthwise_layers_can_be_kept():
    build = Builder()
    x = build("point", Conv2d(8, 1), build("wise", Conv2d(8, 3, groups=8), build.input(8, 6, 6)))
    _, record = apply(Prune(0.5, keep=("depthwise",)), build.graph(x))
    assert [r.node for r in record.rewrites] == ["point"]


def test_layers_of_their_own_share():
    graph = chain(3, 8, 8, 8, 8)
    after, _ = apply(Prune(0.5, layers={"c0": 0.25, "c1": 0, "c*": 0.75}), graph)
    assert [zeros(after, n) for n in ("c0", "c1", "c2", "c3", "fc")] == [54, 0, 432, 432, 0]
    after, record = apply(Prune(layers={"c2": 0.5}), graph)
    assert [r.node for r in record.rewrites] == ["c2"]


def test_ties_go_by_index():
    build = Builder()
    build.weight("w", np.ones((4, 5, 1, 1)))
    graph = build.graph(build("c", Conv2d(4, 1), build.input(5, 3, 3), weight="w"))
    after, _ = apply(Prune(0.45, keep=()), graph)
    np.testing.assert_array_equal(after.weight("w").mask.reshape(-1), np.arange(20) >= 9)


@pytest.mark.parametrize("pattern", list(prune_patterns.PATTERNS))
def test_each_pattern_is_what_sparsify_finds(pattern):
    share = prune_patterns.PATTERNS[pattern].zeros or 0.75
    graph = chain(16, 32, 32, 32)
    pruned, _ = apply(Prune(share, pattern=pattern), graph)
    for name in ("c1", "c2"):
        weight = pruned.weight(f"{name}.weight")
        found = prune_patterns.found(weight.array)
        assert (found.zeros, found.pattern) == (share, pattern)
        assert weight.mask.sum() == weight.mask.size * (1 - share)


def test_a_block_is_judged_by_its_mean():
    build = Builder()
    weight = np.array([5, -1, -1, -1, 2, -2.2, -2, 2, 1, 1, 1, 4])  # means 2, 2.05, 1.75
    build.weight("w", weight.reshape(12, 1))
    graph = build.graph(build("fc", Dense(12), build.input(1), weight="w"))
    for share, kept in ((0.3, [0, 1]), (0.6, [1])):
        after, _ = apply(Prune(share, pattern="1x4", keep=()), graph)
        assert np.flatnonzero(after.weight("w").mask.reshape(3, 4).all(axis=1)).tolist() == kept
    after, _ = apply(Prune(0.6, keep=(), pattern="channel"), graph)
    assert np.flatnonzero(after.weight("w").mask).tolist() == [0, 5, 6, 7, 11]  # of equal ones the first go


def test_n_of_m_keeps_the_largest_of_each_group(rng):
    graph = chain(8, 6, 5, kernel=1)
    after, _ = apply(Prune(pattern="4:8", keep=("last",)), chain(8, 16, 16, kernel=1))
    assert (zeros(after, "c0"), zeros(after, "c1")) == (8 * 16 // 2, 16 * 16 // 2)
    after, _ = apply(Prune(pattern="2:4", keep=("c1", "last")), graph)
    weight = abs(graph.weight("c0.weight").array).reshape(6, 2, 4)
    mask = after.weight("c0.weight").mask.reshape(6, 2, 4)
    assert (mask.sum(axis=2) == 2).all()
    assert (np.where(mask, weight, 9).min(axis=2) >= np.where(mask, 0, weight).max(axis=2)).all()


def scaled() -> Graph:
    """Two layers of one distribution, the second a hundred times as large."""
    build = Builder()
    for name, factor in (("small", 1), ("large", 100)):
        build.weight(name, factor * build.rng.normal(size=(16, 16, 1, 1)))
    x = build("a", Conv2d(16, 1), build.input(16, 4, 4), weight="small")
    return build.graph(build("b", Conv2d(16, 1), x, weight="large"))


def test_normalised_magnitudes_compare_layers_and_plain_ones_do_not():
    for options, shares in (
        ({"distribution": "global"}, (0.5, 0.5)),
        ({"criterion": "global"}, (1.0, 0.0)),
        ({"criterion": "global", "distribution": "uniform"}, (0.5, 0.5)),
    ):
        after, _ = apply(Prune(0.5, keep=(), **options), scaled())
        found = [
            1 - after.weight(n).mask.mean() if after.weight(n).mask is not None else 0
            for n in ("small", "large")
        ]
        assert found == pytest.approx(shares, abs=0.05)
        if options.get("distribution") != "uniform":
            assert sum(int((after.weight(n).array == 0).sum()) for n in ("small", "large")) == 256


def test_a_layer_keeps_one_unit():
    after, _ = apply(Prune(0.999, criterion="global", keep=()), scaled())
    assert int((after.weight("small").array != 0).sum()) == 1
    after, _ = apply(Prune(0.99, pattern="channel", keep=()), chain(3, 8, 8))
    assert zeros(after, "c1") == 7 * 72
    after, _ = apply(Prune(threshold=1e9, keep=()), scaled())
    assert int((after.weight("large").array != 0).sum()) == 1


def test_threshold_is_relative_to_the_layer():
    after, _ = apply(Prune(threshold=0.5, keep=()), scaled())
    for name in ("small", "large"):
        weight = scaled().weight(name).array
        scale = np.sqrt((weight**2).mean())
        np.testing.assert_array_equal(after.weight(name).mask, abs(weight) >= 0.5 * scale)


def test_random_is_seeded_and_knows_nothing_of_magnitudes():
    graph = chain(3, 16, 16)
    masks = [
        apply(Prune(0.5, criterion="random", seed=seed), graph)[0].weight("c1.weight").mask
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert 0.4 < (masks[0] == masks[2]).mean() < 0.6
    weight = abs(graph.weight("c1.weight").array)
    assert weight[masks[0]].mean() == pytest.approx(weight[~masks[0]].mean(), rel=0.1)


def test_pruning_further_only_adds_zeros():
    for options in ({}, {"criterion": "random"}, {"distribution": "global"}, {"pattern": "1x4"}):
        once, _ = apply(Prune(0.5, **options), chain(3, 16, 16, 16))
        twice, _ = apply(Prune(0.8, **options), once)
        old, new = once.weight("c1.weight").mask, twice.weight("c1.weight").mask
        assert not (new & ~old).any()
        assert new.sum() < old.sum()
        less, record = apply(Prune(0.3, **options), twice)
        assert record.rewrites == () and less is twice


def test_a_weight_that_layers_share_has_one_mask():
    build = Builder()
    x = build("b", Conv2d(6, 1), build("a", Conv2d(6, 1), build.input(6, 4, 4)), weight="a.weight")
    after, record = apply(Prune(0.5, keep=()), build.graph(x))
    assert len(record.rewrites) == 1
    assert zeros(after, "a") == 18
    assert apply(Prune(0.5, keep=("b",)), build.graph(x))[1].rewrites == ()


def test_before_and_after_batch_norm_is_folded():
    graph = chain(3, 8, 8, 8, norm=True)
    before = optimized(graph, [Prune(0.5), *Pipeline.of("default").steps])
    for node, name in (("c1", "a1"), ("c2", "a2")):
        mask = before.weight(f"{node.replace('c', 'n')}.folded_weight").mask
        assert mask.sum() == 288
        assert before.node(name).op.name == "fused"
    after, record = apply(Prune(0.5), optimized(graph))
    assert [r.node for r in record.rewrites] == ["a1", "a2"]
    assert after.weight("n1.folded_weight").mask.sum() == 288
    apply(Prune(0.5, keep=("a1", "n2")), optimized(graph))  # by the fused node, and by the layer in it


def test_weights_that_are_not_finite_are_left_alone():
    build = Builder()
    build.weight("w", np.array([[1.0, np.nan]]))
    graph = build.graph(build("fc", Dense(1), build.input(2), weight="w"))
    report = run(graph, [Prune(0.5, keep=())])
    assert report.graph is graph
    assert refusals(report.records[0]) == {"fc": "'w' is not finite everywhere"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "option 'sparsity': is missing: a share of zeros from 0 to below 1, such as 0.9"),
        ({"sparsity": 1.0}, "option 'sparsity': must be from 0 to below 1, got 1.0"),
        ({"sparsity": -0.1}, "option 'sparsity': must be from 0 to below 1, got -0.1"),
        ({"sparsity": float("nan")}, "option 'sparsity': must be from 0 to below 1, got nan"),
        ({"layers": {"c1": 1.5}}, "option 'layers.c1': must be from 0 to below 1, got 1.5"),
        ({"sparsity": 0.5, "pattern": "1x6"}, "option 'pattern': unknown '1x6'; did you mean '1x16'?"),
        ({"sparsity": 0.5, "criterion": "size"}, "option 'criterion': unknown 'size'; expected one of"),
        ({"sparsity": 0.5, "distribution": "unifrom"}, "did you mean 'uniform'?"),
        ({"sparsity": 0.9, "pattern": "2:4"}, "option 'sparsity': must be 0.5 for 2:4, got 0.9"),
        ({"layers": {"c1": 0.9}, "pattern": "2:4"}, "option 'layers.c1': must be 0.5 for 2:4, got 0.9"),
        ({"pattern": "4:8", "distribution": "erk"}, "4:8 fixes the share of every layer"),
        ({"threshold": 1.0, "sparsity": 0.5}, "option 'threshold': stands alone"),
        ({"threshold": -1.0}, "option 'threshold': must be at least 0, got -1.0"),
        ({"sparsity": 0.5, "seed": -1}, "option 'seed': must be at least 0, got -1"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(PassError) as caught:
        Prune.of(options) if options else Prune()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (chain(3, 8), {"pattern": "2:4"}, "layer 'c0': 2:4 needs a multiple of 4 input channels, it has 3;"),
        (
            chain(3, 6),
            {"sparsity": 0.5, "pattern": "1x4", "keep": ["last"]},
            "layer 'c0': 1x4 needs a multiple of 4 output channels, it has 6; prune it unstructured,",
        ),
        (
            chain(3, 6, 6, 8),
            {"sparsity": 0.5, "pattern": "1x4", "keep": ["last"]},
            "layer 'c0' and 1 more: 1x4 needs",
        ),
        (
            chain(8, 8, 8, groups=8),
            {"sparsity": 0.5, "pattern": "1x4", "keep": ["last"]},
            "in each of its 8 groups, it has 1; prune it unstructured, or name 'depthwise' in 'keep'",
        ),
        (
            chain(4, 8, 8, groups=4),
            {"sparsity": 0.5, "pattern": "1x4", "keep": ["last"]},
            "layer 'c1': 1x4 needs a multiple of 4 output channels in each of its 4 groups, it has 2;",
        ),
        (chain(3, 8), {"sparsity": 0.5, "keep": ["c"]}, "no convolution or dense layer is called 'c'"),
        (chain(3, 8), {"sparsity": 0.5, "keep": ["frist"]}, "called 'frist'; did you mean 'first'?"),
        (chain(3, 8), {"layers": {"c00": 0.5}}, "called 'c00'; did you mean 'c0'?"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_the_graph(graph, options, message):
    with pytest.raises(OptionError) as caught:
        run(graph, [Prune.of({"keep": []} | options)])
    assert message in str(caught.value)
    assert "broke the graph" not in str(caught.value)


def test_a_pattern_is_asked_only_of_what_is_pruned():
    graph = chain(3, 6, 8)
    apply(Prune(0.5, pattern="1x4", keep=("c0", "fc")), graph)
    apply(Prune(0.0, pattern="1x16", keep=()), graph)
    apply(Prune(0.5, pattern="1x4", keep=("fc",), layers={"c0": 0}), graph)


def test_as_text_and_as_yaml():
    spec = Prune(0.9, pattern="1x4", keep=("conv1", "last"), layers={"a.b": 0.5, "c": 0})
    (again,) = Pipeline.of(str(spec)).steps
    assert again == spec
    (again,) = Pipeline.of([spec.data()]).steps
    assert again == spec


# -- counts ----------------------------------------------------------------------------------------

quick = settings(max_examples=50, deadline=None)
shares = st.floats(0, 1, exclude_max=True)


@quick
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(0, 60))
def test_lowest_takes_the_count_and_ties_by_index(values, count):
    scores, count = np.array(values, float), min(count, len(values))
    order = np.argsort(scores, kind="stable")
    np.testing.assert_array_equal(np.flatnonzero(lowest(scores, count)), np.sort(order[:count]))


@quick
@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=20), shares)
def test_uniform_counts(units, sparsity):
    for count, n in zip(uniform(units, sparsity), units, strict=True):
        assert 0 <= count < n
        assert count == min(round(sparsity * n), n - 1)


layer_shapes = st.tuples(*[st.integers(1, 64)] * 2, *[st.integers(1, 3)] * 2)


@quick
@given(st.lists(layer_shapes, min_size=1, max_size=12), shares)
def test_erk_adds_up_and_small_layers_keep_more(shapes, sparsity):
    units = [int(np.prod(shape)) for shape in shapes]
    counts = erk(units, shapes, sparsity)
    assert all(0 <= count < n for count, n in zip(counts, units, strict=True))
    if all(count < n - 1 for count, n in zip(counts, units, strict=True)):
        assert sum(counts) == round(sparsity * sum(units))
    density = [1 - count / n for count, n in zip(counts, units, strict=True)]
    ratio = [sum(shape) / n for shape, n in zip(shapes, units, strict=True)]
    for i in range(len(shapes)):
        for j in range(len(shapes)):
            if ratio[i] >= ratio[j]:
                assert density[i] >= density[j] - 1 / units[i] - 1 / units[j]


@quick
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 4)), min_size=1, max_size=6), shares, st.booleans()
)
def test_together_comes_closest_to_the_share(layers, sparsity, alike):
    rng = np.random.default_rng(0)
    scores = [rng.integers(0, 9, n).astype(float) for n, _ in layers]
    sizes = [1 if alike else size for _, size in layers]
    taken = together(scores, sizes, sparsity)
    elements = sum(len(s) * size for s, size in zip(scores, sizes, strict=True))
    gone = sum(int(t.sum()) * size for t, size in zip(taken, sizes, strict=True))
    most = elements - sum(sizes)
    assert all((~t).any() for t in taken)
    assert abs(gone - min(sparsity * elements, most)) <= max(sizes) / 2 + 1e-6 or gone == most


@quick
@given(
    st.sampled_from(list(prune_patterns.PATTERNS)),
    st.sampled_from(["uniform", "erk", "global"]),
    st.sampled_from(["magnitude", "random"]),
    shares,
    st.integers(0, 99),
)
def test_masks_have_the_pattern_and_the_count(pattern, distribution, criterion, sparsity, seed):
    form = prune_patterns.PATTERNS[pattern]
    options = {} if form.zeros else {"sparsity": sparsity, "distribution": distribution}
    graph = chain(16, 16, 32, kernel=1)
    after, _ = (
        apply(Prune(pattern=pattern, criterion=criterion, seed=seed, keep=(), **options), graph)
        if (pattern not in ("1x4", "1x8", "1x16"))
        else apply(Prune(pattern=pattern, criterion=criterion, seed=seed, keep=("fc",), **options), graph)
    )
    names = ("c0.weight", "c1.weight") if form.block > 1 else ("c0.weight", "c1.weight", "fc.weight")
    masks = [after.weight(n).mask for n in names]
    masks = [
        np.ones(after.weight(n).type.shape, bool) if m is None else m
        for m, n in zip(masks, names, strict=True)
    ]
    for mask in masks:
        whole = prune_patterns.units(mask, form)
        assert (whole.all(axis=1) == whole.any(axis=1)).all()
        assert mask.any()
    if form.zeros:
        assert all(m.reshape(len(m), -1, form.group).sum(axis=2).max() == form.most for m in masks)
    elif pattern != "channel":
        gone, total = sum(int((~m).sum()) for m in masks), sum(m.size for m in masks)
        assert abs(gone - sparsity * total) <= form.block * (len(masks) + 1)


def test_gradual_is_cubic():
    assert [gradual(t, 10, 20, 0.9) for t in (0, 10, 20, 99)] == pytest.approx([0, 0, 0.9, 0.9])
    assert gradual(15, 10, 20, 0.9, 0.1) == pytest.approx(0.9 - 0.8 / 8)
    steps = [gradual(t, 0, 100, 0.8) for t in range(101)]
    assert steps == sorted(steps)
    assert gradual(5, 5, 5, 0.8) == 0.8
