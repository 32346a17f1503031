"""ONNX files to graphs and back.

One file per operator family holds both directions: a table ``IMPORT`` from the ONNX operator to a function
that reads a node of it, and a table ``EXPORT`` from the YAML word to a function that writes it. `table` joins
them. To add an operator, add a row to each of the two.

Writing, ``def write_elu(call: WriteCall) -> str``: ``call.op`` is the operator, ``call.x``
(``call.inputs``) the ONNX names of its operands, data then weights, ``call.types`` the types of the data
operands. ``call.part("Mul", a, b, attribute=...)`` writes an ONNX node on the way to the result and returns
the name of its value; ``call.last(...)`` writes the node that makes the results and returns the name of the
first; ``call.constant(name, array)`` and ``call.number(name, value)`` write constants. Files are opset
`write.OPSET`: what it lacks is written as the nodes that define it. ``write_as("Relu")`` is the row of an
operator that ONNX has with the same operands and nothing to set.

Reading, ``def read_elu(call: ReadCall) -> None``:

- ``call.opset`` is the version of ONNX's operators that the file follows: a row reads every form from 6 on.
- ``call.x`` and ``call.inputs`` are names of values; an omitted operand is ``""``: ask ``call.has(slot)``.
  ``call.type(slot)`` is its type, ``call.shape(slot)`` and ``call.rank(slot)`` parts of that.
- Attributes have a kind: ``call.integer(name, default)``, ``integers``, ``number``, ``numbers``, ``text``,
  ``flag``, ``tensor``. Without a default the attribute has to be there. An attribute that is present and
  that the row never asks for is an error, so nothing is ignored by accident; ``call.ignore(name, ...)``
  says what may be.
- An operand that decides a shape or a setting has to be known at import: ``call.array(slot)`` is the array
  of a constant, ``call.ints(slot)`` a tuple of int, ``call.scalar(slot)`` one number, and
  ``call.dims(slot)`` a tuple of extents, each a number or the batch ``"N"``. All raise Unsupported, with
  the reason, where it is computed at run time.
- ``call.part(op, *operands)`` applies an operator on the way to the results and returns the name of its
  value; ``call.last(op, *operands)`` makes the results: output i of ``op`` is output i of the node.
  Operands are names, data operands first, then weights. ``call.result(value, index=0)`` says that a value
  that exists is the result. ``call.constant(array)`` is a new constant. An operator of constants alone is
  computed at once (folded) by its reference: a row need not think of it, nor whether an operand is a
  constant or computed.
- ``call.fail("reason")`` for what cannot be served. Never guess: a wrong answer is worse than a refusal.
  ShapeError raised by an operator is reported in the same way.
- ``read_as(Relu)`` is the row of an operator with the same operands and nothing to set.

All nodes that cannot be read are reported together, each with its name, operator, attributes and the
reason.
"""
