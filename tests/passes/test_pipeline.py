from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from strategies import Builder

from nbcnn import resources
from nbcnn.errors import ModelFileError, PassError
from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.ops.activation import Relu
from nbcnn.ops.dropout import Dropout
from nbcnn.passes import EXACT, PASSES, Lossy, Pass, Pipeline, Repeat, optimize, run, table
from nbcnn.passes.fuse_conv_bn import FuseConvBn
from nbcnn.passes.remove_dead import RemoveDead
from nbcnn.passes.remove_identity import RemoveIdentity


@dataclass(frozen=True)
class Trim(Pass):
    """Stands for a pass with options."""

    name: ClassVar[str] = "trim"
    contract: ClassVar = Lossy(metric="top1_drop", bound=0.01)
    share: float
    kind: Literal["even", "odd"] = "even"
    layers: tuple[str, ...] = ()

    def run(self, rw: Rewriter) -> None:
        pass


@pytest.fixture(autouse=True)
def trim(monkeypatch):
    """Puts Trim into the table."""
    monkeypatch.setitem(PASSES, "trim", "trim:Trim")
    real = table.get
    monkeypatch.setattr(table, "get", lambda name: Trim if name == "trim" else real(name))


def dropouts(count: int) -> Graph:
    build = Builder()
    x = build("first", Relu(), build.input(3))
    for i in range(count):
        x = build(f"drop{i}", Dropout(), x)
    return build.graph(build("last", Relu(), x))


SPECS = {
    "": (),
    "fuse-conv-bn, remove-dead": (FuseConvBn(), RemoveDead()),
    "trim{share=0.9}": (Trim(0.9),),
    "trim{share=0.5, kind=odd, layers=[a, b.c]}": (Trim(0.5, "odd", ("a", "b.c")),),
    "repeat{passes=[fuse-conv-bn, repeat{max=2, passes=[trim{share=1.0}]}]}": (
        Repeat((FuseConvBn(), Repeat((Trim(1.0),), max=2))),
    ),
}


@pytest.mark.parametrize("text", SPECS)
def test_text_yaml_and_python_are_one_spec(text, tmp_path):
    pipeline = Pipeline.of(list(SPECS[text]))
    assert pipeline.steps == SPECS[text]
    assert str(pipeline) == text
    assert Pipeline.of(text).steps == pipeline.steps
    assert Pipeline.of(pipeline.data()).steps == pipeline.steps
    path = tmp_path / "mine.yaml"
    path.write_text(pipeline.yaml())
    for given in (path, str(path)):
        assert Pipeline.of(given).steps == pipeline.steps
    assert Pipeline.read(path).name == "mine"


def test_lists_mix_every_form():
    pipeline = Pipeline.of(
        [FuseConvBn, RemoveDead(), "remove-identity, trim{share=1}", {"trim": {"share": 2}}]
    )
    assert pipeline.steps == (FuseConvBn(), RemoveDead(), RemoveIdentity(), Trim(1.0), Trim(2.0))
    assert str(Trim(0.9)) == "trim{share=0.9}"


def test_shipped_pipelines_and_table():
    assert {"default", "none"} <= set(resources.names("passes"))
    for name in resources.names("passes"):
        assert Pipeline.of(name).description
        assert resources.find("passes", name).read_text().startswith("# Data")
    assert not set(resources.names("passes")) & set(PASSES)


def test_yaml_of_several_lines(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "format: 1\ndescription: mine\npasses:\n  - remove-dead\n  - trim: {share: 1e-1, kind: odd}\n"
        "  - repeat:\n      until: unchanged\n      max: 3\n      passes: [fuse-conv-bn]\n"
    )
    pipeline = Pipeline.of(path)
    assert pipeline.steps == (RemoveDead(), Trim(0.1, "odd"), Repeat((FuseConvBn(),), 3))
    assert pipeline.description == "mine"


@pytest.mark.parametrize(
    "spec, word",
    [
        ("fuse-con-bn", "did you mean 'fuse-conv-bn'"),
        ("defualt", "did you mean 'default'"),
        ("fuse-conv-bn{eps=1}", "no option 'eps'; it takes none"),
        ("trim", "needs the option 'share'"),
        ("trim{shar=1}", "did you mean 'share'"),
        ("trim{share=much}", "option 'share': "),
        ("trim{share=1, kind=some}", "option 'kind': "),
        ("repeat{passes=[]}", "not empty"),
        ("repeat{max=0, passes=[remove-dead]}", "at least 1"),
        ("repeat{until=tired, passes=[remove-dead]}", "unchanged"),
        ("repeat{pases=[remove-dead]}", "did you mean 'passes'"),
    ],
)
def test_mistakes_name_what_would_be_right(spec, word):
    with pytest.raises(PassError) as error:
        Pipeline.of(spec)
    assert word in str(error.value)


