"""Groups of nodes that exporters write for one operation, put together again: fewer values in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .file import Graph, Node


def fused(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """The same graph with nodes of the domain slimfusion, each where the last of those that it replaces stood."""
    for fuse in (_silu, _group_norm):
        nodes = fuse(_Links(nodes, outputs))
    return list(nodes)


class _Links:
    """Nodes with who makes each value, and whether a value is seen by one node only."""

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[str]) -> None:
        self.nodes = nodes
        self.maker = {name: node for node in nodes for name in node.outputs}
        everything = Graph((), (), tuple(nodes), {}).everything()
        self._uses = Counter(name for node in everything for name in node.inputs)
        self._uses.update(outputs)

    def behind(self, name: str, op: str) -> Node | None:
        """The node that makes a value for one other node alone, if it is an `op`."""
        node = self.maker.get(name)
        return node if node is not None and node.kind == op and self._uses[name] == 1 else None

    def replaced(self, new: dict[Node, Node], gone: set[Node]) -> list[Node]:
        return [new.get(node, node) for node in self.nodes if node not in gone]


def _silu(links: _Links) -> list[Node]:
    """x * sigmoid(x)."""
    new: dict[Node, Node] = {}
    gone: set[Node] = set()
    for node in links.nodes:
        if node.kind != "Mul" or len(node.inputs) != 2:
            continue
        for name, x in (node.inputs, node.inputs[::-1]):
            gate = links.behind(name, "Sigmoid")
            if gate is not None and gate.inputs == (x,):
                new[node] = Node("Silu", "slimfusion", node.name, (x,), node.outputs, {})
                gone.add(gate)
                break
    return links.replaced(new, gone)


def _group_norm(links: _Links) -> list[Node]:
    """Group normalisation before operator set 18: the groups of a reshaped picture as InstanceNormalization's
    channels, reshaped back, times and plus a number for each channel."""
    new: dict[Node, Node] = {}
    gone: set[Node] = set()
    for added in links.nodes:
        behind = _two_of(links, added, "Add", "Mul")
        scaled = behind and _two_of(links, behind[0], "Mul", "Reshape")
        norm = scaled and links.behind(scaled[0].inputs[0], "InstanceNormalization")
        split = norm and links.behind(norm.inputs[0], "Reshape")
        if not (behind and scaled and norm and split) or len(split.inputs) != 2 or len(scaled[0].inputs) != 2:
            continue
        inputs = (*split.inputs, *norm.inputs[1:], scaled[0].inputs[1], scaled[1], behind[1])
        new[added] = Node("GroupNorm", "slimfusion", norm.name, inputs, added.outputs, norm.attributes)
        gone |= {behind[0], scaled[0], norm, split}
    return links.replaced(new, gone)


def _two_of(links: _Links, node: Node, op: str, first: str) -> tuple[Node, str] | None:
    """The node of kind `first` that an `op` of two inputs takes, and the name of its other input."""
    if node.kind != op or len(node.inputs) != 2:
        return None
    for name, other in (node.inputs, node.inputs[::-1]):
        behind = links.behind(name, first)
        if behind is not None:
            return behind, other
    return None
