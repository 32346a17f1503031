"""What the outputs of a model mean, as its file says: ``task: segmentation``, or ``{kind: detection, ...}``.

Each task is a dataclass of its settings. ``entries`` is what it finds, in a word; ``check(graph)`` raises
InputError for outputs that it cannot read, ``read(graph, outputs, place)`` tells what they say of an image.
"""

from __future__ import annotations

from nbcnn.errors import nearest
from nbcnn.frontends import schema
from nbcnn.frontends.boxes import Box, Detection
from nbcnn.frontends.classes import Classification, Guess
from nbcnn.frontends.masks import Mask, Segmentation
from nbcnn.ir.graph import Graph
from nbcnn.yaml_reader import Item, Key

Task = Classification | Segmentation | Detection
Found = list[Guess] | Mask | list[Box]
TASKS: dict[str, type[Task]] = {cls.kind: cls for cls in (Classification, Segmentation, Detection)}


def task(graph: Graph) -> Task:
    """The task of ``graph``: classification where its file names none.

    Raises InputError where the outputs are not what the task reads.
    """
    found = graph.meta.get("task") or Classification()
    found.check(graph)
    return found


def of(item: Item) -> Task:
    """The task that a file's ``task`` section describes: its kind, or its kind and settings."""
    given, kind = {}, item
    if isinstance(item.value, dict):
        given = dict(item.value)
        kind = given.pop(Key("kind"), None) or item.fail("a task needs 'kind'")
    word = kind.string("task")
    if word not in TASKS:
        kind.fail(f"unknown task '{word}'{nearest(word, TASKS)}")
    return schema.build(TASKS[word], word, given, item.mark)
