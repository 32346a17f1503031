"""``nbcnn sensitivity``: how much a model errs when a layer is pruned, and which layers to prune how far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.common import ModelName
from nbcnn.cli.progress import bar

if TYPE_CHECKING:
    from rich.table import Table

    from nbcnn.debug.sensitivity import Score, Sensitivity


def sensitivity(
    model: ModelName,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="An .npz of x[, y], an image, or a folder of images. [seeded noise]"
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="At most so many samples. [all; 8 of noise]")
    ] = None,
    shares: Annotated[
        str | None, typer.Option(metavar="SHARE,...", help="The shares of zeros to try. [0.5,...,0.95]")
    ] = None,
    pattern: Annotated[
        str, typer.Option(help="unstructured, 1x4, 1x8, 1x16, 2:4, 4:8 or channel.")
    ] = "unstructured",
    criterion: Annotated[str, typer.Option(help="magnitude, global or random.")] = "magnitude",
    keep: Annotated[
        str, typer.Option(metavar="LAYER,...", help="Layers to leave out, as for nbcnn prune; or none.")
    ] = "first,last",
    sparsity: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Find shares for so many zeros in all these layers.")
    ] = None,
    time: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Find shares for so much of the dense multiply-accumulates."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Write the shares found, for nbcnn prune --spec."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the errors: .png, .svg or .pdf.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A safetensors file in place of the model's own weights."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores when not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the noise, and the scores of random.")] = 0,
) -> None:
    """Prune one layer at a time and print the error that this makes.

    The error is that of the results, relative to those of the dense model (Euclidean norm); with
    labels (y of an .npz, or a folder of images for each class) the accuracy is printed instead. With
    --sparsity or --time each layer gets the share that keeps the sum of the squared errors least, and
    the model pruned so is measured as a whole, beside one with the same share everywhere.

    \b
    Example:
      nbcnn sensitivity resnet50 --data photos --sparsity 0.9 -o spec.yaml
      nbcnn prune resnet50 --spec spec.yaml -o sparse.yaml
    """
    from nbcnn import api
    from nbcnn.cli.prune import names
    from nbcnn.debug import sensitivity as study
    from nbcnn.debug import sensitivity_plot
    from nbcnn.debug.samples import read
    from nbcnn.passes.prune import Prune

    _check(sparsity, time, out)
    if plot:
        sensitivity_plot.check(plot)
    options = {"pattern": pattern, "criterion": criterion, "keep": names(keep), "seed": seed}
    settings = Prune.of(options | ({} if ":" in pattern else {"sparsity": 0.5}))
    tried = None if shares is None else _numbers(shares)
    graph = api.load(model, weights=weights)
    samples = read(graph, data, count, seed)
    compile_ = study.compiled(threads)
    with bar(f"pruning {model}") as progress:
        found = study.measure(graph, samples, tried, settings=settings, compile_=compile_, progress=progress)
    chosen, scores = {}, {}
    if sparsity is not None or time is not None:
        chosen = _allocated(found, sparsity, time)
        spec = found.spec(chosen)
        even = _even(found, chosen, time is not None)
        scores = _scores(found, graph, samples, {"chosen": chosen, "uniform": even}, compile_)
        if out:
            _write(out, spec.yaml())
    if json:
        typer.echo(_json(found, chosen, scores))
    else:
        _print(found, chosen, scores)
    if plot:
        sensitivity_plot.plot(found, plot, chosen)


def _check(sparsity: float | None, time: float | None, out: Path | None) -> None:
    from nbcnn.errors import OptionError

    if sparsity is not None and time is not None:
        raise OptionError("--sparsity and --time exclude each other")
    if out and sparsity is None and time is None:
        raise OptionError("-o needs a target: --sparsity or --time")


def _numbers(words: str) -> list[float]:
    from nbcnn.errors import OptionError

    try:
        return [float(word) for word in words.split(",")]
    except ValueError:
        raise OptionError(f"--shares takes numbers such as 0.5,0.9, got '{words}'") from None


def _allocated(found: Sensitivity, sparsity: float | None, time: float | None) -> dict[str, float]:
    from nbcnn.debug import allocate

    if sparsity is not None:
        return allocate.for_sparsity(found, sparsity)
    assert time is not None
    return allocate.for_time(found, time)


def _even(found: Sensitivity, chosen: Mapping[str, float], by_macs: bool) -> dict[str, float]:
    """One share for all layers with as many zeros in all, or with ``by_macs`` as few multiply-accumulates."""
    sizes = [entry.macs if by_macs else entry.layer.size for entry in found.entries]
    names = [entry.layer.name for entry in found.entries]
    gone = sum(chosen.get(name, 0) * size for name, size in zip(names, sizes, strict=True))
    return dict.fromkeys(names, gone / max(sum(sizes), 1))


def _scores(
    found: Sensitivity, graph: Any, samples: Any, specs: Mapping[str, Mapping[str, float]], compile_: Any
) -> dict[str, Score]:
    """The errors of the model as a whole; of an N:M pattern there is no uniform share but its own."""
    from nbcnn.debug import sensitivity as study
    from nbcnn.passes import optimize

    return {
        name: study.joint(graph, optimize(graph, found.spec(shares)), samples, compile_)
        for name, shares in specs.items()
        if name == "chosen" or ":" not in found.settings.pattern
    }


def _write(path: Path, text: str) -> None:
    from nbcnn.errors import OptionError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"-o {path}: {error.strerror}") from None


def _print(found: Sensitivity, chosen: Mapping[str, float], scores: Mapping[str, Score]) -> None:
    from nbcnn.cli import tables

    out = tables.console()
    out.print(_table(found, chosen))
    for name, why in found.skipped.items():
        out.print(f"left out: {name}: {why}", markup=False)
    zeros = sum(chosen.get(e.layer.name, 0) * e.layer.size for e in found.entries)
    total = sum(e.layer.size for e in found.entries)
    macs = sum((1 - chosen.get(e.layer.name, 0)) * e.macs for e in found.entries)
    if chosen:
        left = macs / max(sum(e.macs for e in found.entries), 1)
        out.print(f"chosen: {zeros / total:.1%} zeros, {left:.1%} of the multiply-accumulates")
    for name, score in scores.items():
        right = f", accuracy {score.accuracy:.2%}" if found.accuracy is not None else ""
        out.print(f"{name}: error {score.error:.4g}{right}, the whole model measured")


def _table(found: Sensitivity, chosen: Mapping[str, float]) -> Table:
    from rich.markup import escape

    from nbcnn.cli import tables

    shares = [f"{share:.4g}" for share in found.shares]
    extra = ("chosen",) if chosen else ()
    right = ("weights", "MACs", *shares, *extra)
    what = "error" if found.accuracy is None else f"accuracy (dense {found.accuracy:.2%})"
    title = f"{found.model}: {what} at each share of zeros, {found.settings.pattern}, {found.samples} samples"
    table = tables.table("layer", "shape", *right, right=right, title=title)
    for entry in found.entries:
        cells = [f"{e:.4f}" for e in entry.errors]
        if entry.accuracy is not None:
            cells = [f"{a:.2%}" for a in entry.accuracy]
        share = chosen.get(entry.layer.name)
        table.add_row(
            escape(entry.layer.name),
            " x ".join(map(str, entry.layer.shape)),
            f"{entry.layer.size:,}",
            f"{entry.macs:,}",
            *cells,
            *([f"{share:.4g}" if share else ""] if chosen else []),
        )
    return table


def _json(found: Sensitivity, chosen: Mapping[str, float], scores: Mapping[str, Score]) -> str:
    import json
    import math

    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    report: dict[str, Any] = {
        "model": found.model,
        "samples": found.samples,
        "pattern": found.settings.pattern,
        "criterion": found.settings.criterion,
        "shares": list(found.shares),
        "layers": [],
        "skipped": dict(found.skipped),
    }
    labelled = found.accuracy is not None
    if labelled:
        report["accuracy"] = found.accuracy
    for entry in found.entries:
        layer = {
            "layer": entry.layer.name,
            "weight": entry.layer.weight,
            "shape": list(entry.layer.shape),
            "macs": entry.macs,
            "errors": [number(error) for error in entry.errors],
        }
        if entry.accuracy is not None:
            layer["accuracy"] = list(entry.accuracy)
        report["layers"].append(layer)
    if chosen:
        report["chosen"] = dict(chosen)
    for name, score in scores.items():
        report[f"{name}_error"] = number(score.error)
        if labelled:
            report[f"{name}_accuracy"] = score.accuracy
    return json.dumps(report, indent=2, allow_nan=False)
