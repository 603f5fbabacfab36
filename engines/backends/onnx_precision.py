"""Which nodes of a graph are computed in float32 whatever the run's type is.

Half precision holds a feature well enough, a picture not: bfloat16 is 1/512 away from a value near 1. A network that
adds its last features, level by level, to a picture (StyleGAN2's skips), or a correction to the picture that it was
given, sums in float32 here; what is added comes from convolutions in the run's type. What leads to a choice is
float32 too: a code that is nearest by a hair must not be another one than in full precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .onnx_file import Node

# What stands between the last convolutions and an output, and computes little.
_LIGHT = frozenset({
    "Add", "Sub", "Mul", "Div", "Sum", "Clip", "Tanh", "Sigmoid", "Identity",
    "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "Concat", "Slice", "Split", "Pad",
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten",
})  # fmt: skip

_CHOICES = ("ArgMax", "ArgMin", "TopK")


def computed_in_float32(nodes: Sequence[Node], outputs: Iterable[str]) -> frozenset[Node]:
    """What sums the pictures of the graph's `outputs`, and all that leads to a choice."""
    return summed_in_float32(nodes, outputs) | before_choices(nodes)


def before_choices(nodes: Sequence[Node]) -> frozenset[Node]:
    """The nodes that what is chosen depends on."""
    wanted: set[str] = set()
    found: set[Node] = set()
    for node in reversed(nodes):
        if node.kind in _CHOICES or wanted.intersection(node.outputs):
            found.add(node)
            wanted.update(node.inputs)
    return frozenset(found)


def summed_in_float32(nodes: Sequence[Node], outputs: Iterable[str]) -> frozenset[Node]:
    """The nodes between the last convolutions or matrices and the graph's `outputs`."""
    maker = {name: node for node in nodes for name in node.outputs}
    found: set[Node] = set()
    waiting = list(outputs)
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.kind in _LIGHT and node not in found:
            found.add(node)
            waiting += node.inputs
    return frozenset(found)
