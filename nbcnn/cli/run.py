"""``nbcnn run``: what a model says of images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.common import ModelName, Passes, Precision, Target, Tune, compiled
from nbcnn.cli.progress import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from nbcnn.frontends.tasks import Found, Task

TOP = {"classification": 5}
"""How many lines to print of an image, where not all."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def run(
    model: ModelName,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files: PNG, JPEG, WebP...")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where pictures go: a folder, or a file for one image; else IMAGE.MODEL.png in this folder.",
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many lines to print for each image; of classes, 5.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, a list with an entry per image.")] = False,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A safetensors file in place of the model's own weights."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores when not given.")] = None,
    passes: Passes = "default",
    target: Target = "cpu",
    precision: Precision = "float32",
    tune: Tune = None,
) -> None:
    """Classify images, paint what they show, or find things in them.

    A classifier's likeliest classes are printed with their probabilities. A model that segments
    writes each image with its classes painted over it, and prints their shares; one that detects
    writes each image with boxes around things, and prints them.

    \b
    Example:
      nbcnn run digits graphs/samples/*.png --top 1
      nbcnn run digit_scenes graphs/samples/scenes/*.png -o found
      nbcnn run resnet50 cat.jpg --weights resnet50.safetensors --json
      nbcnn run resnet50 cat.jpg --target cuda --precision float16
    """
    from nbcnn import api
    from nbcnn.frontends import tasks
    from nbcnn.frontends.preprocess import prepare, read_image

    graph = api.load(model, weights=weights)
    task = tasks.task(graph)
    pictures = _targets(task, images, output, graph.name)
    prepare(read_image(images[0]), graph, images[0])  # a wrong file should not have to wait for the compiler
    program = compiled(graph, passes, target, threads=threads, precision=precision, tune=tune)
    report: list[dict[str, Any]] = []
    with bar("running") as progress:
        for done, (path, picture) in enumerate(zip(images, pictures, strict=True)):
            progress(done, len(images), Path(path).name)
            image = read_image(path)
            array, place = prepare(image, graph, path)
            found = task.read(graph, program.run({next(iter(graph.inputs)): array}), place)
            report.append({"image": path, task.entries: _entries(found)[: top or TOP.get(task.kind)]})
            if picture:
                _draw(task, image, found, picture)
                report[-1]["picture"] = str(picture)
    typer.echo(_json(report, task.entries) if json else _text(report, task.entries))


def _targets(task: Task, images: list[str], output: str | None, model: str) -> list[Path | None]:
    """The picture to write for each image; none of a classifier. Raises OptionError."""
    from nbcnn.errors import OptionError

    if task.kind == "classification":
        if output:
            raise OptionError(f"--output: model '{model}' classifies images, and paints none")
        return [None] * len(images)
    folder = Path(output or "")
    if folder.suffix and not folder.is_dir():
        if len(images) > 1:
            raise OptionError(f"--output: '{output}' is one file for {len(images)} images; name a folder")
        if folder.suffix.lower() not in SUFFIXES:
            raise OptionError(f"--output: '{output}' should end in {', '.join(SUFFIXES)}, or be a folder")
        targets = [folder]
    else:
        word = re.sub(r"[^\w-]", "_", model)[:80]  # a model may be called ../../anything
        targets = [folder / f"{Path(path).stem}.{word}.png" for path in images]
    taken = {Path(path).resolve(): path for path in images}
    for path, target in zip(images, targets, strict=True):
        if other := taken.get(target.resolve()):
            raise OptionError(f"the picture of '{path}' would be written over that of '{other}', {target}")
        taken[target.resolve()] = path
    return list(targets)


def _draw(task: Task, image: Image, found: Found, target: Path) -> None:
    from nbcnn.frontends import pictures
    from nbcnn.frontends.masks import Mask, Segmentation

    if isinstance(task, Segmentation):
        assert isinstance(found, Mask)
        pictures.save(pictures.paint(image, found, task), target)
    else:
        pictures.save(pictures.outline(image, _entries(found)), target)


def _entries(found: Found) -> Sequence[Any]:
    from nbcnn.frontends.masks import Mask

    return found.segments if isinstance(found, Mask) else found


def _json(report: list[dict[str, Any]], entries: str) -> str:
    import json
    from dataclasses import asdict

    plain = [found | {entries: [asdict(entry) for entry in found[entries]]} for found in report]
    return json.dumps(plain, indent=2, allow_nan=False)


def _text(report: list[dict[str, Any]], entries: str) -> str:
    lines = []
    for found in report:
        lines.append(f"{found['image']} -> {found['picture']}" if "picture" in found else found["image"])
        lines += [f"  {entry}" for entry in found[entries]] or [f"  no {entries}"]
    return "\n".join(lines)
