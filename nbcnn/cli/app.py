"""The command ``nbcnn``: its verbs, and what becomes of their errors.

Nothing heavy is imported before a verb needs it: ``nbcnn --help`` has to be quick.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import nbcnn
from nbcnn.cli import bench, bisect, cache, explain, export, import_, optimize, prune, run, sensitivity, show
from nbcnn.cli import list as list_
from nbcnn.cli.common import SETTINGS
from nbcnn.errors import NbcnnError

MISTAKE = 2
"""Exit code for what the user can mend: wrong arguments, wrong files."""

INTERRUPTED = 130


class Verbs(TyperGroup):
    """A user's mistake is one line and exit code 2; a bug keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            try:
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
            except NbcnnError as error:
                _say("error", *str(error).split("\n  "))
                raise typer.Exit(MISTAKE) from None
            except MemoryError as error:
                _say("error", f"not enough memory: {error}")
                raise typer.Exit(MISTAKE) from None
            except KeyboardInterrupt:
                raise typer.Exit(INTERRUPTED) from None
            except BrokenPipeError:
                # The reader, such as head, has seen enough; Python would complain when it flushes at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(1) from None


app = typer.Typer(
    name="nbcnn",
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # help drawn by rich takes longer to come than all the rest
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"nbcnn {nbcnn.__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Optimise, run and benchmark convolutional networks.

    MODEL is the name of a model that comes with nbcnn (see nbcnn list) or the path of a YAML
    or ONNX file.

    \b
    Example:
      nbcnn run digits graphs/samples/*.png
      nbcnn bench resnet50 --threads 2
    """


app.command("list")(list_.list_models)
app.command("show")(show.show)
app.command("optimize", context_settings=SETTINGS)(optimize.optimize)
app.command("explain", context_settings=SETTINGS)(explain.explain)
app.command("run")(run.run)
app.command("import")(import_.import_)
app.command("export", context_settings=SETTINGS)(export.export)
app.command("bench", context_settings=SETTINGS)(bench.bench)
app.command("prune")(prune.prune)
app.command("sensitivity")(sensitivity.sensitivity)
app.command("bisect", context_settings=SETTINGS)(bisect.bisect)
app.add_typer(cache.app, name="cache")


def main() -> None:
    """Run the command line and exit."""
    app(prog_name="nbcnn")


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _say("warning", str(message))


def _say(what: str, text: str, *details: str) -> None:
    lines = [f"{what}: {text}", *(f"  {detail}" for detail in details)]
    typer.echo("\n".join(" ".join(line.splitlines()) for line in lines), err=True)
