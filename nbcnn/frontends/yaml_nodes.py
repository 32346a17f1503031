"""Node entries of a model file to nodes: names, operands, blocks and the bodies of fused nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from nbcnn.errors import NbcnnError, nearest
from nbcnn.frontends import schema
from nbcnn.frontends.yaml_blocks import Block, Given, key_of, names
from nbcnn.ir.graph import Node
from nbcnn.ir.op import Op, Param
from nbcnn.ir.types import TensorType
from nbcnn.yaml_reader import Item, Mark, known_keys, substituted

MAX_NODES = 50_000
MAX_NESTED = 32
MAX_TENSOR = 16 << 30


@contextmanager
def located(mark: Mark, node: str | None = None) -> Iterator[None]:
    """Give errors raised within the place ``mark`` and the node, unless they have their own."""
    try:
        yield
    except NbcnnError as error:
        error.node, error.where = error.node or node, error.where or str(mark)
        raise


@dataclass
class Scope:
    """Where names are looked up: the graph, a body, or one use of a block."""

    entries: list[Item]
    names: dict[str, str]
    """Inputs and uses of blocks, by the name they have here -> value."""
    sequential: bool
    """Whether an entry without ``inputs`` reads the one above: there is one input to begin with."""
    prefix: str = ""
    values: Mapping[str, Item] = field(default_factory=dict)
    """What ``$param`` stands for."""
    stack: tuple[str, ...] = ()
    """Blocks being expanded, outermost first."""

    @property
    def what(self) -> str:
        """What holds the entries, for an error message."""
        return f"block '{self.stack[-1]}'" if self.stack else "a node outside blocks"


class Region:
    """What node entries make: typed values, nodes, and the weights that the nodes take."""

    def __init__(self, inputs: Mapping[str, TensorType], blocks: Mapping[str, Block]) -> None:
        self.blocks = blocks
        self.types: dict[str, TensorType] = dict(inputs)
        self.nodes: list[Node] = []
        self.entries = 0
        """How many nodes and uses of blocks were expanded, in bodies too."""
        self.params: dict[str, Param] = {}
        self.named: dict[str, Mark] = {}
        """Weights that an entry names itself and that no node above takes, with the place."""
        self.marks: dict[str, Mark] = {}

    def expand(self, scope: Scope) -> tuple[str, ...]:
        """Add the nodes of all entries of ``scope``; returns the values of the last."""
        above = tuple(scope.names.values()) if scope.sequential else ()
        for item in scope.entries:
            above = self._entry(substituted(item, scope.values, scope.what), scope, above)
        return above

    def resolve(self, item: Item, scope: Scope, reader: str | None = None) -> str:
        """The value that ``item`` names; ``reader`` is the local name of the entry that reads it."""
        text = substituted(item, scope.values, scope.what).name("an input")
        value = scope.names.get(text, scope.prefix + text)
        if value in self.types or value in self.params:
            return value
        node = scope.prefix + reader if reader else None
        below = {_name_of(entry): entry for entry in scope.entries}
        if reader and text in below:
            if cycle := _cycle(scope.entries, reader, text):
                item.fail(f"a cycle: {' -> '.join(cycle)}", node)
            line = below[text].mark.line
            item.fail(
                f"reads '{text}', which is defined below (line {line}): move it above its readers", node
            )
        here = [
            *scope.names,
            *(v.removeprefix(scope.prefix) for v in self.types if v.startswith(scope.prefix)),
        ]
        item.fail(f"input '{text}' does not exist{nearest(text, here)}", node)

    def claim(self, name: str, mark: Mark) -> None:
        """Note that ``name`` is defined at ``mark``; an error if it is defined already."""
        if name in self.marks:
            mark.fail(f"the name '{name}' is used twice, first on line {self.marks[name].line}")
        self.marks[name] = mark

    def check_size(self, name: str, type_: TensorType) -> None:
        """Raise NbcnnError if a tensor is larger than any machine should be asked for."""
        if (size := type_.nbytes()) > MAX_TENSOR:
            raise NbcnnError(
                f"'{name}' {type_} takes {size / 2**30:,.0f} GiB at batch 1, over the limit of 16"
            )

    def _count(self, item: Item) -> None:
        self.entries += 1
        if self.entries > MAX_NODES:
            item.fail(f"the model has more than {MAX_NODES:,} nodes")

    # -- one entry -------------------------------------------------------------------------------

    def _entry(self, item: Item, scope: Scope, above: tuple[str, ...]) -> tuple[str, ...]:
        given = dict(item.mapping("a node"))
        word = given.pop(key_of("name"), None)
        if word is None:
            item.fail("a node needs a 'name'")
        self._count(item)
        local = word.name("name")
        if local in scope.names:
            word.fail(f"the name '{local}' is used twice: it is an input or a block here")
        if "block" in given:
            return self._instance(local, item, given, scope, above)
        if "op" not in given:
            item.fail("a node needs 'op' or 'block'", scope.prefix + local)
        return self._node(local, item, given, scope, above)

    def _node(
        self, local: str, item: Item, given: Given, scope: Scope, above: tuple[str, ...]
    ) -> tuple[str, ...]:
        name = scope.prefix + local
        word, inputs, outputs, weights, body = (
            given.pop(key_of(k), None) for k in ("op", "inputs", "outputs", "weights", "body")
        )
        assert word is not None
        fused = word.value == "fused"
        op = None if fused else schema.op(word, given, item.mark, name)
        single = op is None or (len(op.operands) == 1 and not op.variadic)
        data = self._operands(inputs, item, scope, above, local, str(word.value), single)
        if op is None:
            if body is None or given:
                item.fail("a fused node has a 'body' and no attributes", name)
            op = self._fused(body, data, name)
        elif body is not None:
            body.fail(f"'{word.value}' has no body; only 'fused' has", name)
        with located(item.mark, name):
            types = tuple(self._type(v) for v in data)
            count = len(op.operands)
            if not op.variadic and len(data) != count:
                raise NbcnnError(f"{op.name} takes {count} input{'s' * (count > 1)}, got {len(data)}")
            results, params = op.infer(*types), op.params(*types)
        slots = self._slots(weights, params, "" if fused else f"{local}.", item, name, scope)
        made = tuple(scope.prefix + o for o in names(outputs, "outputs")) if outputs else (name,)
        self.claim(name, item.mark)
        with located(item.mark, name):
            for value, type_ in zip(made, results, strict=False):  # Graph.build compares the counts
                if value != name:
                    self.claim(value, item.mark)
                self.check_size(value, type_)
                self.types[value] = type_
        self.nodes.append(Node(name, op, data + slots, made))
        return made

    def _type(self, value: str) -> TensorType:
        return self.types[value] if value in self.types else self.params[value].type

    def _operands(
        self,
        inputs: Item | None,
        item: Item,
        scope: Scope,
        above: tuple[str, ...],
        local: str,
        word: str,
        single: bool,
    ) -> tuple[str, ...]:
        if inputs is not None:
            return tuple(self.resolve(v, scope, local) for v in inputs.sequence("inputs"))
        node = scope.prefix + local
        if not single:
            item.fail(f"'{word}' takes several inputs: give inputs: [...]", node)
        if not scope.sequential:
            item.fail("give inputs: [...], as there are several inputs to choose from", node)
        if len(above) != 1:
            item.fail(f"give inputs: [...], as the entry above has {len(above)} outputs", node)
        return above

    def _slots(
        self,
        given: Item | None,
        params: Mapping[str, Param],
        own: str,
        item: Item,
        node: str,
        scope: Scope,
    ) -> tuple[str, ...]:
        """Names of a node's weights, by default ``node.slot``; ``weights: {slot: name}`` shares another's."""
        chosen = given.mapping("weights") if given else {}
        for key in chosen:
            if key not in params:
                key.mark.fail(f"there is no weight '{key}'{nearest(key, params)}", node)
        found = []
        for slot, param in params.items():
            other = chosen.get(key_of(slot))
            name = scope.prefix + (other.name("a weight") if other else own + slot)
            mark = other.mark if other else item.mark
            known = self.params.get(name)
            if known is None:
                with located(mark, node):
                    self.check_size(name, param.type)
                self.claim(name, mark)
                self.params[name] = param
                if other:
                    self.named[name] = mark
            elif known.type != param.type:
                mark.fail(f"weight '{name}' is {known.type} above and should be {param.type} here", node)
            found.append(name)
        return tuple(found)

    def _fused(self, item: Item, data: tuple[str, ...], node: str) -> Op:
        from nbcnn.ops.fused import Body, Fused

        given = item.mapping("body")
        known_keys(given, ["inputs", "weights", "nodes", "outputs"], "a body")
        if "nodes" not in given:
            item.fail("a body needs 'nodes'", node)
        inputs = names(given[key_of("inputs")], "inputs") if "inputs" in given else data
        if len(inputs) != len(data) or len(set(inputs)) != len(inputs):
            item.fail(f"the body has the inputs {list(inputs)}, the node {list(data)}", node)
        region = Region(dict(zip(inputs, map(self._type, data), strict=True)), self.blocks)
        region.entries = self.entries
        entries = given[key_of("nodes")].sequence("nodes")
        scope = Scope(entries, {name: name for name in inputs}, len(inputs) == 1)
        with located(item.mark, node):
            outputs = region.expand(scope)
        if nested := [n.name for n in region.nodes if n.op.name == "fused"]:
            item.fail(f"a body cannot hold a fused node: '{nested[0]}'", node)
        self.entries = region.entries
        if "outputs" in given:
            outputs = tuple(region.resolve(v, scope) for v in given[key_of("outputs")].sequence("outputs"))
        weights = names(given[key_of("weights")], "weights") if "weights" in given else tuple(region.params)
        if sorted(weights) != sorted(region.params):
            item.fail(
                f"the body names the weights {list(weights)}, its nodes take {list(region.params)}", node
            )
        return Fused(Body(inputs, weights, tuple(region.nodes), outputs))

    # -- blocks ----------------------------------------------------------------------------------

    def _instance(
        self, local: str, item: Item, given: Given, scope: Scope, above: tuple[str, ...]
    ) -> tuple[str, ...]:
        node = scope.prefix + local
        word = given.pop(key_of("block"))
        name = word.string("block")
        if name not in self.blocks:
            word.fail(f"unknown block '{name}'{nearest(name, self.blocks)}", node)
        if name in scope.stack:
            word.fail(f"a block cannot hold itself: {' -> '.join((*scope.stack, name))}", node)
        if len(scope.stack) >= MAX_NESTED:
            word.fail(f"blocks nest more than {MAX_NESTED} deep", node)
        block = self.blocks[name]
        inputs, outputs, repeat, start = (
            given.pop(key_of(k), None) for k in ("inputs", "outputs", "repeat", "start")
        )
        values = block.arguments(given, item, node)
        data = self._operands(inputs, item, scope, above, local, name, len(block.inputs) == 1)
        first = start.integer("start", 0) if start else 0
        count = repeat.integer("repeat", 1) if repeat else 1
        if not start:  # with it, other entries may continue the numbering under the same name
            self.claim(node, item.mark)
        for index in range(first, first + count):
            if len(data) != len(block.inputs):
                item.fail(f"block '{name}' takes {len(block.inputs)} inputs, got {len(data)}", node)
            self._count(item)
            # `repeat: 1` numbers too: torchvision calls a stage of one block layer1.0
            here = f"{local}.{index}" if repeat or start else local
            if here != local:
                self.claim(scope.prefix + here, item.mark)
            inner = Scope(
                block.entries,
                dict(zip(block.inputs, data, strict=True)),
                len(block.inputs) == 1,
                f"{scope.prefix}{here}.",
                values,
                (*scope.stack, name),
            )
            data = self.expand(inner)
            if block.outputs is not None:
                data = tuple(self.resolve(v, inner) for v in block.outputs)
            if here != local and len(data) == 1:
                scope.names[here] = data[0]
        public = names(outputs, "outputs") if outputs else () if start else (local,)
        if outputs and len(public) != len(data):
            outputs.fail(f"block '{name}' has {len(data)} outputs, {len(public)} are named", node)
        if len(public) == len(data):
            scope.names.update(zip(public, data, strict=True))
        return data


def _name_of(entry: Item) -> str | None:
    name = entry.value.get("name") if isinstance(entry.value, dict) else None
    return name.text if name else None


def _cycle(entries: list[Item], reader: str, text: str) -> list[str] | None:
    """The way from ``reader`` through entries that read each other back to it, if ``text`` leads there."""
    reads: dict[str, list[str]] = {}
    above: str | None = None
    for entry in entries:
        name = _name_of(entry)
        if name is None:
            continue
        given = entry.value.get("inputs")
        if given is not None and isinstance(given.value, list):
            reads[name] = [i.text for i in given.value if i.text]
        else:
            reads[name] = [above] if above else []
        above = name
    came: dict[str, str] = {text: reader}
    pending = [text]
    while pending:
        here = pending.pop()
        if here == reader:
            path = [reader]
            while (here := came[here]) != reader:
                path.append(here)
            return [*path, reader] if text != reader else [reader, reader]
        for source in reads.get(here, []):
            if source not in came:
                came[source] = here
                pending.append(source)
    return None
