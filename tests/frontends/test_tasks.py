from __future__ import annotations

import pytest
from model_files import CONV, HEAD, assert_same, model, refusal

import nbcnn
from nbcnn.errors import InputError
from nbcnn.frontends import tasks
from nbcnn.frontends.boxes import Detection
from nbcnn.frontends.classes import Classification
from nbcnn.frontends.masks import Segmentation

GRID = CONV.replace("channels: 4", "channels: 14")
ANCHORS = "anchors: {conv: [[4, 4], [2.5, 9]]}"


@pytest.mark.parametrize(
    "text, want",
    [
        ("segmentation", Segmentation()),
        ("{kind: segmentation}", Segmentation()),
        (
            "{kind: segmentation, background: null, palette: ['#ff0000'], opacity: 1}",
            Segmentation(None, ("#ff0000",), 1),
        ),
        (f"{{kind: detection, {ANCHORS}}}", Detection({"conv": ((4, 4), (2.5, 9))})),
        (
            f"{{kind: detection, {ANCHORS}, classes: softmax, score: 0.5, iou: 0.25, most: 7}}",
            Detection({"conv": ((4, 4), (2.5, 9))}, "softmax", 0.5, 0.25, 7),
        ),
    ],
)
def test_read_written_and_kept_by_passes(text, want, tmp_path) -> None:
    graph = model(tmp_path, GRID + f"task: {text}\n")
    assert tasks.task(graph) == want
    nbcnn.save(graph, tmp_path / "again.yaml")
    assert_same(nbcnn.load(tmp_path / "again.yaml"), graph)
    assert tasks.task(nbcnn.optimize(graph)) == want


def test_classification_is_the_default(tmp_path) -> None:
    dense = HEAD + "nodes:\n  - {name: f, op: flatten}\n  - {name: d, op: dense, channels: 3}\n"
    for text in (dense, dense + "task: classification\n"):
        assert tasks.task(model(tmp_path, text)) == Classification()
    with pytest.raises(InputError, match="no classifier"):
        tasks.task(model(tmp_path, CONV))


@pytest.mark.parametrize(
    "text, says",
    [
        (
            "painting",
            "m.yaml:6:7: unknown task 'painting'; expected one of: classification, detection, segmentation",
        ),
        ("[segmentation]", "m.yaml:6:7: task must be text, got a list"),
        ("{opacity: 1}", "m.yaml:6:7: a task needs 'kind'"),
        ("detection", "m.yaml:6:7: detection needs the attribute 'anchors'"),
        (
            "{kind: segmentation, opacty: 1}",
            "segmentation has no attribute 'opacty'; did you mean 'opacity'?",
        ),
        (
            "{kind: detection, anchors: [1, 2]}",
            "anchors must be a mapping, each to a list of values, got a list",
        ),
        ("{kind: detection, anchors: {conv: [[1, 2, 3]]}}", "anchors must be a mapping"),
        (f"{{kind: detection, {ANCHORS}, score: 2}}", "m.yaml:6:7: score must be from 0 to 1, got 2"),
        (
            "{kind: detection, anchors: {head: [[1, 2]]}}",
            "m.yaml:6:7: model 'm' does not fit its anchors, head:",
        ),
        ("classification", "m.yaml:6:7: model 'm' is no classifier"),
    ],
)
def test_bad_tasks(text, says, tmp_path) -> None:
    assert says in refusal(tmp_path, GRID + f"task: {text}\n")
