import importlib.util
import sys
from pathlib import Path

import pytest

from nbcnn.errors import OptionError

FOLDER = Path(__file__).parents[2] / "benchmarks"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return loaded("run")


@pytest.fixture(scope="module")
def sparse():
    return loaded("sparse")


@pytest.fixture(scope="module")
def overhead():
    return loaded("overhead")


def report(model, threads, **ratios):
    machine = {"cpu": "Some CPU", "features": ["avx2"], "usable_cores": 2}
    engines = [{"name": "nbcnn", "latency_ms": {"median": 12.25}}]
    engines += [{"name": n, "ratio": r, "ratio_q1": r - 0.1, "ratio_q3": r + 0.1} for n, r in ratios.items()]
    return {"model": model, "batch": 1, "threads": threads, "machine": machine, "engines": engines}


def test_the_table_has_a_part_per_thread_count_and_geometric_means(script):
    text = script.tables(
        [report("a", 1, ort=1.0, torch=2.0), report("b", 1, ort=4.0), report("a", 2, ort=1.5)]
    )
    assert text.count("## Some CPU (avx2; 2 cores), threads:") == 2
    assert "| a | 1 | 12.25 | 1.00 [0.90-1.10] | 2.00 [1.90-2.10] |" in text
    assert "| b | 1 | 12.25 | 4.00 [3.90-4.10] | - |" in text
    assert "| geometric mean |  |  | 2.00 | 2.00 |" in text


def test_the_table_replaces_the_one_before(script) -> None:
    readme = f"# nbcnn\n\n{script.BEGIN}\nold\n{script.END}\n\n## More\n"
    once = script.in_readme(readme, "# Results\n\nRatio.\n\n## A machine\n\n| a |\n")
    assert "old" not in once
    assert "### A machine" in once
    assert once.endswith("## More\n")
    assert script.in_readme(once, "# Results\n\nRatio.\n\n## A machine\n\n| a |\n") == once


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
