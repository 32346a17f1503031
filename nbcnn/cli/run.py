"""``nbcnn run``: classify images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nbcnn.cli.common import ModelName, Passes, compiled
from nbcnn.cli.progress import bar

if TYPE_CHECKING:
    from nbcnn.frontends.classes import Guess


def run(
    model: ModelName,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files: PNG, JPEG, WebP...")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to print for each image.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: [{image, classes: [...]}].")] = False,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A safetensors file in place of the model's own weights."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores when not given.")] = None,
    passes: Passes = "default",
) -> None:
    """Classify images.

    Prints the likeliest classes of each image with their probabilities.

    \b
    Example:
      nbcnn run digits graphs/samples/*.png --top 1
      nbcnn run resnet50 cat.jpg --weights resnet50.safetensors --json
    """
    from nbcnn import api
    from nbcnn.frontends import classes
    from nbcnn.frontends.preprocess import load_image

    graph = api.load(model, weights=weights)
    classes.check_classifier(graph)
    first = load_image(images[0], graph)  # a wrong file should not have to wait for the compiler
    program = compiled(graph, passes, threads=threads)
    found: list[tuple[str, list[Guess]]] = []
    with bar("classifying") as progress:
        for done, path in enumerate(images):
            progress(done, len(images), Path(path).name)
            image = load_image(path, graph) if done else first
            scores = program(image)
            assert not isinstance(scores, dict)  # a classifier has one output
            (guesses,) = classes.best(graph, scores, top)
            found.append((path, guesses))
    typer.echo(_json(found) if json else _text(found))


def _json(found: list[tuple[str, list[Guess]]]) -> str:
    import json
    from dataclasses import asdict

    report = [{"image": path, "classes": [asdict(g) for g in guesses]} for path, guesses in found]
    return json.dumps(report, indent=2, allow_nan=False)


def _text(found: list[tuple[str, list[Guess]]]) -> str:
    lines = []
    for path, guesses in found:
        lines.append(path)
        lines += [f"  {guess.probability:6.1%}  {guess.label}" for guess in guesses]
    return "\n".join(lines)
