"""``nbcnn sensitivity``: how much a model errs when a layer is pruned, and which layers to prune how far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.common import ModelName
from nbcnn.cli.progress import bar

if TYPE_CHECKING:
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
    milliseconds: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Find shares for a call of so long, measured on this machine."),
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
    """Prune one layer at a time and print the error it makes.

    The error is that of the results, relative to those of the dense model (Euclidean norm); with
    labels (y of an .npz, or a folder of images for each class) the accuracy is printed instead. With
    --sparsity, --time or --milliseconds each layer gets the share that keeps the sum of the squared
    errors least, and the model pruned so is measured as a whole, beside one with the same share
    everywhere. For --milliseconds every layer is timed with sparse kernels at every share.

    \b
    Example:
      nbcnn sensitivity resnet50 --data photos --sparsity 0.9 -o spec.yaml
      nbcnn prune resnet50 --spec spec.yaml -o sparse.yaml
      nbcnn sensitivity resnet50 --milliseconds 12 --threads 2 -o spec.yaml
    """
    from nbcnn import api
    from nbcnn.cli import sensitivity_report as report
    from nbcnn.cli.prune import names
    from nbcnn.debug import allocate, layer_times, sensitivity_plot
    from nbcnn.debug import sensitivity as study
    from nbcnn.debug.samples import read
    from nbcnn.passes import optimize
    from nbcnn.passes.prune import Prune

    targets = {"--sparsity": sparsity, "--time": time, "--milliseconds": milliseconds}
    asked = [name for name, target in targets.items() if target is not None]
    _check(asked, milliseconds, out)
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
    chosen, scores, times, took = {}, {}, None, None
    use: allocate.Time = allocate.by_size
    if sparsity is not None:
        chosen = allocate.for_sparsity(found, sparsity)
    elif time is not None:
        use, chosen = allocate.by_macs(found), allocate.for_time(found, time)
    elif milliseconds is not None:
        inputs = layer_times.one_call(graph, samples)
        with bar(f"timing {model}") as progress:
            times = layer_times.measure(graph, found, layer_times.profiled(inputs, threads), progress)
        use, chosen = times, allocate.for_seconds(found, 1e-3 * milliseconds, times)
    if asked:
        spec = found.spec(chosen)
        even = dict.fromkeys((e.layer.name for e in found.entries), allocate.even(found, chosen, use))
        scores = _scores(found, graph, samples, {"chosen": chosen, "uniform": even}, compile_)
        if times is not None:
            pruned = layer_times.sparse(optimize(graph, spec))
            took = layer_times.latency(pruned, layer_times.one_call(graph, samples), threads)
        if out:
            _write(out, spec.yaml())
    result = report.Result(found, chosen, scores, times, took)
    if json:
        typer.echo(report.json_text(result))
    else:
        report.show(result)
    if plot:
        sensitivity_plot.plot(found, plot, chosen)


def _check(asked: list[str], milliseconds: float | None, out: Path | None) -> None:
    from nbcnn.errors import OptionError

    if len(asked) > 1:
        raise OptionError(f"{' and '.join(asked)} exclude each other")
    if milliseconds is not None and not 0 < milliseconds < float("inf"):
        raise OptionError(f"--milliseconds must be above 0, got {milliseconds:g}")
    if out and not asked:
        raise OptionError("-o needs a target: --sparsity, --time or --milliseconds")


def _numbers(words: str) -> list[float]:
    from nbcnn.errors import OptionError

    try:
        return [float(word) for word in words.split(",")]
    except ValueError:
        raise OptionError(f"--shares takes numbers such as 0.5,0.9, got '{words}'") from None


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
