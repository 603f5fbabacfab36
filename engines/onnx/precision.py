"""Which nodes of a graph are computed in float32 whatever the run's type is.

Half precision holds a feature well enough, a picture not: bfloat16 is 1/512 away from a value near 1. A network that
adds its last features, level by level, to a picture (StyleGAN2's skips), or a correction to the picture that it was
given, sums in float32 here; what is added comes from convolutions in the run's type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .file import Node

# What stands between the last convolutions and an output, and computes little.
_LIGHT = frozenset({
    "Add", "Sub", "Mul", "Div", "Sum", "Clip", "Tanh", "Sigmoid", "Identity",
    "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "Concat", "Slice", "Split", "Pad",
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten",
})  # fmt: skip


def summed_in_float32(nodes: Sequence[Node], outputs: Iterable[str]) -> frozenset[Node]:
    """The nodes between the last convolutions or matrices and the graph's `outputs`."""
    maker = {name: node for node in nodes for name in node.outputs}
    last: set[Node] = set()
    waiting = list(outputs)
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.kind in _LIGHT and node not in last:
            last.add(node)
            waiting += node.inputs
    return frozenset(last)
