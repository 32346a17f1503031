from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbcnn.debug import allocate
from nbcnn.debug.layer_times import LayerTimes
from nbcnn.debug.sensitivity import Entry, Sensitivity
from nbcnn.errors import OptionError
from nbcnn.passes.prune import Prune
from nbcnn.passes.prune_layers import Layer


def study(*layers: tuple[int, int, tuple[float, ...]], shares=(0.5, 0.9)) -> Sensitivity:
    """Layers l0, l1... of (elements, MACs, errors)."""
    entries = tuple(
        Entry(Layer(f"l{i}.weight", f"l{i}", (f"l{i}",), (size, 1), 1), macs, errors)
        for i, (size, macs, errors) in enumerate(layers)
    )
    return Sensitivity("m", 1, Prune(0.5), shares, entries)


def test_the_robust_layer_gives_more():
    found = study((1000, 1, (0.1, 0.9)), (1000, 1, (0.01, 0.02)))
    assert allocate.for_sparsity(found, 0.45) == {"l1": 0.9}
    assert allocate.for_sparsity(found, 0.5) == {"l0": 0.5, "l1": 0.5} or allocate.for_sparsity(
        found, 0.5
    ) == {
        "l0": 0.5,
        "l1": 0.9,
    }
    assert allocate.for_sparsity(found, 0.7) == {"l0": 0.5, "l1": 0.9}
    assert allocate.for_sparsity(found, 0.9) == {"l0": 0.9, "l1": 0.9}


def test_time_is_multiply_accumulates_unless_another_model_is_given():
    found = study((1000, 10, (0.1, 0.5)), (10, 1000, (0.2, 0.6)))
    assert allocate.for_time(found, 0.5) == {"l0": 0.5, "l1": 0.5}
    assert allocate.for_time(found, 0.15) == {"l1": 0.9}
    assert allocate.for_time(found, 0.6) == {"l1": 0.5}

    def measured(layer, share):
        return 1.0 if layer.name == "l1" else 100 * (1 - share)  # l1 gains nothing

    assert allocate.for_time(found, 0.55, measured) == {"l0": 0.5}


TIMES = LayerTimes((0.0, 0.5, 0.9), {"l0.weight": (4.0, 4.0, 3.5), "l1.weight": (4.0, 2.0, 1.0)}, rest=2.0)


def test_a_budget_of_seconds_holds_the_rest_of_the_network():
    found = study((1000, 1, (0.01, 0.02)), (1000, 1, (0.2, 0.6)))
    assert (TIMES.dense, TIMES.least) == (10.0, 6.5)
    assert allocate.for_seconds(found, 8.0, TIMES) == {"l1": 0.5}
    assert allocate.for_seconds(found, 7.6, TIMES) == {"l0": 0.9, "l1": 0.5}
    assert allocate.for_seconds(found, 6.5, TIMES) == {"l0": 0.9, "l1": 0.9}
    layer = found.entries[1].layer
    assert [TIMES(layer, share) for share in (0.25, 0.7, 0.95)] == pytest.approx([3.0, 1.5, 1.0])


def test_a_budget_that_no_shares_meet_says_what_they_do():
    found = study((1000, 1, (0.01, 0.02)), (1000, 1, (0.2, 0.6)))
    with pytest.raises(
        OptionError, match=r"^6000 ms cannot .* 0\.9: 6500 ms is the least, 2000 ms of it not"
    ):
        allocate.for_seconds(found, 6.0, TIMES)
    with pytest.raises(OptionError, match=r"nothing is to be pruned: dense, the model takes 1e\+04 ms"):
        allocate.for_seconds(found, 10.0, TIMES)
    for target in (0, -1, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="must be above 0"):
            allocate.for_seconds(found, target, TIMES)


def test_the_even_share_uses_what_the_chosen_ones_do():
    found = study((1000, 10, (0.1, 0.5)), (10, 1000, (0.2, 0.6)))
    assert allocate.even(found, {"l0": 0.9}, allocate.by_size) == pytest.approx(900 / 1010)
    assert allocate.even(found, {"l1": 0.5}, allocate.by_macs(found)) == pytest.approx(500 / 1010)
    assert allocate.even(found, {"l1": 0.5}, TIMES) == 0.5
    assert allocate.even(found, {}, TIMES) == 0.0


def test_targets_that_cannot_be_met():
    found = study((1000, 1, (0.1, 0.9)))
    with pytest.raises(OptionError, match=r"95\.0% zeros cannot be reached with shares up to 0\.9"):
        allocate.for_sparsity(found, 0.95)
    with pytest.raises(OptionError, match=r"5\.0% of the time cannot be reached"):
        allocate.for_time(found, 0.05)
    for target in (0, 1, -1, float("nan")):
        with pytest.raises(OptionError, match="must be above 0 and below 1"):
            allocate.for_sparsity(found, target)
        with pytest.raises(OptionError, match="must be above 0 and below 1"):
            allocate.for_time(found, target)


def test_an_infinite_error_is_the_last_resort():
    found = study((1000, 1, (0.1, np.inf)), (1000, 1, (0.1, 0.2)))
    assert allocate.for_sparsity(found, 0.7) == {"l0": 0.5, "l1": 0.9}
    assert allocate.for_sparsity(found, 0.9) == {"l0": 0.9, "l1": 0.9}


items = st.lists(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=3), min_size=1, max_size=5
)


@settings(max_examples=200, deadline=None)
@given(items, st.floats(0.01, 30))
def test_nothing_cheaper_fits(items, budget):
    costs = [np.array([cost for cost, _ in item]) for item in items]
    uses = [np.array([use for _, use in item]) for item in items]
    found = allocate.cheapest(costs, uses, budget)

    def total(arrays, choice):
        return sum(a[i] for a, i in zip(arrays, choice, strict=True))

    every = product(*(range(len(item)) for item in items))
    fitting = [total(costs, choice) for choice in every if total(uses, choice) <= budget]
    if found is None:
        assert not fitting
    else:
        assert total(uses, found) <= budget * (1 + 1e-6)
        assert total(costs, found) <= min(fitting, default=np.inf) + 1e-9


def test_many_layers_are_close_to_the_best(rng):
    sizes = rng.integers(1, 1000, 100)
    shares = np.array([0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    costs = [rng.uniform(0.1, 2) * shares**3 for _ in sizes]
    uses = [size * (1 - shares) for size in sizes]
    budget = 0.2 * sizes.sum()
    found = {most: allocate.cheapest(costs, uses, budget, most) for most in (500, 50_000)}
    for chosen in found.values():
        assert sum(use[i] for use, i in zip(uses, chosen, strict=True)) <= budget
    few, many = (sum(cost[i] for cost, i in zip(costs, chosen, strict=True)) for chosen in found.values())
    assert many <= few <= many * 1.01
