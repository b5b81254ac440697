"""Compare two networks as graphs, whatever the order of their operators and the names of their tensors."""

import hashlib
from collections import Counter

from perfsage.graph import Graph
from perfsage.graph.views import Operator

_ATTRIBUTES = ("stride_w", "stride_h", "fused_activation_function", "depth_multiplier", "filter_width")


def operators(graph: Graph) -> Counter[tuple[object, ...]]:
    """The multiset of operators with their activations' shapes, types and attributes that change the cost.

    The operands of a sum count in any order.
    """
    main = graph.subgraphs[0]

    def row(operator: Operator) -> tuple[object, ...]:
        tensors = [main.tensors[t] for t in operator.inputs if t >= 0]
        moving = sorted((t.shape, t.type) for t in tensors if not t.is_constant)
        fixed = tuple(t.shape for t in tensors[1:2] if t.is_constant and len(t.shape) > 1)
        outs = tuple(main.tensors[t].shape for t in operator.outputs)
        return (operator.type, tuple(moving), fixed, outs, *_attributes(operator))

    return Counter(row(operator) for operator in main.operators)


def _attributes(operator: Operator) -> tuple[object, ...]:
    return tuple(operator.attributes.get(name) for name in _ATTRIBUTES)


def wiring(graph: Graph) -> str:
    """A hash of how operators are connected; sums count as sums of all their terms, however nested."""
    main = graph.subgraphs[0]
    readers = Counter(t for operator in main.operators for t in operator.inputs)
    hashes: dict[int, str] = {}
    terms: dict[int, list[str]] = {}
    for operator in main.operators:
        moving = [t for t in operator.inputs if t >= 0 and not main.tensors[t].is_constant]
        parts = [hashes.get(t, f"input {t in main.inputs}") for t in moving]
        if operator.type == "ADD" and len(moving) == 2:
            nested = (terms.get(t, [part]) for t, part in zip(moving, parts, strict=True))
            parts = sorted(part for group in nested for part in group)
            if readers[operator.outputs[0]] == 1 and not operator.attributes["fused_activation_function"]:
                terms[operator.outputs[0]] = parts
        text = repr((operator.type, parts, _attributes(operator)))
        for output in operator.outputs:
            hashes[output] = hashlib.sha256(text.encode()).hexdigest()
    return repr([hashes.get(t, "constant") for t in main.outputs])
