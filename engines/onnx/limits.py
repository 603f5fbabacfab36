"""How much of an ONNX file is done before anything is planned: a hostile file must cost neither memory nor minutes.

Each limit is far above what exporters write: the largest public face networks have some thousand nodes, and tables of
sizes and indices of at most a few MiB.
"""

from __future__ import annotations

MIB = 1 << 20

# Fields and numbers that are walked: of a whole graph, and of what tells a file's model (inputs, outputs, weights).
MOST_ENTRIES = 1 << 20
MOST_ENTRIES_TO_RECOGNISE = 1 << 18

MOST_NODES = 1 << 15
MOST_DIMENSIONS = 32
LONGEST_NAME = 4096  # characters, less than a text of metadata
MOST_TEXT_BYTES = 16 * MIB

# Sizes, axes and indices, which are computed on the host: of one, and of all that a graph holds at a time. What is
# known before the plan is predicted as part of the network (`OnnxModule.host_bytes`).
HOST_VALUE_BYTES = 32 * MIB
HOST_BYTES = 128 * MIB
HOST_ITEM_BYTES = 8  # of the widest type

# Constants that are worked out from others: beyond this and so many times the file's weights, they are worked out
# in each run, where the planner counts them among the activations.
FOLDED_BYTES = 128 * MIB
FOLDED_TO_STORED = 8

# What opening takes for the moment, beside what it keeps, and what is not predicted of it: a run takes more.
UNPREDICTED_BYTES = 64 * MIB


class Allowance:
    """A count of what a file may still take."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def take(self, amount: int) -> bool:
        """Whether there was as much left."""
        self.left -= amount
        return self.left >= 0
