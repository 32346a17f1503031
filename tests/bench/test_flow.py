import threading
import time
from statistics import mean, median

import pytest

from nbcnn.bench.flow import MIN_CALLS, REWARM_CALLS, alone, in_threads, together


def test_alone_the_period_is_the_median_latency():
    pauses = iter([0, 0] + [0.001, 0.001, 0.02] * 1000)
    latencies, period = alone(lambda: time.sleep(next(pauses)), 0.1)
    assert sum(latencies) > 1e8
    assert period == median(latencies) < mean(latencies)


def test_a_slow_call_is_made_a_few_times_all_the_same():
    calls = []
    latencies, _ = alone(lambda: calls.append(time.sleep(0.002)), 1e-6)
    assert len(latencies) == MIN_CALLS
    assert len(calls) == MIN_CALLS + REWARM_CALLS


def test_in_threads_calls_overlap():
    inside, most = [], []

    def run():
        inside.append(threading.get_ident())
        time.sleep(0.005)
        most.append(len(set(inside)))
        inside.remove(threading.get_ident())

    latencies, period = in_threads(run, 3, 0.1)
    assert max(most) == 3
    assert min(latencies) >= 5e6
    assert period == pytest.approx(mean(latencies) / 3, rel=0.3)  # Little's law


def test_streams_add_up_by_their_rates():
    latencies, period = together([([3, 3], 6), ([4, 4, 4], 15)])
    assert latencies == [3, 3, 4, 4, 4]
    assert period == pytest.approx(1 / (2 / 6 + 3 / 15))
