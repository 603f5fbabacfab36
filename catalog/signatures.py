"""From the inputs and outputs of a network, its signature, to its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from .card import OPEN, ModelCard, Port
from .cards import CARDS

# As a file states it: name, type ("float32"), shape with the batch; a length that is left open is None or a name.
Value = tuple[str, str, Sequence[int | str | None]]

FLOATS = ("float32", "float16", "bfloat16")
MOST_INPUTS = 3


@dataclass(frozen=True)
class Signature:
    """What goes into a network and what comes out, in the order of its file."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def __str__(self) -> str:
        def text(values: tuple[Value, ...]) -> str:
            return ", ".join(f"{name} {[*shape]}" for name, _, shape in values)

        return f"{text(self.inputs)} -> {text(self.outputs)}"


@dataclass(frozen=True)
class Recognition:
    """card: None where none fits, or several that must be handled differently: `candidates` names them.

    order: for each of the card's inputs, its place among the file's.
    """

    card: ModelCard | None
    candidates: tuple[str, ...] = ()
    order: tuple[int, ...] = ()


def recognised(signature: Signature) -> Recognition:
    """The card that a network's shapes belong to.

    Where several fit and differ, the names of inputs and outputs decide, if they do. What is left open in an
    output's shape fits everything; an input must fit exactly.
    """
    telling = (card for card in CARDS.values() if card.tells_by_shape)
    fitting = [(card, order) for card in telling if (order := input_order(card, signature)) is not None]
    if len({card.handling for card, _ in fitting}) > 1:
        names = {name for name, _, _ in (*signature.inputs, *signature.outputs)}
        by_name = [pair for pair in fitting if {port.name for port in (*pair[0].inputs, *pair[0].outputs)} <= names]
        if len({card.handling for card, _ in by_name}) == 1:
            fitting = by_name
    candidates = tuple(card.name for card, _ in fitting)
    if len({card.handling for card, _ in fitting}) != 1:
        return Recognition(None, candidates)
    return Recognition(fitting[0][0], candidates, fitting[0][1])


def input_order(card: ModelCard, signature: Signature) -> tuple[int, ...] | None:
    """For each of the card's inputs, its place among the file's; None where the file is of another model."""
    wanted, count = len(card.outputs), len(signature.outputs)
    if count < wanted or (count > wanted and not card.extra_outputs):
        return None
    outputs = zip(card.outputs, signature.outputs, strict=False)
    if not all(_fits(port, value, lenient=True) for port, value in outputs):
        return None
    if len(card.inputs) != len(signature.inputs) or len(signature.inputs) > MOST_INPUTS:
        return None
    for order in permutations(range(len(signature.inputs))):
        pairs = zip(card.inputs, order, strict=True)
        if all(_fits(port, signature.inputs[place], lenient=False) for port, place in pairs):
            return order
    return None


def _fits(port: Port, value: Value, lenient: bool) -> bool:
    """Whether a value of a file is what a port wants, with or without a batch in front.

    lenient: lengths that the file leaves open fit; exports with an open batch often state no others.
    """
    _, dtype, shape = value
    if not shape and lenient:
        return True
    if dtype != port.dtype and not (dtype in FLOATS and port.dtype in FLOATS):
        return False
    if not 0 <= len(shape) - len(port.shape) <= 1:
        return False
    tail = shape[len(shape) - len(port.shape) :]
    for wanted, length in zip(port.shape, tail, strict=True):
        is_open = not isinstance(length, int) or length <= 0
        if wanted == OPEN:
            if not is_open:
                return False
        elif wanted is not None and length != wanted and not (lenient and is_open):
            return False
    return True
