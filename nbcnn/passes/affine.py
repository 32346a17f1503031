"""What the passes share that fold y = scale * x + shift, per channel, into the linear layer before or behind
it.

After a layer, always (stride, padding, dilation and groups do not touch output channels):

    s * conv(x; w, b) + t = conv(x; s*w, s*b + t)
    s * bn(x; g, b) + t   = bn(x; s*g, s*b + t)

Before a layer, the scale always, the shift only where no padding stands beside the shifted values:

    conv(s*x + t; w, b)   = conv(x; w', b')   with w'[o,c] = w[o,c] * s[c], b'[o] = b[o] + sum w[o,c] * t[c]
    bn(s*x + t; g, b)     = bn(x; g*s, b + k*(m*s + t - m))   with k = g / sqrt(v + eps)

A transposed convolution takes the scale before it, but no shift: its outputs see different numbers of taps.
New weights are computed in float64 and rounded once; masks and marks of sparsity stay, because what is zero
stays zero. A weight that other nodes share is left to them: this layer gets its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nbcnn.ir import Graph, Node, Op, Rewriter
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv_transpose import ConvTranspose
from nbcnn.passes import prune_patterns
from nbcnn.passes.fusing import other_uses


@dataclass(frozen=True)
class Affine:
    """y = scale * x + shift: float64 vectors with an element for each channel."""

    scale: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class Kind:
    """Which nodes a pass folds, and into what.

    ``operand`` names the value that a node scales and shifts (None: not such a node), ``read`` tells how, or
    why it cannot; ``layers`` are the operators that take it.
    """

    operand: Callable[[Graph, Node], str | None]
    read: Callable[[Graph, Node], Affine | str]
    layers: frozenset[str]


Changed = dict[str, Callable[[], np.ndarray]]
"""What computes the new arrays by slot; slots that are not there keep their weight."""


def fold(rw: Rewriter, kind: Kind) -> None:
    """Fold every node of ``kind`` into the layer before it, then those left into the layer behind.

    Again until nothing changes: a fold may take away the other reader that kept an earlier one back.
    """
    done = -1
    while done < len(rw.rewrites):
        done = len(rw.rewrites)
        names = [node.name for node in rw.graph.nodes]
        for name in names:
            if not _fold(rw, rw.graph.node(name), kind, _layer_before, _after):
                return
        for name in reversed(names):
            if name in rw.graph and not _fold(rw, rw.graph.node(name), kind, _layer_behind, _before):
                return


def slots(graph: Graph, node: Node) -> dict[str, str]:
    """Names of a node's weights by slot."""
    return dict(zip(node.op.params(*graph.types(node.data)), node.weights, strict=True))


def of_norm(graph: Graph, node: Node) -> Affine:
    """What a batch_norm computes."""
    assert isinstance(node.op, BatchNorm)
    own = {slot: graph.weight(name).array.astype(np.float64) for slot, name in slots(graph, node).items()}
    with np.errstate(all="ignore"):  # what is not finite is refused later
        scale = own["weight"] / np.sqrt(own["running_var"] + node.op.epsilon)
        return Affine(scale, own["bias"] - own["running_mean"] * scale)


# -- finding ---------------------------------------------------------------------------------------


def _layer_before(graph: Graph, node: Node, operand: str) -> tuple[Node | None, str | None]:
    """The layer that makes ``operand``, and why it may not be changed."""
    layer = graph.producer(operand)
    return layer, layer and other_uses(graph, operand, node)  # type: ignore[return-value]


def _layer_behind(graph: Graph, node: Node, operand: str) -> tuple[Node | None, str | None]:
    """A layer that reads the node's value, and why that value must stay."""
    readers = graph.readers(node.output)
    if not readers:
        return None, None
    layer, slot = readers[0]
    return (layer, other_uses(graph, node.output, layer)) if slot == 0 else (None, None)


