"""Pipelines in files: options, includes, and passes that others wrote."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest
from strategies import Builder

import nbcnn
from nbcnn.errors import NbcnnError, PassError
from nbcnn.ir import Rewriter
from nbcnn.ops.activation import Relu
from nbcnn.passes import EXACT, PASSES, Pass, Pipeline, Repeat, table
from nbcnn.passes.remove_dead import RemoveDead

SPEC = f"{__name__}:Trim"


@dataclass(frozen=True)
class Trim(Pass):
    """Stands for a pass of the user's."""

    name: ClassVar[str] = "trim"
    contract: ClassVar = EXACT
    share: float = 0.5
    kind: str = "even"
    deep: bool = False

    def run(self, rw: Rewriter) -> None:
        pass


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write("a.yaml", "options: {...}", "remove-dead", ...)`` writes a pipeline; returns its path."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[Trim.__module__])

    def file(name: str, head: str, *passes: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = "".join(f"  - {p}\n" for p in passes)
        path.write_text(f"format: 1\n{head}\npasses:\n{lines}")
        return path

    return file


@pytest.fixture
def plugins(monkeypatch):
    """``plugins(name=value)`` pretends that packages with these entry points are installed."""

    def install(*points: tuple[str, str]) -> None:
        monkeypatch.setattr(table, "entry_points", lambda group: [EntryPoint(*p, group) for p in points])
        table.plugins.cache_clear()

    yield install
    table.plugins.cache_clear()


def test_options_have_defaults_that_the_caller_may_change(write):
    path = write(
        "p.yaml",
        "options: {share: 0.9, kind: odd, deep: float}",
        f"'{SPEC}': {{share: $share, kind: $kind}}",
        "repeat: {passes: ['" + SPEC + "': {share: $deep, kind: '$deep'}]}",
    )
    assert Pipeline.of(path, {"deep": 1}).steps == (Trim(0.9, "odd"), Repeat((Trim(1.0, "$deep"),)))
    assert Pipeline.of(str(path), {"share": 1, "deep": 0.1, "kind": "$x"}).steps[0] == Trim(1.0, "$x")
    graph = Builder()
    graph = graph.graph(graph("act", Relu(), graph.input(3)))
    assert nbcnn.optimize(graph, path, deep=0.5) is graph


@pytest.mark.parametrize(
    "given, says",
    [
        ({}, "pipeline 'p' needs the option 'deep'"),
        ({"deep": 1, "shar": 1}, "pipeline 'p' has no option 'shar'; did you mean 'share'?"),
        ({"deep": 1, "share": "x"}, "pipeline 'p', option 'share': expected int or float, got 'x'"),
        ({"deep": True}, "option 'deep': expected int or float, got True"),
        ({"deep": 1, "kind": 3}, "option 'kind': expected str, got 3"),
        ({"deep": 1, "flag": 1}, "option 'flag': expected bool, got 1"),
    ],
)
def test_options_that_do_not_fit(write, given, says):
    path = write("p.yaml", "options: {share: 0.9, kind: odd, deep: float, flag: true}", "remove-dead")
    with pytest.raises(PassError) as error:
        Pipeline.of(path, given)
    assert says in str(error.value)


@pytest.mark.parametrize("passes", ["remove-dead", RemoveDead(), Pipeline((RemoveDead(),))])
def test_only_files_have_options(passes):
    with pytest.raises(PassError, match=r"only the pipeline of a file .* nothing here takes 'share'"):
        Pipeline.of(passes, {"share": 1})
    with pytest.raises(PassError, match="pipeline 'default' has no option 'share'; it has none"):
        Pipeline.of("default", {"share": 1})


def test_include_by_name_and_by_path(write):
    write("sub/inner.yaml", "options: {share: 0.9}", f"'{SPEC}': {{share: $share}}")
    write("sub/middle.yaml", "", "include: inner.yaml")
    path = write(
        "outer.yaml",
        "options: {share: 0.3}",
        "include: default",
        "include: sub/middle.yaml",
        "repeat: {passes: [include: {pipeline: sub/inner.yaml, share: $share}]}",
    )
    pipeline = Pipeline.of(path)
    assert pipeline.steps == (*Pipeline.of("default").steps, Trim(0.9), Repeat((Trim(0.3),)))
    assert Pipeline.of([Pipeline.of("default"), Trim()]).steps == (*Pipeline.of("default").steps, Trim())
    assert Pipeline.of(f"include{{pipeline={path}}}").steps == pipeline.steps
    for form in (str(pipeline), pipeline.data()):  # one spec, with what was included spelt out
        assert Pipeline.of(form).steps == pipeline.steps
    path.write_text(pipeline.yaml())
    assert Pipeline.of(path).steps == pipeline.steps


@pytest.mark.parametrize(
    "head, line, says",
    [
        ("", "include: a.yaml", "a.yaml:4:5: a pipeline includes itself: a.yaml -> a.yaml"),
        ("", "include: b.yaml", "b.yaml:4:5: a pipeline includes itself: a.yaml -> b.yaml -> a.yaml"),
        ("", "include: defualt", "a.yaml:4:5: no pipeline is called 'defualt'; did you mean 'default'?"),
        ("", "include: {pipelin: default}", "include needs a pipeline"),
        ("", "include: {pipeline: default, x: 1}", "a.yaml:4:5: pipeline 'default' has no option 'x'"),
        ("", "include: missing.yaml", "missing.yaml: cannot be read"),
        ("options: {x: 1}", "include: $y", "a.yaml:4:14: pipeline 'a' has no parameter '$y'"),
        ("options: {x: [1]}", "remove-dead", "a.yaml:2:14: option 'x' must be a number"),
    ],
)
def test_mistakes_are_pointed_at(write, head, line, says):
    path = write("a.yaml", head, line)
    write("b.yaml", "", "include: a.yaml")
    with pytest.raises(NbcnnError) as error:
        Pipeline.of(path)
    assert says in str(error.value)


def test_shipped_pipelines_include_one_another():
    assert Pipeline.of("max").steps[: len(Pipeline.of("default").steps)] == Pipeline.of("default").steps


@pytest.mark.parametrize(
    "spec, says",
    [
        ("no_such_module:Trim", "cannot be imported: No module named 'no_such_module'"),
        ("pathlib:Trim", "cannot be imported: module 'pathlib' has no attribute 'Trim'"),
        ("pathlib:Path", "is no subclass of nbcnn.passes.Pass"),
        (":", "cannot be imported"),
    ],
)
def test_code_that_is_no_pass(spec, says):
    with pytest.raises(PassError) as error:
        Pipeline.of(spec)
    assert says in str(error.value)


def test_a_users_pass_prints_as_what_imports_it(write):
    pipeline = Pipeline.of([Trim(0.9), Trim])
    assert str(pipeline) == f"{Trim.__module__}:Trim{{share=0.9}}, {Trim.__module__}:Trim"


def test_plugins(write, plugins):
    plugins(("trim", SPEC), ("other", "missing:Other"))
    assert Pipeline.of("trim{share=0.9}").steps == (Trim(0.9),)
    assert str(Pipeline.of([Trim(0.9)])) == "trim{share=0.9}"
    with pytest.raises(PassError, match="did you mean 'trim'"):
        Pipeline.of("trin")
    with pytest.raises(PassError, match="cannot be imported"):
        Pipeline.of("other")


def test_plugins_of_one_name_are_refused(plugins):
    plugins(("trim", SPEC), ("trim", "other:Trim"))
    with pytest.raises(PassError, match="two plugins bring a pass 'trim'"):
        Pipeline.of("trim")
    plugins((next(iter(PASSES)), SPEC))
    with pytest.raises(PassError, match="takes the name of our own pass"):
        Pipeline.of("trim")
