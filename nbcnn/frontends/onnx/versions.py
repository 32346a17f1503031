"""A model in another opset: up by onnx's own converter, which goes down hardly at all, and down by hand.

Between opset 11 and `write.OPSET` most operators changed in the types they take alone, which the checker
looks after. The others are in `OLDER`, or are functions, which become the nodes of their bodies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbcnn.errors import GraphError, OptionError
from nbcnn.frontends.onnx import proto

if TYPE_CHECKING:
    import onnx

FIRST_OPSET = 11


def converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``model`` in ``opset``; operators that it lacks become the ones that define them.

    Raises OptionError for an opset that does not exist, GraphError where an operator cannot be told in it.
    """
    package = proto.package()
    newest = package.defs.onnx_opset_version()
    if not FIRST_OPSET <= opset <= newest:
        raise OptionError(f"opset must be from {FIRST_OPSET} to {newest}, got {opset}")
    current = next(o.version for o in model.opset_import if o.domain == "")
    try:
        if opset > current:
            made = package.version_converter.convert_version(model, opset)
        else:
            made = _older(_expanded(model, opset), opset)
        package.checker.check_model(made, full_check=True)
    except GraphError:
        raise
    except Exception as error:  # from C++, of whatever class
        reason = " ".join(str(error).split())
        raise GraphError(f"the model cannot be written in opset {opset}: {reason[:300]}") from None
    return made


def _expanded(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``model`` with the bodies of the functions that are newer than ``opset``."""
    package = proto.package()
    first: dict[str, int] = {}
    functions = set()
    for schema in package.defs.get_all_schemas_with_history():
        if schema.domain == "":
            first[schema.name] = min(schema.since_version, first.get(schema.name, schema.since_version))
            if schema.has_function or schema.has_context_dependent_function:
                functions.add(schema.name)
    newer = {("", n.op_type) for n in model.graph.node if first[n.op_type] > opset}
    if late := [kind for _, kind in sorted(newer) if kind not in functions]:
        raise GraphError(f"the model cannot be written in opset {opset}: it has no {late[0]}")
    if not newer:
        return model
    typed = package.shape_inference.infer_shapes(model)
    return package.inliner.inline_selected_functions(typed, sorted(newer), inline_schema_functions=True)


def _older(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``model`` with each node in the form that it had in ``opset``."""
    helper = proto.package().helper
    older = _Older(model, opset)
    nodes = [made for node in model.graph.node for made in older.nodes(node)]
    graph = helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [*older.constants.values()]
    )
    return helper.make_model(
        graph,
        producer_name=model.producer_name,
        ir_version=model.ir_version,
        opset_imports=[helper.make_opsetid("", opset)],
        doc_string=model.doc_string,
    )


class _Older:
    """Rewrites nodes; ``constants`` are the initialisers that are still read."""

    def __init__(self, model: onnx.ModelProto, opset: int) -> None:
        package = proto.package()
        self.opset = opset
        self.constants = {t.name: t for t in model.graph.initializer}
        typed = package.shape_inference.infer_shapes(model).graph
        infos = [*typed.value_info, *typed.input, *typed.output]
        self.ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in infos}

    def nodes(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        until, adapt = OLDER.get(node.op_type, (0, None))
        return adapt(self, node) if adapt and self.opset < until else [node]

    def operand_as_attribute(self, node: onnx.NodeProto, name: str) -> list[onnx.NodeProto]:
        """Operand 1, a constant, as attribute ``name``."""
        package = proto.package()
        made = package.NodeProto()
        made.CopyFrom(node)
        if len(node.input) > 1 and node.input[1]:
            if node.input[1] not in self.constants:
                raise GraphError(f"opset {self.opset} takes {name} of {node.op_type} as a constant alone")
            values = package.numpy_helper.to_array(self.constants[node.input[1]]).tolist()
            made.attribute.append(package.helper.make_attribute(name, values))
        del made.input[1:]
        return [made]

    def along_last(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Softmax: before opset 13 it is over all axes from ``axis`` on, so that axis is made the last."""
        helper = proto.package().helper
        rank = self.ranks[node.input[0]]
        axis = next((a.i for a in node.attribute if a.name == "axis"), -1) % max(rank, 1)
        if axis == rank - 1:
            return [helper.make_node(node.op_type, node.input, node.output, node.name, axis=axis)]
        perm = [*range(rank)]
        perm[axis], perm[-1] = perm[-1], perm[axis]
        before, after = f"{node.output[0]}.last", f"{node.output[0]}.made"
        return [
            helper.make_node("Transpose", node.input, [before], before, perm=perm),
            helper.make_node(node.op_type, [before], [after], after, axis=rank - 1),
            helper.make_node("Transpose", [after], node.output, node.name, perm=perm),
        ]


Adapter = Callable[[_Older, Any], list[Any]]


def _attribute(name: str) -> Adapter:
    return lambda older, node: older.operand_as_attribute(node, name)


OLDER: dict[str, tuple[int, Adapter]] = {
    "Softmax": (13, _Older.along_last),
    "LogSoftmax": (13, _Older.along_last),
    "Hardmax": (13, _Older.along_last),
    "Split": (13, _attribute("split")),
    "Squeeze": (13, _attribute("axes")),
    "Unsqueeze": (13, _attribute("axes")),
    "ReduceSum": (13, _attribute("axes")),
}
"""Operator -> the opset that its form came with, and what makes nodes of the form before it."""