def _fold(rw: Rewriter, node: Node, kind: Kind, find: Any, combine: Any) -> bool:
    """Fold one node if it can be; False when the limit on rewrites is reached."""
    graph = rw.graph
    operand = kind.operand(graph, node)
    if operand is None:
        return True
    layer, why = find(graph, node, operand)
    if layer is None or layer.op.name not in kind.layers:
        return True
    affine = why or _readable(graph, node, layer) or kind.read(graph, node)
    changed = affine if isinstance(affine, str) else combine(graph, layer, affine)
    if isinstance(changed, str):
        rw.refuse(node.name, changed)
        return True
    arrays = {slot: source() for slot, source in changed.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        rw.refuse(node.name, f"the weights of '{layer.name}' would overflow or hold NaN")
        return True
    if not rw.begin(node.name, f"folded into '{layer.name}'"):
        return False
    stays, data = (node, layer.data) if combine is _after else (layer, (operand,))
    op = _with_bias(layer.op) if "bias" in changed else layer.op
    weights = _renewed(rw, layer, op, node, arrays, changed, stays.name)
    rw.replace(stays.name, op, (*data, *weights))
    rw.erase_dead([*node.inputs, *layer.inputs, layer.name, node.name])
    return True


def _readable(graph: Graph, *nodes: Node) -> str | None:
    computed = [v for n in nodes for v in n.weights if not graph.is_weight(v)]
    return f"'{computed[0]}' is computed, not a weight" if computed else None


def _with_bias(op: Op) -> Op:
    return replace(op, bias=True) if hasattr(op, "bias") else op  # type: ignore[type-var]


def _renewed(
    rw: Rewriter,
    layer: Node,
    op: Op,
    node: Node,
    arrays: dict[str, np.ndarray],
    changed: Changed,
    name: str,
) -> list[str]:
    """Names of the weights of ``op`` in slot order, the ``arrays`` that changed added to the graph."""
    graph = rw.graph
    old = slots(graph, layer)
    trainable = any(graph.weight(v).trainable for v in (*layer.inputs, *node.inputs) if graph.is_weight(v))
    names = []
    for slot in op.params(*graph.types(layer.data)):
        if slot not in changed:
            names.append(old[slot])
            continue
        weight = graph.weight(old[slot]) if slot in old else None
        own = trainable if slot == "bias" or weight is None else weight.trainable
        array = arrays[slot]
        array.flags.writeable = False  # so that the graph takes it without a copy
        mask = mark = None
        if weight is not None and slot == "weight":
            mask = weight.mask
            mark = prune_patterns.renewed(array, weight, groups=getattr(op, "groups", 1))
        fresh = f"{name}.folded_{slot}"
        keep = {"trainable": own, "mask": mask, "sparsity": mark, "source": changed[slot]}
        names.append(rw.add_weight(fresh, array, **keep))
    return names


# -- algebra ---------------------------------------------------------------------------------------


def _after(graph: Graph, layer: Node, affine: Affine) -> Changed:
    """The layer's weights when ``affine`` follows it."""
    own = _arrays(graph, layer)
    changed = _scaled(own["weight"], _over_outputs(layer.op, own["weight"], affine.scale))
    if "bias" in own or affine.shift.any():
        with np.errstate(all="ignore"):
            bias = own.get("bias", 0.0) * affine.scale + affine.shift
            changed["bias"] = _held(np.asarray(bias).astype(own["weight"].dtype))
    return changed


def _before(graph: Graph, layer: Node, affine: Affine) -> Changed | str:
    """The layer's weights when ``affine`` precedes it, or why there are none."""
    own, op = _arrays(graph, layer), layer.op
    if isinstance(op, BatchNorm):
        return _before_norm(graph, layer, affine)
    if affine.shift.any() and (why := _hides_a_shift(graph, layer)):
        return why
    weight = own["weight"]
    changed = _scaled(weight, _over_inputs(op, weight, affine.scale))
    if affine.shift.any():
        with np.errstate(all="ignore"):
            shift = weight * _over_inputs(op, weight, affine.shift)  # float64, as the shift is
            total = own.get("bias", 0.0) + shift.reshape(len(weight), -1).sum(axis=1)
            changed["bias"] = _held(total.astype(weight.dtype))
    return changed


def _before_norm(graph: Graph, layer: Node, affine: Affine) -> Changed:
    own, now = _arrays(graph, layer), of_norm(graph, layer)
    mean = own["running_mean"].astype(np.float64)
    with np.errstate(all="ignore"):
        bias = own["bias"] + now.scale * (mean * affine.scale + affine.shift - mean)
        return _scaled(own["weight"], affine.scale) | {"bias": _held(bias.astype(own["bias"].dtype))}


def _hides_a_shift(graph: Graph, layer: Node) -> str | None:
    if isinstance(layer.op, ConvTranspose):
        return f"the outputs of '{layer.name}' see different numbers of taps: a shift is not one bias"
    pads = layer.op.pads(graph.type(layer.data[0])) if hasattr(layer.op, "pads") else ()  # type: ignore[attr-defined]
    return f"a shift would not reach the padding of '{layer.name}'" if any(pads) else None


def _arrays(graph: Graph, node: Node) -> dict[str, np.ndarray]:
    return {slot: graph.weight(name).array for slot, name in slots(graph, node).items()}


def _scaled(weight: np.ndarray, factor: np.ndarray) -> Changed:
    """``weight`` times ``factor``, unless that changes nothing."""
    return {} if (factor == 1).all() else {"weight": partial(_product, weight, factor)}


def _held(array: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: array


def _product(weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    product = np.empty_like(weight)
    with np.errstate(all="ignore"):
        # NumPy multiplies in float64 and rounds block by block: no float64 copy of the weight is made.
        np.multiply(weight, factor, out=product, casting="same_kind")
    return product


def _over_outputs(op: Op, weight: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A number for each output channel, shaped to multiply the weight."""
    return _grouped(op, weight, vector) if isinstance(op, ConvTranspose) else _leading(weight, vector)


def _over_inputs(op: Op, weight: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A number for each input channel, shaped to multiply the weight."""
    return _leading(weight, vector) if isinstance(op, ConvTranspose) else _grouped(op, weight, vector)


def _leading(weight: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``vector`` runs along the weight's first axis."""
    return vector.reshape(-1, *(1,) * (weight.ndim - 1))


def _grouped(op: Op, weight: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``vector`` runs along the second axis, which each group of the first axis has for itself."""
    groups = getattr(op, "groups", 1)
    per_row = np.repeat(vector.reshape(groups, -1), len(weight) // groups, axis=0)
    return per_row.reshape(*per_row.shape, *(1,) * (weight.ndim - 2))
