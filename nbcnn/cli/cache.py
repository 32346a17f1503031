"""``nbcnn cache``: the compiled kernels, and the times of those that were tried, kept between runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def cache(ctx: typer.Context) -> None:
    """Show, fill or empty the cache of kernels and their times.

    \b
    Example:
      nbcnn cache
      nbcnn cache warm resnet50
      nbcnn cache clear
    """
    if ctx.invoked_subcommand is None:
        show()


@app.command()
def show() -> None:
    """Print where the cache is and what it holds.

    \b
    Example:
      nbcnn cache show
    """
    from nbcnn.cli import tables
    from nbcnn.runtime import codecache

    info = codecache.info()
    used, limit = (tables.size(int(info[key])) for key in ("bytes", "limit"))  # type: ignore[call-overload]
    typer.echo(f"{info['folder']}\n{info['files']} files, {used} of at most {limit}")


@app.command()
def warm(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL...]", help="Names or YAML files; all that come with nbcnn if none."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores when not given.")] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Time all kernels that could serve, for later use with --tune.")
    ] = False,
) -> None:
    """Compile and try the kernels of models ahead of their first use.

    \b
    Example:
      nbcnn cache warm resnet50 mobilenet_v2
      nbcnn cache warm resnet50 --tune
    """
    from nbcnn import api, resources
    from nbcnn.cli.common import compiled

    graphs = [api.load(name) for name in models or resources.names("graphs")]
    for graph in graphs:
        compiled(graph, "default", threads=threads, tune=tune)
    show()


@app.command()
def clear() -> None:
    """Remove every file: kernels are compiled, and tried, anew.

    \b
    Example:
      nbcnn cache clear
    """
    from nbcnn.runtime import codecache

    typer.echo(f"{codecache.clear()} files removed")
