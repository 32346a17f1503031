import numpy as np
import pytest

from nbcnn.bench.engines import Engine
from nbcnn.bench.judge import judge, latency, ratios, relative_error, verdict
from nbcnn.bench.measure import Block, Measured, Opened

MS = 1_000_000


def block(engine, *ms):
    return Block(engine, tuple(int(t * MS) for t in ms), MS * float(np.median(ms)))


def measured(timeline, **outputs):
    y = np.array([[1.0, -2.0]], np.float32)
    found = Measured(timeline=timeline)
    for name in dict.fromkeys(b.engine for b in timeline):
        arrays = outputs.get(name, {"y": y})
        peer = "default" not in name
        found.opened.append(Opened(Engine(name, "", peer=peer), "1.0", "float32", 0.1, 0.2, arrays, 1 << 20))
    return found


def test_each_adjacent_pair_gives_one_ratio_of_medians():
    timeline = [
        block("nbcnn", 1, 1, 9),
        block("a", 2, 2, 2),
        block("nbcnn", 2, 2),
        block("b", 3, 3),
        block("nbcnn", 4),
        block("a", 8),
    ]
    assert ratios(timeline, "nbcnn", "a") == [2.0, 1.0, 2.0]
    assert ratios(timeline, "nbcnn", "b") == [1.5, 0.75]


def test_throughput_is_judged_by_periods():
    two = [Block(name, (2 * MS,) * 9, period * MS) for name, period in [("nbcnn", 1.0), ("a", 1.5)] * 5]
    ours, theirs = judge(measured(two), batch=4)[0]
    assert (ours.latency_ms.median, theirs.latency_ms.median) == (2, 2)
    assert ours.images_per_s == pytest.approx(4000)
    assert theirs.ratio.median == pytest.approx(1.5)


def test_a_steady_drift_cancels():
    timeline = [block("na"[i % 2], 1 + 0.01 * i) for i in range(11)]
    assert np.median(ratios(timeline, "n", "a")) == pytest.approx(1.0, abs=0.002)


def test_rows_hold_percentiles_ratio_and_quartiles():
    times = {"nbcnn": 1.0, "a": 1.0}
    timeline = []
    for a in (1.1, 1.2, 1.3, 1.4, 1.5):
        timeline += [block("nbcnn", times["nbcnn"]), block("a", a)]
    rows, warnings = judge(measured(timeline), batch=4)
    ours, theirs = rows
    assert ours.name == "nbcnn"
    assert ours.ratio is None
    assert ours.max_rel_err == 0
    pairs = [1.1, 1.1, 1.2, 1.2, 1.3, 1.3, 1.4, 1.4, 1.5]
    q1, median, q3 = np.percentile(pairs, [25, 50, 75])
    assert theirs.ratio.q1 == pytest.approx(q1)
    assert theirs.ratio.median == pytest.approx(median)
    assert theirs.ratio.q3 == pytest.approx(q3)
    assert ours.images_per_s == pytest.approx(4000)
    assert "noisy machine" in warnings[0]


def test_latency_is_over_all_calls():
    times = latency([block("a", *range(1, 51)), block("b", 0), block("a", *range(51, 102))], "a")
    assert (times.min, times.median, times.p90, times.p99) == pytest.approx((1, 51, 91, 100))


def test_a_quiet_machine_gives_no_warning():
    timeline = [block(name, ms) for name, ms in [("nbcnn", 1), ("a", 2)] * 5]
    rows, warnings = judge(measured(timeline), 1)
    assert warnings == []
    assert verdict(rows) == "nbcnn is 2.00x as fast as a, the fastest peer at float32"


def test_rows_beside_never_count_for_the_verdict():
    order = [("nbcnn", 1), ("a", 2), ("nbcnn", 1), ("a (default)", 0.5)] * 5
    rows, _ = judge(measured([block(*entry) for entry in order]), 1)
    assert verdict(rows) == "nbcnn is 2.00x as fast as a, the fastest peer at float32"


def test_errors_are_judged_on_every_output():
    x = np.array([1.0, -4.0], np.float32)
    ours = {"a": x, "b": x}
    assert relative_error(ours, {"b": x + 0.5, "a": x}) == pytest.approx(0.125)
    assert relative_error(ours, {"p": x, "q": x - 1}) == pytest.approx(0.25)
    assert relative_error(ours, ours) == 0
    assert relative_error({"z": 0 * x}, {"z": 0 * x}) == 0


@pytest.mark.parametrize(
    "theirs",
    [
        {},
        {"y": np.ones((2, 1), np.float32)},
        {"y": np.array([[1.0, np.nan]], np.float32)},
        {"y": np.ones((1, 2)), "z": np.ones(1)},
    ],
)
def test_outputs_that_cannot_be_compared(theirs):
    assert relative_error({"y": np.ones((1, 2), np.float32)}, theirs) is None


def test_wrong_answers_are_pointed_out():
    timeline = [block(name, ms) for name, ms in [("nbcnn", 1), ("a", 2), ("nbcnn", 1), ("b", 2)]]
    wrong = {"y": np.array([[1.0, -1.9]], np.float32)}
    nan = {"y": np.array([[1.0, np.nan]], np.float32)}
    _, warnings = judge(measured(timeline, a=wrong, b=nan), 1)
    assert any("a: its outputs differ by 5.0e-02" in w for w in warnings)
    assert any("b: its outputs cannot be compared" in w for w in warnings)


def test_without_peers_the_spread_of_the_blocks_is_judged():
    still = [block("nbcnn", ms) for ms in (1, 1.05, 1, 1, 1.05)]
    restless = [block("nbcnn", ms) for ms in (1, 1, 2, 2, 2)]
    assert judge(measured(still), 1)[1] == []
    assert "noisy machine: nbcnn's blocks differ by 100%" in judge(measured(restless), 1)[1]
