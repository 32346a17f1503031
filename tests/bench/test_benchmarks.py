import pytest
from bench_scripts import loaded, report

from nbcnn.errors import OptionError


@pytest.fixture(scope="module")
def sparse():
    return loaded("sparse")


@pytest.fixture(scope="module")
def overhead():
    return loaded("overhead")


def test_the_table_of_sparsity(sparse):
    found = {**report("a", 1, **{"nbcnn (dense)": 2.0, "onnxruntime": 4.0, "openvino": 3.5, "mnn": 2.5})}
    found |= {"pattern": "1x4", "zeros": 0.9}
    found["engines"][4]["note"] = "sparse kernels, blocks of 4"
    text = sparse.tables([found, {**report("b", 1), "pattern": "unstructured", "zeros": 0.7}])
    ratios = "2.00 [1.90-2.10] | 4.00 [3.90-4.10] | 3.50 [3.40-3.60] | 2.50 [2.40-2.60]"
    assert f"| a | 1x4 | 90% | 12.25 | {ratios} | 3.50 (openvino) |" in text
    assert "| b | unstructured | 70% | 12.25 | - | - | - | - | - |" in text
    assert "* mnn, a 1x4 90%: sparse kernels, blocks of 4" in text
    assert "AMX" in text


@pytest.mark.parametrize("text", ["resnet50", "resnet50:much", "a::1x4"])
def test_a_case_that_is_none(sparse, text):
    with pytest.raises(OptionError, match="a case is MODEL:ZEROS"):
        sparse.Case.of(text)


def test_a_case_is_a_pipeline_that_prunes(sparse):
    assert sparse.Case.of("resnet50:0.9") == sparse.Case("resnet50", "unstructured", 0.9)
    assert "prune{sparsity=0.8, pattern=1x4}" in sparse.Case.of("x:0.8:1x4").passes()
    assert len(set(map(sparse.Case.of, sparse.CASES))) == len(sparse.CASES)


def test_what_a_call_and_a_step_cost(overhead):
    """Far above what it is, far below what a Python loop over the steps or a sleeping team would take."""
    for threads in overhead.THREADS:
        row = overhead.measure(threads, 0.2)
        assert row["call_us"]["1"] < 4 * overhead.CALL_US
        assert row["step_us"] < overhead.STEP_US[threads]
        assert f"| {threads} | {row['call_us']['1']:.1f} |" in overhead.table([row])


def test_goals_that_were_missed(overhead):
    fast, slow = ({"threads": n, "call_us": {"1": us}, "step_us": us / 5} for n, us in ((1, 5.0), (2, 15.0)))
    assert overhead.missed([fast]) == []
    assert overhead.missed([fast, slow]) == ["a step costs 3.00 us on 2 threads, more than 2.5"]
    assert overhead.missed([{**slow, "threads": 1, "step_us": 0.5}]) == ["a call costs 15.0 us, more than 10"]
