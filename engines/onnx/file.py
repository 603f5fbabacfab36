"""An ONNX file's graph, without its weights.

The `onnx` package reads a whole file into memory, and protobuf copies it once more: for a swapper of 554 MB that is
more than the rest of the program takes. This reader maps the file, walks the few bytes that describe the graph and
only notes where each tensor lies, so that one can be read alone (a swapper's last one) or mapped, and so that a
model can be planned for before anything of it is in memory. The layout is that of onnx.proto (github.com/onnx/onnx).
"""

from __future__ import annotations

import dataclasses
import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...errors import ModelFileError
from . import protobuf
from .limits import LONGEST_NAME, MOST_DIMENSIONS, MOST_ENTRIES, MOST_ENTRIES_TO_RECOGNISE, MOST_NODES, Allowance
from .protobuf import Field, Limits, Message
from .tensors import DTYPES, TYPE_NAMES, External, OnnxTensor, external_place

# Subgraphs inside subgraphs: exporters write one or two.
DEPTH = 8

_STANDARD_DOMAINS = ("", "ai.onnx")
_NUMBER_OF = {"f": 2, "i": 3, "s": 4, "t": 5, "g": 6, "floats": 7, "ints": 8, "strings": 9, "tensors": 10, "graphs": 11}
# AttributeProto.AttributeType, by the field that holds the value.
_HELD_IN = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings", 9: "tensors", 10: "graphs"}


@dataclass(frozen=True)
class Value:
    """An input or output. dtype: None for what is no tensor that torch knows.

    shape: a number, a name ('batch') or None for each dimension; None where the file does not say.
    """

    name: str
    dtype: torch.dtype | None
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, eq=False)
class Node:
    """An operator with its inputs and outputs by name ('' for one that is left out).

    attributes: int, float, str, OnnxTensor, Graph, or tuples of these.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def kind(self) -> str:
        """The operator as users know it: 'Conv', 'com.microsoft.FusedConv'."""
        return self.op if self.domain in _STANDARD_DOMAINS else f"{self.domain}.{self.op}"


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in the order in which they can be run. inputs: those that are not initializers too."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    initializers: dict[str, OnnxTensor]

    def everything(self) -> Iterator[Node]:
        """All nodes, those of subgraphs included."""
        for node in self.nodes:
            yield node
            for value in node.attributes.values():
                for part in value if isinstance(value, tuple) else (value,):
                    if isinstance(part, Graph):
                        yield from part.everything()


@dataclass(frozen=True, eq=False)
class OnnxGraph(Graph):
    """A file's graph. opsets: version by domain, '' for the standard one. producer: who wrote it, if it says so.

    metadata: notes that exporters leave, by name.
    """

    path: Path
    opsets: dict[str, int]
    producer: str
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def opset(self) -> int:
        return self.opsets.get("", 0)

    @property
    def parameters(self) -> int:
        """Floating-point numbers among the initializers."""
        return sum(t.numel for t in self.initializers.values() if t.dtype is not None and t.dtype.is_floating_point)

    @property
    def last_initializer(self) -> OnnxTensor | None:
        """The one that swappers like inswapper keep their embedding's matrix in."""
        return next(reversed(self.initializers.values()), None)


def read(path: Path) -> OnnxGraph:
    """The graph of a file; its weights stay on the disk. Raises ModelFileError."""
    return _read(path, with_nodes=True)


def read_ports(path: Path) -> OnnxGraph:
    """The same without nodes: enough to know the model, and quick whatever the file. Raises ModelFileError."""
    return _read(path, with_nodes=False)


def _read(path: Path, with_nodes: bool) -> OnnxGraph:
    if not path.is_file():
        raise ModelFileError(f"The model file {path} does not exist.")
    size = path.stat().st_size
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            limits = Limits(MOST_ENTRIES if with_nodes else MOST_ENTRIES_TO_RECOGNISE)
            return _Reader(path, with_nodes).model(Message(content, 0, min(size, len(content)), limits))
    except (protobuf.DamagedError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise ModelFileError(
            f"{path.name} ({size} bytes) is damaged or not an ONNX model: {error}. A download that broke off, or a "
            "web page saved under the model's name, looks like this. Download it again."
        ) from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}.") from error


