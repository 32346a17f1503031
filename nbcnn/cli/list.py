"""``nbcnn list``: the models that come with nbcnn."""

from __future__ import annotations


def list_models() -> None:
    """List the models that come with nbcnn.

    \b
    Example:
      nbcnn list
    """
    from rich.markup import escape

    from nbcnn import api, resources
    from nbcnn.cli import tables

    table = tables.table("model", "parameters", "MACs", "input", "description", right=("parameters", "MACs"))
    for name in resources.names("graphs"):
        graph = api.load(name)
        inputs = ", ".join(map(tables.shape, graph.inputs.values()))
        row = (name, tables.count(graph.parameters), tables.count(graph.macs), inputs)
        table.add_row(*row, escape(str(graph.meta.get("description", ""))))
    tables.console().print(table)
