"""``nbcnn bench``: a model in nbcnn and in other engines, side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from nbcnn.bench.job import AGAINST, Job
from nbcnn.cli.common import ModelName, Passes, Precision, Target, Tune, pipeline_text
from nbcnn.cli.progress import bar

DEFAULT = Job("")
DEFAULTS = [f"{','.join(names)} (target {target})" for target, names in AGAINST.items()]


def bench(
    context: typer.Context,
    model: ModelName,
    batch: Annotated[int, typer.Option(help="Images per inference.")] = DEFAULT.batch,
    threads: Annotated[int, typer.Option(help="Threads of each engine.")] = DEFAULT.threads,
    streams: Annotated[
        int, typer.Option(help="Requests in flight at a time, each on --threads threads: for throughput.")
    ] = DEFAULT.streams,
    passes: Passes = DEFAULT.passes,
    target: Target = DEFAULT.target,
    precision: Precision = DEFAULT.precision,
    tune: Tune = DEFAULT.tune,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE,...",
            help="Of onnxruntime, openvino, torch, mnn, ncnn, dense (nbcnn on passes default); of torch, "
            "torch.compile, dense on a GPU; or none. Default: " + "; ".join(DEFAULTS) + ".",
        ),
    ] = None,
    warmup: Annotated[int, typer.Option(metavar="N", help="Calls before measuring.")] = DEFAULT.warmup,
    time: Annotated[float, typer.Option(metavar="SECONDS", help="Measuring time per engine.")] = DEFAULT.time,
    profile: Annotated[bool, typer.Option("--profile", help="Print nbcnn's time step by step.")] = False,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the figures to FILE, too.")
    ] = None,
) -> None:
    """Benchmark a model against other engines.

    The engines run in turn, each in a process of its own. A ratio is the engine's latency over
    nbcnn's (above 1: nbcnn is faster), the median and the quartiles over pairs of blocks measured
    one after the other; with --streams it is a ratio of throughputs, and latencies are those of
    requests in flight together. Passes that change the model, such as prune, run before every engine gets it.
    On a GPU inputs and outputs stay in its memory. Further options are those that the pipeline declares;
    they stand after MODEL.

    \b
    Example:
      nbcnn bench resnet50 --threads 2 --against onnxruntime
      nbcnn bench resnet50 --streams 2
      nbcnn bench resnet50 --passes sparse --sparsity 0.9 --against openvino,mnn
      nbcnn bench resnet50 --target cuda --precision float16 --batch 128
      nbcnn bench digits --against none --profile --json digits.json
    """
    from nbcnn import bench as benches
    from nbcnn.bench import report

    if json is not None:
        report.check_writable(json)
    names = None if against is None else tuple(name.strip() for name in against.split(","))
    if names in (("",), ("none",)):
        names = ()
    with bar(f"bench {model}") as progress:
        job = Job(
            model,
            batch=batch,
            threads=threads,
            streams=streams,
            passes=pipeline_text(passes, context.args),
            target=target,
            precision=precision,
            tune=tune,
            against=names,
            warmup=warmup,
            time=time,
            profile=profile,
            progress=lambda what, done, total: progress(done, total, what),
        )
        result = benches.run(job)
    report.show(result)
    if json is not None:
        report.write_json(result, json)
