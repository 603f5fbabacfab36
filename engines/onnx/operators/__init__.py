"""ONNX operators in torch: one short function an operator, named and specified at onnx.ai/onnx/operators."""

from __future__ import annotations

from . import convolution, elementwise, layout, matrices, normalization, reductions, resize, selection
from . import gather_scatter as picking
from .registry import OPERATORS, Call, Operator, find

__all__ = ["OPERATORS", "Call", "Operator", "find"]

# Importing a module enters its operators into OPERATORS.
_MODULES = (convolution, elementwise, layout, matrices, normalization, picking, reductions, resize, selection)
