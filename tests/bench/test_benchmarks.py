import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "run.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("benchmarks_run", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(model, threads, **ratios):
    machine = {"cpu": "Some CPU", "features": ["avx2"], "usable_cores": 2}
    engines = [{"name": "nbcnn", "latency_ms": {"median": 12.25}}]
    engines += [{"name": n, "ratio": r, "ratio_q1": r - 0.1, "ratio_q3": r + 0.1} for n, r in ratios.items()]
    return {"model": model, "batch": 1, "threads": threads, "machine": machine, "engines": engines}


def test_the_table_has_a_part_per_thread_count_and_geometric_means(script):
    text = script.markdown(
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