class _Reader:
    """Walks the messages of one file."""

    def __init__(self, path: Path, with_nodes: bool) -> None:
        self._path = path
        self._with_nodes = with_nodes
        self._nodes = Allowance(MOST_NODES)
        self._external: dict[str, External] = {}

    def model(self, message: Message) -> OnnxGraph:
        opsets: dict[str, int] = {}
        producer: list[str] = []
        body: Graph | None = None
        metadata: dict[str, str] = {}
        for field in message:
            if field.number == 2:
                producer.insert(0, field.text())
            elif field.number == 3:
                producer.append(field.text())
            elif field.number == 7:
                body = self.graph(field.message(), 0)
            elif field.number == 8:
                domain, version = self._opset(field.message())
                opsets["" if domain in _STANDARD_DOMAINS else domain] = version
            elif field.number == 14:
                note = {entry.number: entry.text() for entry in field.message()}
                metadata[note.get(1, "")] = note.get(2, "")
        if body is None or not opsets:
            raise protobuf.DamagedError("it has no graph" if body is None else "it does not name its operator set")
        by = " ".join(producer).strip()
        return OnnxGraph(body.inputs, body.outputs, body.nodes, body.initializers, self._path, opsets, by, metadata)

    def _opset(self, message: Message) -> tuple[str, int]:
        domain, version = "", 0
        for field in message:
            if field.number == 1:
                domain = field.text()
            elif field.number == 2:
                version = field.integer()
        return domain, version

    def graph(self, message: Message, depth: int) -> Graph:
        if depth > DEPTH:
            raise protobuf.DamagedError(f"its subgraphs are nested more than {DEPTH} deep")
        nodes: list[Node] = []
        tensors: dict[str, OnnxTensor] = {}
        inputs: list[Value] = []
        outputs: list[Value] = []
        for field in message:
            if field.number == 1 and self._with_nodes:
                if not self._nodes.take(1):
                    raise protobuf.DamagedError(f"it has more than {MOST_NODES} nodes")
                nodes.append(self._node(field.message(), depth))
            elif field.number == 5:
                tensor = self._tensor(field.message())
                tensors[tensor.name] = tensor
            elif field.number == 11:
                inputs.append(self._value(field.message()))
            elif field.number == 12:
                outputs.append(self._value(field.message()))
            elif field.number == 15:
                raise ModelFileError(
                    f"{self._path.name} has sparse weights, which are not supported. Export it with dense ones."
                )
        return Graph(tuple(v for v in inputs if v.name not in tensors), tuple(outputs), tuple(nodes), tensors)

    def _node(self, message: Message, depth: int) -> Node:
        texts: dict[int, list[str]] = {1: [], 2: [], 3: [""], 4: [""], 7: [""]}
        attributes: dict[str, Any] = {}
        for field in message:
            if field.number in texts:
                texts[field.number].append(field.text(LONGEST_NAME))
            elif field.number == 5:
                name, value = self._attribute(field.message(), depth)
                attributes[name] = value
        domain, op = texts[7][-1], texts[4][-1]
        if not op:
            raise protobuf.DamagedError("a node does not say which operator it is")
        return Node(op, domain, texts[3][-1], tuple(texts[1]), tuple(texts[2]), attributes)

    def _attribute(self, message: Message, depth: int) -> tuple[str, Any]:
        name, kind = "", 0
        fields: dict[int, list[Field]] = {}
        for field in message:
            if field.number == 1:
                name = field.text(LONGEST_NAME)
            elif field.number == 20:
                kind = field.integer()
            else:
                fields.setdefault(field.number, []).append(field)
        if kind == 0:  # files of before 2017 do not say
            kind = next((k for k, held in _HELD_IN.items() if _NUMBER_OF[held] in fields), 0)
        held = _HELD_IN.get(kind)
        if held is None:  # sparse tensors and types: no operator that is run here has them
            return name, None
        values = self._attribute_values(held, fields.get(_NUMBER_OF[held], []), depth)
        if kind > 5:
            return name, tuple(values)
        # A number that is zero and a text that is empty need not be written.
        return name, values[-1] if values else {"f": 0.0, "i": 0, "s": ""}.get(held)

    def _attribute_values(self, held: str, fields: list[Field], depth: int) -> list[Any]:
        if held in ("f", "floats"):
            return [number for field in fields for number in field.floats()]
        if held in ("i", "ints"):
            return [number for field in fields for number in field.integers()]
        if held in ("s", "strings"):
            return [field.text() for field in fields]
        if held in ("t", "tensors"):
            return [self._tensor(field.message()) for field in fields]
        return [self.graph(field.message(), depth + 1) for field in fields]

    def _value(self, message: Message) -> Value:
        name, dtype, shape = "", None, None
        for field in message:
            if field.number == 1:
                name = field.text(LONGEST_NAME)
            elif field.number == 2:
                for kind in field.message():
                    if kind.number == 1:
                        dtype, shape = self._tensor_type(kind.message())
        return Value(name, dtype, shape)

    def _tensor_type(self, message: Message) -> tuple[torch.dtype | None, tuple[int | str | None, ...] | None]:
        dtype, shape = None, None
        for field in message:
            if field.number == 1:
                dtype = DTYPES.get(field.integer())
            elif field.number == 2:
                parts = [part for part in field.message() if part.number == 1]
                self._check_rank(len(parts))
                shape = tuple(self._dimension(part.message()) for part in parts)
        return dtype, shape

    def _check_rank(self, dimensions: int) -> None:
        if dimensions > MOST_DIMENSIONS:
            raise protobuf.DamagedError(f"it has a shape of {dimensions} dimensions")

    def _dimension(self, message: Message) -> int | str | None:
        for field in message:
            if field.number == 1:
                # Some exporters write what they do not know as 0 or -1.
                return field.integer() if field.integer() > 0 else None
            if field.number == 2:
                return field.text(LONGEST_NAME) or None
        return None

    def _tensor(self, message: Message) -> OnnxTensor:
        name, kind, dims, location = "", 0, [], 0
        parts: list[tuple[int, int, int, int]] = []
        entries: dict[str, str] = {}
        for field in message:
            if field.number == 1:
                dims += field.integers()
                self._check_rank(len(dims))
            elif field.number == 2:
                kind = field.integer()
            elif field.number == 8:
                name = field.text(LONGEST_NAME)
            elif field.number in (4, 5, 7, 9, 10, 11):
                parts.append((field.number, field.wire, field.start, field.end))
            elif field.number == 13:
                key, value = (part.text() for part in self._pair(field.message()))
                entries[key] = value
            elif field.number == 14:
                location = field.integer()
        if any(dim < 0 for dim in dims) or math.prod(dims) >= 1 << 48:
            raise protobuf.DamagedError(f"its tensor {name!r} has the impossible shape {dims}")
        file, place = self._path, tuple(parts)
        if location == 1:
            file, place = self._outside(name, TYPE_NAMES.get(kind, str(kind)), kind, dims, entries)
        return OnnxTensor(name, kind, tuple(dims), file, place).checked()

    def _pair(self, message: Message) -> tuple[Field, Field]:
        fields = {field.number: field for field in message}
        if 1 not in fields or 2 not in fields:
            raise protobuf.DamagedError("what it says about external data is incomplete")
        return fields[1], fields[2]

    def _outside(
        self, name: str, kind_name: str, kind: int, dims: list[int], entries: dict[str, str]
    ) -> tuple[Path, tuple[tuple[int, int, int, int], ...]]:
        if DTYPES.get(kind) is None:
            raise ModelFileError(
                f"{self._path.name} keeps {name!r} of type {kind_name} in another file, which is not supported."
            )
        location = entries.get("location", "")
        if location not in self._external:
            self._external[location] = External.beside(self._path, location)
        external = self._external[location]
        return external.path, (external_place(external, self._path, name, DTYPES[kind], dims, entries),)