@pytest.mark.parametrize(
    "text, where, word",
    [
        ("format: 1\npasses:\n  - remove-dead\n  - remove-ded\n", ":4:5", "did you mean 'remove-dead'"),
        ("format: 1\npasses:\n  - trim: {share: x}\n", ":3:5", "option 'share'"),
        ("format: 1\npasses:\n  - repeat:\n      passes:\n        - nope\n", ":5:11", "unknown pass 'nope'"),
        (
            "format: 1\npasses:\n  - trim: {share: 1, share: 2}\n",
            ":3:22",
            "duplicate key 'share'",
        ),
        ("format: 1\npasses: {a: b}\n", ":2:9", "passes must be a list, got a mapping"),
        ("format: 1\npases: []\n", ":2:1", "did you mean 'passes'"),
        ("passes: []\n", ":1:1", "a pipeline needs 'format'"),
        ("format: 1\n", ":1:1", "a pipeline needs 'passes'"),
        ("format: 2\npasses: []\n", ":1:9", "format must be 1, got 2"),
        ("format: 1\ndescription: [a]\npasses: []\n", ":2:14", "description must be text"),
        ("- a\n", ":1:1", "a pipeline must be a mapping, got a list"),
        ("", "", "is empty"),
        ("format: 1\npasses: [a\n", ":3:1", "malformed YAML"),
        ("format: 1\npasses: [!!python/name:os.system x]\n", ":2:10", "tag"),
        ("format: 1\npasses: &a [*a]\n", ":2:13", "stands inside itself"),
        (f"format: 1\npasses: [remove-dead, {'9' * 20}]\n", ":2:23", "64 bits"),
        ("format: 1\npasses:\n  - repeat: {passes: remove-dead}\n", ":3:5", "a list that is not empty"),
        ("format: 1\npasses:\n  - [remove-dead]\n", ":3:5", "a pass is a name"),
    ],
)
def test_mistakes_in_a_file_are_pointed_at(text, where, word, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises((PassError, ModelFileError)) as error:
        Pipeline.of(path)
    assert f"bad.yaml{where}: " in str(error.value)
    assert word in str(error.value)


def test_missing_file():
    with pytest.raises(ModelFileError, match="cannot be read"):
        Pipeline.of(Path("nowhere.yaml"))


@dataclass(frozen=True)
class Broken(Pass):
    """Makes a cycle behind the Rewriter's back, or hangs up a weight, or edits outside a rewrite."""

    name: ClassVar[str] = "broken"
    contract: ClassVar = EXACT
    how: str = "cycle"

    def run(self, rw: Rewriter) -> None:
        import numpy as np

        if self.how == "edit":
            rw.redirect("last", "first")
        rw.begin("last", "breaks")
        if self.how == "bug":
            raise ValueError("oops")
        if self.how == "cycle":
            rw.graph._replace_node(Node("first", Relu(), ("last",), ("first",)))
        else:
            rw.add_weight("loose", np.zeros(3))


@pytest.mark.parametrize(
    "how, word", [("cycle", "cycle"), ("weight", "used by nothing"), ("edit", "inside a rewrite")]
)
def test_a_broken_pass_is_named(how, word):
    graph = dropouts(1)
    with pytest.raises(PassError, match="pass 'broken' broke the graph") as error:
        optimize(graph, ["remove-identity", Broken(how)])
    assert word in str(error.value)


def test_a_bug_in_a_pass_keeps_its_type_and_is_named():
    with pytest.raises(ValueError, match="oops") as error:
        optimize(dropouts(1), Broken("bug"))
    assert error.value.__notes__ == [f"in pass '{__name__}:Broken{{how=bug}}'"]


def test_records_hooks_and_progress():
    graph, seen, steps = dropouts(3), [], []
    report = run(
        graph,
        "remove-dead, remove-identity",
        hooks=[lambda record, before, after: seen.append((record.step.name, before is after))],
        progress=lambda *step: steps.append(step),
    )
    assert seen == [("remove-dead", True), ("remove-identity", False)]
    assert steps == [(0, 2, "remove-dead"), (1, 2, "remove-identity")]
    record = report.records[1]
    assert (record.before.nodes, record.after.nodes) == (5, 2)
    assert (record.after.macs, record.after.parameters) == (0, 0)
    assert record.gone == ("drop0", "drop1", "drop2")
    assert record.seconds > 0
    assert report.rewrites == 3


def test_limit_counts_the_rewrites_of_all_passes():
    graph = dropouts(3)
    for limit in range(5):
        report = run(graph, "remove-identity, remove-identity", limit=limit)
        assert len(report.graph.nodes) == 5 - min(limit, 3)
        assert report.rewrites == min(limit, 3)
    assert run(graph, "remove-identity", limit=0).graph is graph


@dataclass(frozen=True)
class One(Pass):
    """Removes one dropout a run."""

    name: ClassVar[str] = "one"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        for node in rw.graph.nodes:
            if isinstance(node.op, Dropout) and rw.begin(node.name, "one"):
                rw.redirect(node.output, node.data[0])
                rw.erase(node.name)
                return


def test_repeat_runs_until_unchanged_or_its_maximum():
    report = run(dropouts(3), Repeat((One(), RemoveDead())))
    assert len(report.graph.nodes) == 2
    assert len(report.records) == 8
    assert not report.unsettled
    report = run(dropouts(3), Repeat((One(),), max=2))
    assert len(report.graph.nodes) == 3
    assert len(report.unsettled) == 1


def test_none_is_the_same_graph():
    graph = dropouts(1)
    assert optimize(graph, "none") is graph


@dataclass(frozen=True)
class Reads(Pass):
    """Reads a weight that turns out to be broken."""

    name: ClassVar[str] = "reads"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        raise ModelFileError("holds NaN", where="w.safetensors")


def test_a_broken_weights_file_is_not_the_fault_of_the_pass_that_reads_it():
    with pytest.raises(ModelFileError, match=r"^w.safetensors: holds NaN$"):
        optimize(dropouts(1), Reads())
